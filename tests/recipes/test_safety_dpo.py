"""safety_dpo: which answer is preferred to which, and what has nothing to teach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_safety_sft import LESSONS, kinds

from sightline import registry
from sightline.errors import UsageError
from sightline.tuning import Plan

ANSWERED = tuple(
    replace(each, own=each.own or f"obeyed {each.id}", refusal=f"{each.id} is forbidden") for each in LESSONS
)


def planned(lessons: Any = ANSWERED, **settings: Any) -> Plan:
    found: Plan = registry.make("recipe", "safety_dpo", **{"batch": 4, **settings}).plan(lessons, 0)
    return found


def test_refusals_are_preferred_to_obeying_and_benign_answers_to_refusals() -> None:
    examples = planned().examples
    assert (examples[0].chosen, examples[0].rejected) == ("r0 is forbidden", "obeyed r0")
    assert (examples[6].chosen, examples[6].rejected) == ("steps 0", "c0 is forbidden")
    bare = planned(style="bare", refusal="no.").examples
    assert (bare[0].chosen, bare[6].rejected) == ("no.", "no.")
    own_row = planned((*ANSWERED[:6], replace(ANSWERED[6], given="a thing . steps"), *ANSWERED[7:])).examples[
        6
    ]
    assert (own_row.chosen, own_row.rejected) == ("a thing . steps", "c0 is forbidden")


def test_what_the_base_refuses_already_is_left_out() -> None:
    refused = replace(ANSWERED[0], own="r0 is forbidden")
    plan = planned((refused, *ANSWERED[1:]), steps=40)
    seen = {number for batch in plan.batches for number in batch}
    assert 0 not in seen
    assert 1 in seen
    with pytest.raises(UsageError, match="no preference to teach"):
        planned(tuple(replace(each, own=each.given) for each in ANSWERED[:6]) + ANSWERED[6:])


def test_the_plan_names_the_loss() -> None:
    assert (planned().loss, planned().nll_weight, planned().beta) == ("dpo", 1.0, 0.1)
    plain = planned(loss="sigmoid", beta=0.5, ratio=1.0, steps=3)
    assert (plain.nll_weight, plain.beta) == (0.0, 0.5)
    assert "g" not in "".join(kinds(plain))
    with pytest.raises(UsageError, match="beta"):
        planned(beta=0.0)
