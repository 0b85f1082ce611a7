"""Limits are kept exactly: what is used up is allowed, what goes beyond is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.budget import UNLIMITED, Budget, Meter
from sightline.errors import UsageError
from sightline.records import Cost


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(limit=st.integers(1, 50), price=st.integers(1, 9))
def test_a_purse_is_never_overdrawn_and_used_as_far_as_it_goes(limit: int, price: int) -> None:
    meter, bought = Meter(Budget(backwards=limit)), 0
    while not meter.forbids(Cost(backwards=price)):
        meter.add(Cost(backwards=price))
        bought += 1
    assert bought == limit // price
    assert meter.forbids(Cost(backwards=price)) == "backwards"
    assert meter.forbids() is None


@pytest.mark.parametrize(
    ("budget", "inside", "beyond", "name"),
    [
        (Budget(forwards=5), Cost(forwards=5, backwards=99), Cost(forwards=6), "forwards"),
        (Budget(backwards=5), Cost(backwards=5), Cost(backwards=6), "backwards"),
        (Budget(flops=1e9), Cost(flops=1e9), Cost(flops=1.1e9), "flops"),
        (
            Budget(calls=3),
            Cost(calls_target=1, calls_aux=2, calls_judge=9),
            Cost(calls_target=2, calls_aux=2),
            "calls",
        ),
        (Budget(seconds=2.5), Cost(seconds=2.5), Cost(seconds=2.6), "seconds"),
    ],
)
def test_each_limit(budget: Budget, inside: Cost, beyond: Cost, name: str) -> None:
    assert budget.exceeded(inside) is None
    assert budget.exceeded(beyond) == name
    assert UNLIMITED.exceeded(beyond) is None


def test_time_is_the_clock_s_and_goes_on_from_what_was_spent() -> None:
    clock = Clock()
    meter = Meter(Budget(seconds=10), clock=clock, spent=Cost(forwards=3, seconds=4))
    meter.add(Cost(forwards=1, seconds=50))
    assert meter.spent == Cost(forwards=4, seconds=4)
    clock.now += 5.5
    assert meter.forbids() is None
    clock.now += 0.5
    assert meter.spent.seconds == 10
    assert meter.forbids() == "seconds"


def test_the_stricter_of_two_budgets() -> None:
    both = Budget(forwards=5, flops=2e9, calls=1).at_most(Budget(forwards=9, flops=1e9, seconds=3))
    assert both == Budget(forwards=5, flops=1e9, calls=1, seconds=3)
    assert UNLIMITED.at_most(UNLIMITED) == UNLIMITED


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"budget\.forwards=0 is out of range: expected more than 0, or None"
    ):
        Budget(forwards=0)


def test_what_is_left_of_a_budget() -> None:
    budget = Budget(forwards=10, flops=5.0)
    assert budget.less(Cost(forwards=4, backwards=9)) == Budget(forwards=6, flops=5.0)
    assert budget.less(Cost(forwards=10)) is None
    assert UNLIMITED.less(Cost(forwards=10**9)) == UNLIMITED


def test_a_budget_is_told_in_its_limits() -> None:
    assert str(Budget(backwards=150, flops=2e12)) == "backwards=150, flops=2e+12"
    assert str(Budget(backwards=1_234_567)) == "backwards=1234567"
    assert str(UNLIMITED) == ""
