"""The gold sample: allocation by hand, chances proven by going through every outcome and by simulation."""

from __future__ import annotations

from collections import Counter
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.rounding import rounded
from sightline.metrics.sample_design import (
    Drawn,
    allocate,
    by_card,
    draw,
    estimated_share,
    expected_spread,
    extend,
)

# --- Allocation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "spreads", "n", "how", "found"),
    [
        ([100, 300], [0.5, 0.5], 40, {}, [16, 24]),  # by size 10 and 30; the cap of .6 is 24
        ([100, 300], [0.5, 0.5], 40, {"cap": 1.0}, [10, 30]),
        ([100, 300], [0.3, 0.1], 40, {}, [20, 20]),  # 100 x .3 = 300 x .1
        ([100, 900], [0.5, 0.0], 40, {"cap": 1.0}, [30, 10]),  # the floor of a stratum without spread
        ([100, 900], [0.5, 0.0], 40, {"cap": 1.0, "floor": 0}, [40, 0]),
        ([4, 996], [0.5, 0.5], 100, {}, [4, 96]),  # all of a small one, and then the cap must yield
        ([50], [0.5], 20, {}, [20]),
        ([50, 7], [0.5, 0.1], 500, {}, [50, 7]),
        ([50, 50, 50], [0.5, 0.5, 0.5], 7, {}, [3, 2, 2]),  # too few for the floor
        ([0, 10], [0.5, 0.5], 4, {}, [0, 4]),
        ([], [], 5, {}, []),
        ([50, 50], [5e-324, 0.0], 60, {"floor": 5}, [36, 24]),  # the least number there is; cap .6
    ],
)
def test_allocation_by_hand(
    sizes: list[int], spreads: list[float], n: int, how: dict[str, float], found: list[int]
) -> None:
    assert allocate(sizes, spreads, n, **how) == found


@given(
    strata=st.lists(st.tuples(st.integers(0, 500), st.floats(0, 0.5)), max_size=8),
    n=st.integers(0, 600),
    floor=st.integers(0, 15),
    cap=st.floats(0.05, 1),
)
def test_an_allocation_adds_up_and_keeps_the_sizes(
    strata: list[tuple[int, float]], n: int, floor: int, cap: float
) -> None:
    sizes = [size for size, _ in strata]
    found = allocate(sizes, [spread for _, spread in strata], n, floor=floor, cap=cap)
    assert sum(found) == min(n, sum(sizes))
    assert all(0 <= each <= size for each, size in zip(found, sizes, strict=True))
    low = [min(floor, size) for size in sizes]
    if sum(low) <= n:
        assert all(each >= least for each, least in zip(found, low, strict=True))


def test_spreads_of_a_card() -> None:
    """Prevalence .05, Se .85, Sp .95: of 900 flagged in 10,000 rows 425 are unsafe, of 9,100 others 75."""
    found = by_card(0.05, 0.85, 0.95)
    assert found == {True: pytest.approx(425 / 900), False: pytest.approx(75 / 9100), None: None}
    spreads = expected_spread(found)
    assert spreads == {
        True: pytest.approx(sqrt(425 * 475) / 900),
        False: pytest.approx(sqrt(75 * 9025) / 9100),
        None: 0.5,
    }
    assert by_card(0.0, 0.5, 1.0) == {True: None, False: 0.0, None: None}


# --- Rounding: every outcome with its chance --------------------------------------------------------


def outcomes(group: list[int], stratum: list[int], expected: list[float]) -> list[tuple[float, list[int]]]:
    """All results of `rounded` with their chances, by answering its tosses in every way."""
    found, waiting = [], [[]]
    while waiting:
        answers, chances = waiting.pop(), []

        def toss(likely: float, answers: list[bool] = answers, chances: list[float] = chances) -> bool:
            if len(chances) == len(answers):
                waiting.append([*answers, False])
                answers.append(True)
            said = answers[len(chances)]
            chances.append(likely if said else 1 - likely)
            return said

        counts = rounded(group, stratum, expected, toss)
        found.append((float(np.prod(chances)), counts))
    return found


