"""Who is asked what, and in which order: pure functions on group and stratum of each item.

* Every rater has a random order of their own in which each stratum is spread evenly, so that a session that
  stops early is still a sample.
* Two items of one group are never within `APART` of each other: the second would be read by the first.
* Some items come a second time, at least `REPEAT_APART` later, which measures a rater's own agreement.
* Of more than two raters each item goes to one pair, and all pairs get equally many.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

BLOCK = 20
"""Items within which the order is shuffled once more, so that no stratum comes at regular intervals."""
APART = 10
REPEAT_APART = 50
SHARED = 30
"""Items that a pair of raters should share, for their agreement to be worth a number."""
TRIES = 20
Rng = np.random.Generator


class Order(NamedTuple):
    """An order of numbers of items, and how many others stand between two of a group at least."""

    items: list[int]
    apart: int


class Showing(NamedTuple):
    """An item by number, and whether it is shown for the second time."""

    item: int
    repeat: bool


class Session(NamedTuple):
    """A rater's list, and how far behind the first showing a repeat comes at least (None: no repeats)."""

    showings: list[Showing]
    repeats_apart: int | None


def interleaved(strata: Sequence[Hashable], rng: Rng) -> list[int]:
    """A random order of items with each stratum spread evenly, shuffled within blocks of `BLOCK`."""
    members: dict[Hashable, list[int]] = {}
    for number, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(number)
    places = np.empty(len(strata))
    for found in members.values():
        places[rng.permutation(found)] = (np.arange(len(found)) + rng.random()) / len(found)
    order = np.argsort(places, kind="stable")
    for start in range(0, len(order), BLOCK):
        order[start : start + BLOCK] = rng.permutation(order[start : start + BLOCK])
    return [int(each) for each in order]


def spaced(
    order: Sequence[int], groups: Sequence[Hashable], before: Sequence[Hashable] = (), apart: int = APART
) -> Order:
    """The order with items of one group moved apart: at least `apart` others between two of them.

    Args:
        order: numbers of items.
        groups: of each item, by number.
        before: groups of the items that the rater sees before, the last one last.
        apart: what is wanted. Where the list is too short for it, as much as is found.
    """
    count = Counter(groups[each] for each in order)
    most = max(count.values(), default=1)
    if most > 1:
        crowded = sum(number == most for number in count.values())
        apart = min(apart, (len(order) - crowded) // (most - 1) - 1)
    while apart > 0:
        found = _spaced(order, groups, before[-apart:], apart)
        if found is not None:
            return Order(found, apart)
        apart -= 1
    return Order(list(order), 0)


def _spaced(
    order: Sequence[int], groups: Sequence[Hashable], before: Sequence[Hashable], apart: int
) -> list[int] | None:
    last = {group: place - len(before) for place, group in enumerate(before)}
    waiting: dict[Hashable, deque[int]] = {}
    free: list[tuple[int, int]] = []  # when a group with a waiting item is free again, and the item
    found: list[int] = []
    coming = deque(order)

    def place(item: int) -> None:
        group = groups[item]
        last[group] = len(found)
        found.append(item)
        if waiting.get(group):
            heappush(free, (len(found) + apart, waiting[group][0]))

    while coming or free:
        if free and free[0][0] <= len(found):
            place(waiting[groups[heappop(free)[1]]].popleft())
        elif coming:
            item = coming.popleft()
            group = groups[item]
            queue = waiting.setdefault(group, deque())
            if queue or len(found) - last.get(group, -apart - 1) <= apart:
                queue.append(item)
                if len(queue) == 1:
                    heappush(free, (last[group] + apart + 1, item))
            else:
                place(item)
        else:
            break
    for queue in waiting.values():
        for item in queue:
            slot = _slot(found, item, groups, before, apart)
            if slot is None:
                return None
            found.insert(slot, item)
    return found


def _slot(
    found: Sequence[int], item: int, groups: Sequence[Hashable], before: Sequence[Hashable], apart: int
) -> int | None:
    """Where an item can be put between others, the last such place; what lies behind it moves on by one."""
    group = groups[item]
    taken = [place - len(before) for place, each in enumerate(before) if each == group]
    taken += [place for place, each in enumerate(found) if groups[each] == group]
    end = len(found)
    for place in reversed(taken):
        if max(0, place + apart + 1) <= end:
            return end
        end = min(end, place - apart)
    return end if end >= 0 else None


def with_repeats(order: Sequence[int], groups: Sequence[Hashable], number: int, rng: Rng) -> Session:
    """The order with `number` of its items shown again, `REPEAT_APART` later or as far as it allows.

    A repeat is no nearer to others of its group than `APART`. Where the list is so short that it would come
    within that of its own first showing, there is none.
    """
    at: dict[int, list[int]] = {}
    chosen: set[Hashable] = set()
    nearest = len(order)
    starts = rng.permutation(max(0, len(order) - REPEAT_APART + 1)).tolist()
    for start in (*starts, *range(len(order))):  # if that is not enough: the first ones, at the end
        if len(chosen) == number:
            break
        if start >= len(order) or groups[order[start]] in chosen:
            continue
        place = _late(start, order, groups, rng)
        if place is None:
            continue
        chosen.add(groups[order[start]])
        at.setdefault(place, []).append(order[start])
        nearest = min(nearest, place - start)
    showings = []
    for place in range(len(order) + 1):
        showings += [Showing(item, True) for item in at.get(place, ())]
        showings += [Showing(item, False) for item in order[place : place + 1]]
    return Session(showings, nearest if chosen else None)


def _late(start: int, order: Sequence[int], groups: Sequence[Hashable], rng: Rng) -> int | None:
    """A place for the second showing of the item at `start`; None if there is none."""
    first = start + REPEAT_APART
    tries = rng.integers(first, len(order) + 1, TRIES).tolist() if first <= len(order) else [len(order)]
    for place in tries:
        around = order[max(0, place - APART) : place + APART]
        if place - start > APART and all(groups[each] != groups[order[start]] for each in around):
            return int(place)
    return None


def pairs(raters: Sequence[str]) -> Iterator[tuple[str, str]]:
    """All pairs of raters, so that those of any stretch of the list come equally often, to within one or two.

    The circle method of round-robin tournaments: rounds in which everybody plays once.
    """
    seats: list[str | None] = [*raters, *([None] if len(raters) % 2 else [])]
    for _ in range(len(seats) - 1):
        for one, other in zip(seats, reversed(seats[len(seats) // 2 :]), strict=False):
            if one is not None and other is not None:
                yield one, other
        seats = [seats[0], seats[-1], *seats[1:-1]]


def assigned(strata: Sequence[Hashable], raters: Sequence[str], rng: Rng) -> list[tuple[str, ...]]:
    """Who rates each item: everybody of one or two raters, one pair of more.

    Pairs take turns through the strata, so that each gets a share of every one.
    """
    if len(raters) <= 2:
        return [tuple(raters)] * len(strata)
    turns = list(pairs([raters[number] for number in rng.permutation(len(raters))]))
    found: list[tuple[str, ...]] = [()] * len(strata)
    numbered = {stratum: number for number, stratum in enumerate(dict.fromkeys(strata))}
    order = sorted(rng.permutation(len(strata)).tolist(), key=lambda item: numbered[strata[item]])
    for turn, item in enumerate(order):
        found[item] = turns[turn % len(turns)]
    return found
