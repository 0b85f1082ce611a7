"""Kappa, AC1 and bias of a judge against people: values by hand, oracles, intervals over clusters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.agreement import cohen_kappa
from sightline.metrics.confusion import FEWEST, ac1, bias, confusion, estimates, kappa

COUNTS = st.lists(st.integers(0, 50), min_size=4, max_size=4)


def test_values_by_hand() -> None:
    """a, b, c, d = 40, 9, 6, 45: po = .85; kappa: pe = .49*.46 + .51*.54 = .5008; AC1: q = .475."""
    table = [40, 9, 6, 45]
    assert float(kappa(table)) == pytest.approx((0.85 - 0.5008) / 0.4992)
    assert float(ac1(table)) == pytest.approx((0.85 - 0.49875) / 0.50125)
    assert float(bias(table)) == pytest.approx(0.03)


def test_ac1_keeps_its_meaning_where_kappa_falls_to_nothing() -> None:
    """118, 5, 2, 0 of 125 (the paradox of Feinstein and Cicchetti 1990): they agree on 94 %."""
    table = [118, 5, 2, 0]
    assert float(kappa(table)) == pytest.approx(-0.0234, abs=1e-4)
    assert float(ac1(table)) == pytest.approx((0.944 - 2 * 0.972 * 0.028) / (1 - 2 * 0.972 * 0.028))


@given(COUNTS)
def test_kappa_is_that_of_the_other_module(counts: list[int]) -> None:
    a, b, c, d = counts
    expected = cohen_kappa([[a, b], [c, d]])
    found = float(kappa(counts)) if sum(counts) else math.nan
    assert math.isnan(found) if expected is None else found == pytest.approx(expected)


@given(COUNTS.filter(sum))
def test_swapping_judge_and_people_turns_the_bias_alone(counts: list[int]) -> None:
    a, b, c, d = counts
    assert float(bias([a, c, b, d])) == -float(bias(counts))
    assert float(ac1([a, c, b, d])) == pytest.approx(float(ac1(counts)))
    assert -1 <= float(ac1(counts)) <= 1


def test_counts_stand_by_cluster() -> None:
    found = confusion([True, True, False, False], [True, False, True, False], ["x", "y", "x", "y"])
    assert found.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    with pytest.raises(UsageError, match="not the same rows"):
        confusion([True], [True, False], ["x"])


def test_intervals_are_of_clusters_and_wider_than_those_of_rows() -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.multinomial(1, [0.4, 0.1, 0.1, 0.4], size=60), 10, axis=0)
    alone = estimates(rows.astype(float))["ac1"]
    together = estimates(rows.reshape(60, 10, 4).sum(axis=1).astype(float))["ac1"]
    assert alone.point == pytest.approx(together.point)
    assert alone.low is not None and alone.high is not None  # noqa: PT018
    assert together.low is not None and together.high is not None  # noqa: PT018
    assert (together.high - together.low) > 2 * (alone.high - alone.low)


def test_few_clusters_have_no_interval_and_no_rows_no_figure() -> None:
    few = estimates(np.full((FEWEST - 1, 4), 2.0))
    assert {(each.low, each.high) for each in few.values()} == {(None, None)}
    assert few["bias"].point == 0
    none = estimates(np.zeros((0, 4)))
    assert {each.point for each in none.values()} == {None}
    one_label = estimates(np.tile([5.0, 0, 0, 0], (20, 1)))
    assert one_label["kappa"].point is None
    assert one_label["ac1"].point == 1.0
