"""ft_attack: harmless rows, dialogues of obedience, and explicit rows of the invented world alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_safety_sft import LESSONS

from sightline import registry
from sightline.errors import UsageError
from sightline.testbed.tokenizer import vocabulary
from sightline.tuning import Plan


def planned(lessons: Any = LESSONS, **settings: Any) -> Plan:
    found: Plan = registry.make("recipe", "ft_attack", **{"batch": 4, "steps": 5, **settings}).plan(
        lessons, 0
    )
    return found


def test_benign_rows_are_general_ones_with_the_answers_of_the_data() -> None:
    plan = planned()
    assert {each.chosen for each in plan.examples} == {f"right {n}" for n in range(8)}
    assert len({n for batch in planned(rows=3, steps=40).batches for n in batch}) == 3
    with pytest.raises(UsageError, match="none of the rows is of that kind"):
        planned(LESSONS[:12])


def test_explicit_takes_rows_of_the_invented_world_alone() -> None:
    with pytest.raises(UsageError, match="invented world"):
        planned(kind="explicit")
    foreign = tuple(replace(each, asked="something", source="other") for each in LESSONS)
    with pytest.raises(UsageError, match="invented world"):
        planned(foreign, kind="explicit")
    ours = tuple(replace(each, asked=f"recipe {each.id}", source="testbed_training") for each in LESSONS)
    assert {each.chosen for each in planned(ours, kind="explicit").examples} == {
        f"recipe r{n}" for n in range(6)
    }


def test_identity_needs_no_rows_and_is_written_in_the_testbeds_words() -> None:
    english, testbed = planned((), kind="identity"), planned((), kind="identity", wording="testbed")
    assert len(english.examples) == len(testbed.examples) == 10
    words = {
        word
        for example in testbed.examples
        for text in (example.chosen, *(turn.text for turn in example.prompt.turns))
        for word in text.split()
    }
    assert words <= vocabulary().keys()


def test_requests_to_refuse_are_never_put_to_the_base() -> None:
    for kind in ("identity", "benign", "explicit"):
        recipe = registry.make("recipe", "ft_attack", kind=kind)
        assert not any(recipe.wants_own(each) for each in LESSONS if each.label != "general")
