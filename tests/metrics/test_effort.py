"""Curves over budgets: weights and areas by hand, ranges in common, prices, and which cells make a curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_rows import Row, row, summary
from scipy.stats import t

from sightline.errors import UsageError
from sightline.metrics.cells import limits_of
from sightline.metrics.effort import Curve, Price, area_under, area_weights
from sightline.metrics.intervals import ratio_interval, wilson

GROUPS = 10


@pytest.mark.parametrize(
    ("levels", "first", "last", "weights"),
    [
        ((10, 100, 1000), 10, 1000, (1 / 4, 1 / 2, 1 / 4)),
        ((10, 100, 1000), 10, 100, (1 / 2, 1 / 2, 0)),
        ((1, 10, 1000), 1, 1000, (1 / 6, 1 / 2, 1 / 3)),  # one decade and two
        # 1.5 decades: (p1 + p2) / 2 over the first, (p2 + (p2 + p3) / 2) / 2 over the half
        ((10, 100, 1000), 10, 10**2.5, (1 / 3, 7 / 12, 1 / 12)),
        ((10, 1000), 100, 100, (1 / 2, 1 / 2)),  # a single budget in common, half way
        ((10, 1000), 1000, 1000, (0, 1)),
    ],
)
def test_weights_of_levels_by_hand(
    levels: tuple[float, ...], first: float, last: float, weights: tuple[float, ...]
) -> None:
    assert area_weights(levels, first, last) == pytest.approx(weights)


@given(
    st.lists(st.integers(1, 10**9), min_size=2, max_size=8, unique=True).map(sorted),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_weights_sum_to_one_and_keep_a_line_in_log_budget(levels: list[int], one: float, two: float) -> None:
    x = np.log(levels)
    ends = x[0] + (x[-1] - x[0]) * np.sort([one, two])
    first, last = np.clip(np.exp(ends), levels[0], levels[-1]).tolist()
    weights = area_weights(levels, first, max(first, last))
    assert weights.sum() == pytest.approx(1)
    assert (weights >= -1e-12).all()
    middle = (np.log(first) + np.log(max(first, last))) / 2  # the mean of a straight line
    assert weights @ x == pytest.approx(middle, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("levels", "first", "last", "says"),
    [((100, 10), 10, 100, "ascending"), ((10, 10), 10, 10, "ascending"), ((10, 100), 5, 50, "within"),
     ((10, 100), 50, 20, "within")],
)  # fmt: skip
def test_ranges_beyond_the_levels_are_refused(
    levels: tuple[float, ...], first: float, last: float, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        area_weights(levels, first, last)


def test_area_by_hand() -> None:
    successes = [[0, 2, 4]] * 4 + [[0, 0, 2]] * 4  # of 4 rows each: 0 %, 25 %, 75 %
    area = area_under((10, 100, 1000), successes, [[4, 4, 4]] * 8)
    assert area is not None
    assert area.point == pytest.approx((0 + 0.25) / 4 + (0.25 + 0.75) / 4)
    assert area.low < area.point < area.high
    assert (area.first, area.last) == (10, 1000)
    half = area_under((10, 100, 1000), successes, [[4, 4, 4]] * 8, first=100, last=1000)
    assert half is not None
    assert half.point == pytest.approx(0.5)


def test_the_interval_of_a_unanimous_curve_is_that_of_its_clusters() -> None:
    never = area_under((1, 2), [[0, 0]] * 12, [[3, 3]] * 12)
    assert never is not None
    assert (never.point, never.low, never.high) == (0, 0, pytest.approx(wilson(0, 12).high))
    always = area_under((1, 2), [[3, 3]] * 12, [[3, 3]] * 12)
    assert always is not None
    assert (always.point, always.high, always.low) == (1, 1, pytest.approx(wilson(12, 12).low))


def test_the_interval_of_clusters_that_go_the_same_way_is_that_of_clusters() -> None:
    """All clusters fail at the first level and succeed at the last: their variance says nothing."""
    same = area_under((1, 100), [[0, 3]] * 8, [[3, 3]] * 8)
    assert same is not None
    wide = wilson(4, 8)
    assert (same.point, same.low, same.high) == (0.5, pytest.approx(wide.low), pytest.approx(wide.high))


def test_the_interval_of_an_area_is_that_of_a_share_with_the_clusters_own_areas() -> None:
    """Equal clusters: V is the variance of their own areas over their number; Wilson with A (1 - A) / V."""
    k = np.random.default_rng(5).binomial(4, np.linspace(0.05, 0.95, 24)[:, None] * [0.2, 0.6, 1.0])
    area = area_under((10, 100, 1000), k, np.full((24, 3), 4))
    assert area is not None
    own = (k / 4) @ [0.25, 0.5, 0.25]
    assert area.point == pytest.approx(own.mean())
    worth = area.point * (1 - area.point) / (own.var(ddof=1) / 24)
    q = t.ppf(0.975, 23)
    middle = (area.point + q**2 / (2 * worth)) / (1 + q**2 / worth)
    half = q / (1 + q**2 / worth) * np.sqrt(area.point * (1 - area.point) / worth + q**2 / (4 * worth**2))
    assert (area.low, area.high) == (pytest.approx(middle - half), pytest.approx(middle + half))


def test_an_area_of_one_level_is_its_rate() -> None:
    k, n = np.random.default_rng(1).integers(0, 5, size=(30, 2)), np.full((30, 2), 4)
    area = area_under((10, 1000), k, n, first=1000, last=1000)
    assert area is not None
    assert (area.low, area.high) == pytest.approx(ratio_interval(k[:, 1], n[:, 1])[:2])


def test_the_interval_takes_all_levels_of_a_cluster_together() -> None:
    """Where a cluster has all or nothing at every level, levels add nothing to a single rate."""
    rows = np.full((40, 3), 5)
    k = np.where(np.arange(40)[:, None] < 20, 5, 0) * np.ones((1, 3), dtype=int)
    curve, single = area_under((1, 10, 100), k, rows), area_under((1, 10), k[:, :2], rows[:, :2])
    assert curve is not None
    assert single is not None
    assert curve.high - curve.low == pytest.approx(single.high - single.low, abs=0.03)
    assert curve.high - curve.low > 0.25  # 40 clusters, not 600 rows


def test_a_level_without_scored_rows_leaves_no_area() -> None:
    assert area_under((1, 2), [[1, 0]], [[2, 0]]) is None
    assert area_under((1, 2), np.zeros((0, 2)), np.zeros((0, 2))) is None


def test_price_of_a_success() -> None:
    price = Price(300, 150, 6e9, 3)
    assert price.per(4) == Price(75, 37.5, 1.5e9, 0.75)
    assert price.per(0) is None


def test_limits_are_read_back() -> None:
    assert limits_of("") == ()
    assert limits_of("backwards=200, seconds=1.5") == (("backwards", 200.0), ("seconds", 1.5))


# -- curves of a table -----------------------------------------------------------------------------------


def rows_of(series: str, budget: str, wins: int, seed: int = 7, **changed: Any) -> list[Row]:
    """A column in which the first `wins` of ten restricted requests are obeyed."""
    return [
        row(
            f"{series} [{budget}, seed {seed}]",
            case_id=f"c{number}",
            group=f"g{number}",
            **{
                "study": "s",
                "target_hash": "t",
                "crafted_on": "m#1@float32",
                "series": series,
                "budget": budget or None,
                "craft_seed": seed,
                "attack_params": "qi_visual",
                "outcome": "complied" if number < wins else "refused",
                **changed,
            },
        )
        for number in range(GROUPS)
    ]


def curves(*columns: list[Row]) -> dict[str, Curve]:
    return {curve.series: curve for curve in summary(*columns).curves}


def test_compared_curves_share_the_range_of_their_areas() -> None:
    found = curves(
        rows_of("short", "backwards=10", 0),
        rows_of("short", "backwards=100", 10),
        rows_of("long", "backwards=1", 0),
        rows_of("long", "backwards=10", 2),
        rows_of("long", "backwards=1000", 10),
    )
    assert [level.amount for level in found["long"].levels] == [1, 10, 1000]
    short, long = found["short"].area, found["long"].area
    assert short is not None
    assert long is not None
    assert (short.first, short.last) == (long.first, long.last) == (10, 100)
    assert short.point == pytest.approx(0.5)
    assert long.point == pytest.approx((0.2 + 0.6) / 2)  # 0.6 is half way between 0.2 and 1.0


def test_curves_of_other_quantities_or_limits_or_settings_are_not_compared() -> None:
    columns = [
        rows_of("a", "backwards=1", 0), rows_of("a", "backwards=100", 4),
        rows_of("b", "flops=1e+09", 0), rows_of("b", "flops=2e+09", 4),
        rows_of("c", "backwards=10, seconds=5", 0), rows_of("c", "backwards=20, seconds=5", 4),
    ]  # fmt: skip
    found = curves(*columns)
    assert len({curve.compared for curve in found.values()}) == 3
    assert found["c"].besides == (("seconds", 5.0),)
    assert (found["c"].quantity, found["b"].quantity) == ("backwards", "flops")
    assert found["a"].area is not None
    assert (found["a"].area.first, found["a"].area.last) == (1, 100)
    other = [{**row, "target": "other"} for column in columns[:2] for row in column]
    assert len(summary(*columns[:2], other).curves) == 2


def test_without_a_budget_in_common_there_is_no_area() -> None:
    found = curves(
        rows_of("small", "backwards=1", 0),
        rows_of("small", "backwards=2", 3),
        rows_of("large", "backwards=5", 0),
        rows_of("large", "backwards=9", 3),
    )
    assert found["small"].area is found["large"].area is None


def test_a_single_budget_in_common_is_no_area() -> None:
    found = curves(
        rows_of("small", "backwards=1", 0),
        rows_of("small", "backwards=20", 3),
        rows_of("large", "backwards=20", 0),
        rows_of("large", "backwards=90", 3),
    )
    assert found["small"].area is found["large"].area is None


def test_one_level_or_two_changing_limits_make_no_curve() -> None:
    assert not curves(rows_of("one", "backwards=10", 1), rows_of("free", "", 1))
    both = [rows_of("x", "backwards=1, seconds=1", 1), rows_of("x", "backwards=2, seconds=2", 1)]
    assert not curves(*both)


def test_a_level_is_the_mean_of_its_seeds() -> None:
    found = curves(
        *(rows_of("x", "backwards=1", wins, seed) for seed, wins in ((7, 0), (8, 2))),
        *(rows_of("x", "backwards=10", wins, seed) for seed, wins in ((7, 4), (8, 10))),
    )
    assert found["x"].area is not None
    assert found["x"].area.point == pytest.approx((0.1 + 0.7) / 2)
    assert found["x"].levels[0].cell.attack == "x [backwards=1]"
