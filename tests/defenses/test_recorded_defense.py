"""The defense `recorded` is the name of what another harness ran: it cannot be run here."""

from __future__ import annotations

import pytest

from sightline.api.models import open_model
from sightline.defenses.recorded import Recorded
from sightline.errors import UsageError
from sightline.study.config import parse


def test_it_runs_nothing() -> None:
    assert Recorded(name="filter").calls == 0
    defended = Recorded(name="filter")(open_model("scripted/echo"))
    with pytest.raises(UsageError, match="'filter' was run by another harness"):
        defended.ask("fold it")


def test_a_study_that_asks_models_cannot_name_it() -> None:
    text = "study: s\nbenchmarks: [testbed_requests]\ntargets: [scripted/echo]\njudges: [refusal_prefix]\n"
    for section in ("attacks", "defenses"):
        with pytest.raises(UsageError, match=f"{section}.0: recorded stands for what another harness did"):
            parse(f"{text}{section}: [recorded]\n")
