"""Orders and assignments: what they promise holds for any groups, strata and raters."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.annotation.orders import (
    APART,
    REPEAT_APART,
    assigned,
    interleaved,
    pairs,
    spaced,
    with_repeats,
)

seeds = st.integers(0, 2**32)
few = st.lists(st.integers(0, 8), max_size=60)


def nearest(names: list[object]) -> int:
    """The least distance of two equal names; the length if there are none. Plain and slow."""
    found = [abs(a - b) for a, b in combinations(range(len(names)), 2) if names[a] == names[b]]
    return min(found, default=len(names))


@given(few, seeds)
def test_every_item_comes_once_with_its_stratum_spread(strata: list[int], seed: int) -> None:
    order = interleaved(strata, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(strata)))
    kinds = len(set(strata))
    for end in range(0, len(order), 20):  # where blocks end
        shown = Counter(strata[each] for each in order[:end])
        for stratum, number in Counter(strata).items():
            assert abs(shown[stratum] - end * number / len(order)) <= 1 + kinds


def test_a_stopped_session_is_a_sample() -> None:
    strata = ["rare"] * 20 + ["common"] * 180
    for seed in range(20):
        order = interleaved(strata, np.random.default_rng(seed))
        for start in range(0, 200, 20):
            rare = sum(strata[each] == "rare" for each in order[start : start + 20])
            assert 1 <= rare <= 3


def test_orders_of_raters_differ() -> None:
    orders = {tuple(interleaved(["a"] * 30, np.random.default_rng(seed))) for seed in range(10)}
    assert len(orders) == 10


@given(few, st.lists(st.integers(0, 8), max_size=12), seeds, st.integers(1, 10))
def test_what_spacing_says_of_the_distance_is_true(
    groups: list[int], before: list[int], seed: int, apart: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    found = spaced(order, groups, before, apart)
    assert sorted(found.items) == sorted(order)
    assert found.apart <= apart
    names = [groups[each] for each in found.items]
    if found.apart:
        assert nearest(names) > found.apart or len(set(names)) == len(names)
        behind = [*before[-found.apart :], *names]
        for place, name in enumerate(names, start=len(behind) - len(names)):
            assert name not in behind[max(0, place - found.apart) : place]


@given(st.integers(40, 80), seeds)
def test_pairs_of_a_group_are_never_near_where_the_list_is_long(number: int, seed: int) -> None:
    groups = [each // 2 for each in range(number)]
    order = np.random.default_rng(seed).permutation(number).tolist()
    assert spaced(order, groups).apart == APART


def test_one_group_alone_has_no_distance_and_is_kept() -> None:
    assert spaced([2, 0, 1], ["g"] * 3).items == [2, 0, 1]
    assert spaced([2, 0, 1], ["g"] * 3).apart == 0
    assert spaced([], []).items == []


@given(st.integers(0, 160), st.integers(0, 12), seeds)
def test_repeats_come_late_and_away_from_their_group(number: int, wanted: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [each // 2 for each in range(number)]
    order = spaced(interleaved(["s"] * number, rng), groups)
    found = with_repeats(order.items, groups, wanted, rng)
    assert [each.item for each in found.showings if not each.repeat] == order.items
    again = [each.item for each in found.showings if each.repeat]
    assert len(set(again)) == len(again) <= wanted
    if number >= 100:
        assert len(again) == wanted
        assert not wanted or (found.repeats_apart or 0) >= REPEAT_APART
    first = {each.item: place for place, each in enumerate(found.showings) if not each.repeat}
    distances = [place - first[each.item] for place, each in enumerate(found.showings) if each.repeat]
    assert all(each >= (found.repeats_apart or 0) > APART for each in distances)
    if order.apart == APART:
        names = [groups[each.item] for each in found.showings]
        assert nearest(names) > APART or len(set(names)) == len(names)


@pytest.mark.parametrize("number", range(2, 9))
def test_pairs_are_all_pairs_once(number: int) -> None:
    raters = [f"r{each}" for each in range(number)]
    found = [frozenset(each) for each in pairs(raters)]
    assert len(found) == len(set(found)) == number * (number - 1) // 2


@given(st.lists(st.sampled_from("abc"), max_size=120), st.integers(3, 8), seeds)
def test_pairs_and_raters_get_equally_many(strata: list[str], number: int, seed: int) -> None:
    raters = [f"r{each}" for each in range(number)]
    found = assigned(strata, raters, np.random.default_rng(seed))
    shared = Counter({frozenset(each): 0 for each in combinations(raters, 2)})
    shared.update(map(frozenset, found))
    assert max(shared.values()) - min(shared.values()) <= 1
    load = Counter({each: 0 for each in raters})
    load.update(each for pair in found for each in pair)
    assert max(load.values()) - min(load.values()) <= 2
    for stratum in set(strata):  # a pair's share of a stratum is that of any other
        here = Counter({each: 0 for each in shared})
        here.update(frozenset(pair) for pair, own in zip(found, strata, strict=True) if own == stratum)
        assert max(here.values()) - min(here.values()) <= 1


@pytest.mark.parametrize("raters", [("ann",), ("ann", "bo")])
def test_one_or_two_raters_see_everything(raters: tuple[str, ...]) -> None:
    assert assigned("xyz", raters, np.random.default_rng(0)) == [raters] * 3