TABLES = [
    ([0, 0, 1, 1], [0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5]),  # one cycle
    ([0, 1, 2], [0, 0, 0], [0.25, 0.25, 0.5]),  # paths between ends
    ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [1.25, 0.5, 0.5, 0.75, 0.25, 0.75]),
    ([0, 1, 1, 2, 2, 3], [0, 0, 1, 1, 2, 2], [0.5, 0.5, 0.25, 0.75, 0.125, 0.875]),  # a chain
    ([0, 0, 1], [0, 1, 1], [0.3, 0.45, 0.2]),  # sums that are not whole
    ([0, 1], [0, 0], [2.0, 3.0]),
]


@pytest.mark.parametrize("table", TABLES)
def test_rounding_keeps_expectations_and_sums_in_every_outcome(
    table: tuple[list[int], list[int], list[float]],
) -> None:
    group, stratum, expected = table
    found = outcomes(*table)
    assert sum(chance for chance, _ in found) == pytest.approx(1)
    for number, wanted in enumerate(expected):
        mean = sum(chance * counts[number] for chance, counts in found)
        assert mean == pytest.approx(wanted, abs=1e-6)
    for _, counts in found:
        for names in (group, stratum):
            for name in set(names):
                mine = [number for number, each in enumerate(names) if each == name]
                assert abs(sum(counts[i] for i in mine) - sum(expected[i] for i in mine)) < 1
        assert all(abs(count - each) < 1 for count, each in zip(counts, expected, strict=True))


# --- The sample -----------------------------------------------------------------------------------

GROUPS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 9, 9]
STRATA = [None if row % 7 == 3 else row % 3 == 0 for row in range(20)]
"""Yes, no and no verdict, over ten groups."""
HOW = {"spreads": {True: 0.5, False: 0.1}, "floor": 1, "key": "k"}


@pytest.mark.slow
def test_rows_are_drawn_as_often_as_their_chance_says_and_estimates_are_unbiased() -> None:
    worlds, truth = 4000, [0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1]
    times: Counter[int] = Counter()
    chances: dict[int, float] = {}
    shares = []
    for seed in range(worlds):
        found = draw(GROUPS, STRATA, 8, seed=seed, **HOW)
        assert len({row for row, *_ in found}) == len(found) == 8
        assert max(Counter(GROUPS[row] for row, *_ in found).values()) <= 2
        times.update(row for row, *_ in found)
        for row, prob, _ in found:
            assert chances.setdefault(row, prob) == pytest.approx(prob, abs=1e-9)
        shares.append(estimated_share(found, [truth[each.row] for each in found], 20))
    assert set(times) == set(range(20))
    assert sum(chances.values()) == pytest.approx(8)
    for row, prob in chances.items():
        assert abs(times[row] / worlds - prob) < 5 * sqrt(prob * (1 - prob) / worlds) + 1e-9
    assert abs(np.mean(shares) - 0.5) < 5 * np.std(shares) / sqrt(worlds)


def test_strata_get_the_numbers_of_the_allocation() -> None:
    groups = [row // 4 for row in range(400)]
    strata = [("a", row % 5 == 0) for row in range(400)]
    found = draw(groups, strata, 60, spreads={("a", True): 0.5, ("a", False): 0.1}, seed=1, key="k")
    wanted = allocate([80, 320], [0.5, 0.1], 60)
    assert Counter(strata[each.row] for each in found) == {("a", True): wanted[0], ("a", False): wanted[1]}
    assert {round(each.prob, 9) for each in found} == {round(wanted[0] / 80, 9), round(wanted[1] / 320, 9)}


def test_the_same_seed_and_key_give_the_same_sample() -> None:
    found = draw(GROUPS, STRATA, 8, seed=1, **HOW)
    assert found == draw(GROUPS, STRATA, 8, seed=1, **HOW) == sorted(found)
    assert found != draw(GROUPS, STRATA, 8, seed=2, **HOW)
    assert found != draw(GROUPS, STRATA, 8, seed=1, **{**HOW, "key": "other"})


@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["a", "b", None])), min_size=1, max_size=80),
    n=st.integers(3, 90),
    per_group=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_no_group_gives_too_many_and_chances_are_chances(
    rows: list[tuple[int, str | None]], n: int, per_group: int, seed: int
) -> None:
    groups, strata = [group for group, _ in rows], [stratum for _, stratum in rows]
    found = draw(groups, strata, n, per_group=per_group, floor=1, seed=seed, key="k")
    room = sum(min(per_group, count) for count in Counter(groups).values())
    assert len({each.row for each in found}) == len(found) <= min(n, room)
    assert all(0 < each.prob <= 1 + 1e-12 for each in found)
    assert all(count <= per_group for count in Counter(groups[each.row] for each in found).values())
    more = extend(found, groups, strata, 10**3, per_group=10**3, floor=1, seed=seed, key="k")
    assert [each.row for each in more] == list(range(len(rows)))  # all others
    assert {round(each.prob, 6) for each in more} == {1.0}


