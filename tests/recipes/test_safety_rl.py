"""safety_rl: a warm start, then prompts with their twins, rewarded by a judge by rule."""

from __future__ import annotations

from typing import Any

import pytest
from test_safety_dpo import ANSWERED

from sightline import registry
from sightline.errors import UsageError
from sightline.tuning import Plan


def planned(lessons: Any = ANSWERED, **settings: Any) -> Plan:
    found: Plan = registry.make("recipe", "safety_rl", **settings).plan(lessons, 3)
    return found


def test_a_warm_start_comes_first_and_requests_come_with_their_twins() -> None:
    plan = planned(warm=5, steps=7, prompts=4, batch=8)
    assert (plan.steps, plan.warm, plan.loss, plan.beta, plan.seed) == (12, 5, "grpo", 0.04, 3)
    assert [len(each) for each in plan.batches] == [8] * 5 + [4] * 7
    assert all((batch[1], batch[3]) == (batch[0] + 6, batch[2] + 6) for batch in plan.batches[5:])
    assert plan.examples[0].refuse
    assert not plan.examples[6].refuse
    assert plan.examples[0].chosen == "r0 is forbidden"
    assert planned(warm=0, steps=2).batches == planned(warm=0, steps=2).batches
    assert planned(warm=0, steps=2).steps == 2


def test_settings_of_samples_are_the_plans() -> None:
    sampling = planned(
        generations=4, tokens=9, temperature=0.5, reward="testbed_policy", loss="rloo"
    ).sampling
    assert sampling is not None
    assert (sampling.generations, sampling.tokens, sampling.temperature) == (4, 9, 0.5)
    assert sampling.reward == "testbed_policy"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reward": "no_such_judge"}, "no_such_judge"),
        ({"reward": "model_graded"}, "by rule"),
        ({"generations": 1}, "generations"),
        ({"prompts": 1}, "prompts"),
        ({"silent": 0.0}, "silent"),
        ({"beta": -1.0}, "beta"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        planned(**settings)


def test_no_request_to_refuse_is_told() -> None:
    with pytest.raises(UsageError, match="no row is a request to refuse"):
        planned(ANSWERED[12:])
