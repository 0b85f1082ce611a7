"""safety_kto: which answers are desirable, and that each row is seen with either."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from test_safety_dpo import ANSWERED

from sightline import registry
from sightline.errors import UsageError
from sightline.tuning import Plan


def planned(lessons: Any = ANSWERED, **settings: Any) -> Plan:
    found: Plan = registry.make("recipe", "safety_kto", **{"batch": 4, **settings}).plan(lessons, 0)
    return found


def test_refusals_of_requests_and_answers_of_twins_are_desirable() -> None:
    examples = planned().examples
    count = len(ANSWERED)
    assert [(e.chosen, e.desirable) for e in (examples[0], examples[count])] == [
        ("r0 is forbidden", True),
        ("obeyed r0", False),
    ]
    assert [(e.chosen, e.desirable) for e in (examples[6], examples[count + 6])] == [
        ("steps 0", True),
        ("c0 is forbidden", False),
    ]
    own_row = (*ANSWERED[:6], replace(ANSWERED[6], given="a thing . steps"), *ANSWERED[7:])
    assert planned(own_row).examples[6].chosen == "a thing . steps"


def test_both_answers_of_a_request_and_its_twin_are_seen_equally_often() -> None:
    plan = planned(steps=48, ratio=0.5)
    times = Counter(chain.from_iterable(plan.batches))
    count = len(ANSWERED)
    safety = [times[number + place] for number in range(12) for place in (0, count)]
    assert max(safety) - min(safety) <= 1
    assert sum(safety) == 48 * 4 // 2
    assert not any(times[count + number] for number in range(12, count))  # general rows: their own answers


def test_the_plan_names_the_loss_and_nothing_to_teach_is_told() -> None:
    plan = planned(undesirable=0.5, beta=0.2)
    assert (plan.loss, plan.beta, plan.weights) == ("kto", 0.2, (1.0, 0.5))
    with pytest.raises(UsageError, match="nothing to teach"):
        planned(tuple(replace(each, own=each.given) for each in ANSWERED[:6]) + ANSWERED[6:])
    with pytest.raises(UsageError, match="batch"):
        planned(batch=1)