def test_few_groups_give_fewer_rows() -> None:
    found = draw([0] * 30 + [1] * 30, [False] * 60, 20, seed=1, key="k")
    assert Counter(each.row // 30 for each in found) == {0: 2, 1: 2}
    assert [each.prob for each in found] == pytest.approx([2 / 30] * 4)


def test_all_rows_can_be_drawn() -> None:
    found = draw(list(range(20)), STRATA, 99, seed=1, key="k")
    assert [tuple(each) for each in found] == [(row, 1.0, 1) for row in range(20)]
    assert draw([], [], 5, seed=1, key="k") == []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"n": 2}, "no row of stratum"),
        ({"n": 8, "per_group": 0}, "per_group=0"),
        ({"n": -1}, "n=-1"),
        ({"n": 8, "cap": 0.0}, "cap=0.0"),
    ],
)
def test_what_cannot_be_drawn_is_told(how: dict[str, int], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        draw(GROUPS, STRATA, **{"seed": 1, "key": "k", **how})


def test_columns_must_be_of_the_same_rows() -> None:
    with pytest.raises(UsageError, match="20 groups and 2 strata"):
        draw(GROUPS, [True, False], 5, seed=1, key="k")
    with pytest.raises(UsageError, match="2 sizes and 1 spreads"):
        allocate([1, 2], [0.5], 3)
    with pytest.raises(UsageError, match="1 drawn rows and 2 labels"):
        estimated_share([Drawn(0, 0.5)], [1, 0], 4)


# --- More rows later ------------------------------------------------------------------------------


@pytest.mark.slow
def test_more_rows_keep_the_earlier_ones_and_stay_unbiased() -> None:
    worlds, truth = 4000, [0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1]
    weights, shares = np.zeros(20), []
    for seed in range(worlds):
        first = draw(GROUPS, STRATA, 5, seed=seed, **HOW)
        found = extend(first, GROUPS, STRATA, 4, seed=seed, **HOW)
        assert [each.row for each in found if each.phase == 1] == [each.row for each in first]
        assert len(found) == 9
        assert all(0 < each.prob <= 1 for each in found)
        for row, prob, _ in found:
            weights[row] += 1 / prob / worlds
        shares.append(estimated_share(found, [truth[each.row] for each in found], 20))
    # Every row weighs 1 on average. A row that is drawn seldom weighs much: five standard errors.
    assert np.abs(weights - 1).max() < 5 * sqrt(12 / worlds)
    assert abs(np.mean(shares) - 0.5) < 5 * np.std(shares) / sqrt(worlds)


def test_two_plain_samples_weigh_as_one_of_both() -> None:
    groups, strata = list(range(50)), [True] * 50
    first = draw(groups, strata, 10, seed=1, key="k")
    second = extend(first, groups, strata, 15, seed=1, key="k")
    third = extend(second, groups, strata, 5, seed=1, key="k")
    assert Counter(each.phase for each in third) == {1: 10, 2: 15, 3: 5}
    assert {round(each.prob, 9) for each in second} == {0.5}
    assert {round(each.prob, 9) for each in third} == {0.6}
    every = extend(third, groups, strata, 99, seed=1, key="k")
    assert {(each.row, round(each.prob, 9)) for each in every} == {(row, 1.0) for row in range(50)}
    assert extend([], groups, strata, 10, seed=1, key="k") == first


def test_an_earlier_sample_of_other_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="a row twice"):
        extend([Drawn(0, 0.5), Drawn(0, 0.5)], GROUPS, STRATA, 4, seed=1, key="k")
    with pytest.raises(UsageError, match="not one of these 20 rows"):
        extend([Drawn(20, 0.5)], GROUPS, STRATA, 4, seed=1, key="k")
