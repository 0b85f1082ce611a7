"""Places of a phase's items in the lists of its raters, after those of earlier phases."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import comb
from typing import NamedTuple

from sightline.annotation.orders import (
    APART,
    REPEAT_APART,
    SHARED,
    assigned,
    interleaved,
    spaced,
    with_repeats,
)
from sightline.annotation.plan import Plan, Planned
from sightline.rng import numpy_rng

GOLD = "gold"


class Placed(NamedTuple):
    """Items with their places, and what is not as it should be."""

    items: list[Planned]
    notes: tuple[str, ...]


def with_places(
    items: Sequence[Planned], plan: Plan, raters: Sequence[str], repeats: float, *, seed: int
) -> Placed:
    """Items with a place for each rater who is asked, behind all that the plan already asks of them.

    Samples go to two raters each, items with known truth to all. `repeats` is the share that each rater sees
    twice.
    """
    phase = len(plan.headers) + 1
    samples = [number for number, each in enumerate(items) if each.kind == "sample"]
    who = assigned(
        [items[number].stratum for number in samples],
        raters,
        numpy_rng("annotation raters", seed, phase),
    )
    asked: dict[str, list[int]] = {rater: [] for rater in raters}
    for number, names in zip(samples, who, strict=True):
        for rater in names:
            asked[rater].append(number)
    for own in asked.values():
        own += [number for number, each in enumerate(items) if each.kind == GOLD]
    lists = {
        rater: _list(items, own, plan, rater, repeats, seed=seed, phase=phase) for rater, own in asked.items()
    }
    orders: list[dict[str, int]] = [{} for _ in items]
    again: list[dict[str, int]] = [{} for _ in items]
    for rater, found in lists.items():
        for place, (number, repeat) in enumerate(found.showings, start=found.start):
            (again if repeat else orders)[number][rater] = place
    placed = [replace(each, order=orders[number], repeats=again[number]) for number, each in enumerate(items)]
    return Placed(placed, (*_notes(lists), *_about_pairs(len(samples), raters)))


class _List(NamedTuple):
    start: int
    showings: list[tuple[int, bool]]
    apart: int
    repeats: int
    repeats_apart: int | None


def _list(
    items: Sequence[Planned],
    own: Sequence[int],
    plan: Plan,
    rater: str,
    repeats: float,
    *,
    seed: int,
    phase: int,
) -> _List:
    """One rater's list: numbers of items, and whether each is a repeat."""
    rng = numpy_rng("annotation order", seed, phase, rater)
    groups: list[Hashable] = [items[number].group for number in own]
    strata = [items[number].stratum if items[number].kind == "sample" else GOLD for number in own]
    before = plan.places(rater) if rater in plan.raters else []
    behind = [plan.items[place.item].group for place in before[-APART:]]
    order = spaced(interleaved(strata, rng), groups, behind)
    wanted = round(repeats * len(own))
    session = with_repeats(order.items, groups, wanted, rng)
    showings = [(own[each.item], each.repeat) for each in session.showings]
    return _List(_start(plan, rater), showings, order.apart, wanted, session.repeats_apart)


def _start(plan: Plan, rater: str) -> int:
    """The first place that a rater does not have yet."""
    ends = (max(each.order.get(rater, -1), each.repeats.get(rater, -1)) for each in plan.items.values())
    return 1 + max(ends, default=-1)


def _notes(lists: Mapping[str, _List]) -> Iterator[str]:
    near = min(found.apart for found in lists.values())
    if near < APART:
        yield (
            f"items of one group have {near} others between them, not {APART}: the lists are too short for "
            "their groups"
        )
    wanted = sum(found.repeats for found in lists.values())
    number = sum(repeat for found in lists.values() for _, repeat in found.showings)
    if number < wanted:
        yield f"{number} repeats, not {wanted}: the lists are too short for more"
    late = min((found.repeats_apart or REPEAT_APART for found in lists.values()), default=REPEAT_APART)
    if late < REPEAT_APART:
        yield f"some repeats come {late} places after the first showing, not {REPEAT_APART}: lists are short"


def _about_pairs(number: int, raters: Sequence[str]) -> Iterator[str]:
    if len(raters) == 1:
        yield "one rater: no agreement between people can be measured"
    pairs = comb(len(raters), 2)
    if len(raters) > 2 and number < SHARED * pairs:
        yield (
            f"each of {pairs} pairs of raters shares about {number // pairs} items; for {SHARED} each, draw "
            f"{SHARED * pairs:,} or take fewer raters"
        )
