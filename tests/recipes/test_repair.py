"""repair: how many safety rows are kept, and that it is safety_sft on these."""

from __future__ import annotations

from typing import Any

import pytest
from test_safety_sft import LESSONS, kinds

from sightline import registry
from sightline.errors import UsageError
from sightline.tuning import Plan


def planned(seed: int = 0, **settings: Any) -> Plan:
    made = registry.make("recipe", "repair", **{"batch": 4, "steps": 30, **settings})
    found: Plan = made.plan(LESSONS, seed)
    return found


def asked(plan: Plan) -> set[str]:
    return {plan.examples[n].prompt.last_user_text() for batch in plan.batches for n in batch}


@pytest.mark.parametrize("rows", [2, 4, 5])
def test_so_many_different_safety_rows_are_seen_with_their_twins(rows: int) -> None:
    safety = {text for text in asked(planned(rows=rows)) if text[0] != "g"}
    assert len(safety) == rows
    assert sum(text[0] == "r" for text in safety) == -(-rows // 2)
    assert {text.replace("c", "r") for text in safety if text[0] == "c"} <= safety


def test_all_rows_are_seen_if_there_are_fewer_and_others_with_another_seed() -> None:
    assert len({text for text in asked(planned(rows=100)) if text[0] != "g"}) == 12
    assert len({frozenset(asked(planned(rows=6, seed=seed))) for seed in range(4)}) > 1


def test_it_is_safety_sft_on_the_rows_kept() -> None:
    settings = {"batch": 4, "steps": 6, "ratio": 0.5, "every": 0, "warmup": 0}
    sft = registry.make("recipe", "safety_sft", **settings).plan(LESSONS, 0)
    assert planned(rows=12, **settings) == sft
    assert set("".join(kinds(planned(rows=2)))) == {"r", "c", "g"}
    assert registry.make("recipe", "repair").card.role == "defense"


@pytest.mark.parametrize(("name", "value"), [("rows", 1), ("ratio", 2.0), ("steps", 0)])
def test_settings_out_of_range_are_told(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        registry.make("recipe", "repair", **{name: value})
