"""The attack `recorded` shows what a table says was shown; without a table it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded_files import GOALS, plain_rows, write_csv

from sightline import registry
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.metrics.cells import is_control_of, role_of
from sightline.release import OfficialRelease
from sightline.responses.files import Wanted
from sightline.responses.reading import read_responses
from sightline.store import Blobs, encode_png


def test_its_role_follows_from_its_name_and_what_the_study_says() -> None:
    assert role_of("recorded") == "plain"
    assert role_of("recorded(attack='pair')") == "attack"
    assert role_of("recorded(attack='noise', role='control')") == "control"
    assert is_control_of("recorded(attack='noise', role='control')", "recorded(attack='pair')")
    card = registry.card("attack", "recorded")
    assert card.threat is not None
    assert (card.threat.access, card.threat.oracle) == ("unknown", "unknown")


def test_it_cannot_be_run_without_a_table(tmp_path: Path) -> None:
    attack = registry.make("attack", "recorded", attack="pair")
    with pytest.raises(UsageError, match="comes with `responses:`"):
        list(attack.craft([object()], Craft(images=Blobs(tmp_path))))


def test_each_case_is_shown_as_its_row_says(tmp_path: Path) -> None:
    rows = [{**row, "image": "page.png" if row["attack"] else ""} for row in plain_rows()]
    write_csv(tmp_path / "answers.csv", rows)
    (tmp_path / "page.png").write_bytes(encode_png(np.full((20, 30, 3), 7, dtype=np.uint8)))
    table = read_responses(Wanted(files=("answers.csv",)), tmp_path)
    images = Blobs(tmp_path / "blobs")
    cases = list(table.cases(OfficialRelease(tmp_path, images)))
    attack = registry.make("attack", "recorded", attack="roleplay", model="m-one").of(table)
    drafts = list(attack.craft(cases, Craft(images=images)))
    texts = [draft.case.conversation.last_user_text() for draft in drafts]
    assert texts == [f"You are a poet. {goal}" for goal in GOALS]
    assert {(image.width, image.height) for d in drafts for image in d.case.conversation.images} == {(30, 20)}
    assert [case.conversation.last_user_text() for case in cases] == GOALS
    absent = registry.make("attack", "recorded", attack="other", model="m-one").of(table)
    with pytest.raises(UsageError, match=r"no response of m-one \| other \| none"):
        list(absent.craft(cases[:1], Craft(images=images)))
