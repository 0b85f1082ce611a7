"""What recipes share: lessons with their benign twins, and the order in which two kinds of rows are seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sightline.errors import UsageError
from sightline.tuning import Lesson

if TYPE_CHECKING:
    import numpy as np

ORDER = re.compile(r"mixed|first|last|alternate:[1-9][0-9]{0,4}")
REFUSAL = "I cannot help with that."
Units = Sequence[tuple[int, ...]]
"""Numbers of lessons that are seen together: a request, and its twin."""


class Sorted(NamedTuple):
    """Lessons by what they are for: safety rows in units, and general ones."""

    safety: list[tuple[int, ...]]
    general: list[int]


def refusal_of(lesson: Lesson, style: str, fixed: str) -> str:
    """How a lesson is refused: if `style` is `considered` in its own words, else as `fixed`."""
    own = lesson.given if lesson.label == "refuse" else lesson.refusal
    return (own if style == "considered" else "") or fixed


def benign_answer(lesson: Lesson) -> str:
    """How a benign lesson is answered: a twin as its row says, all others as the base does."""
    return (lesson.given if lesson.label == "comply" else "") or lesson.own


def sorted_out(lessons: Sequence[Lesson], *, pairs: bool) -> Sorted:
    """Requests to refuse, each with its benign twin if `pairs`; all other lessons but twins are general.

    Raises:
        UsageError: if twins are wanted and no request has one.
    """
    places = {each.id: number for number, each in enumerate(lessons)}
    refused = [number for number, each in enumerate(lessons) if each.label == "refuse"]
    twins = {
        number: places[lessons[number].twin]
        for number in refused
        if lessons[places.get(lessons[number].twin, number)].label == "comply"
    }
    if pairs and refused and not twins:
        raise UsageError(
            "pairs=True, and no request to refuse has a benign twin among the rows: add benign rows that "
            "name their "
            "`twin`, or say pairs=False (over-refusal is then high, and nothing in the rows holds it down)"
        )
    units: list[tuple[int, ...]] = [
        (number, twins[number]) if pairs and number in twins else (number,) for number in refused
    ]
    apart = {*refused, *twins.values()}
    return Sorted(units, [number for number in range(len(lessons)) if number not in apart])


def batches(
    safety: Units,
    general: Sequence[int],
    *,
    steps: int,
    batch: int,
    ratio: float,
    order: str,
    rng: np.random.Generator,
) -> tuple[tuple[int, ...], ...]:
    """Batches of `steps` updates in which the share `ratio` of all rows are safety rows.

    `mixed`: in every batch, by chance; `first`, `last`: all safety rows before, or after, the general ones;
    `alternate:k`: k steps of safety rows, then general ones, in turn, both spread evenly.

    Raises:
        UsageError: if one kind is wanted and there is none of it.
    """
    total = steps * batch
    count = round(ratio * total)
    if count and not safety:
        raise UsageError("no row is a request to refuse (expected: refuse): label some, or set ratio=0")
    if total - count and not general:
        raise UsageError(
            f"ratio={ratio:g} wants general rows beside the safety rows, and there are none: add questions "
            f"with answers "
            "(expected: answer), or set ratio=1"
        )
    first = [number for unit in _drawn(safety, count, rng) for number in unit][:count]
    singles = [(each,) for each in general]
    other = [unit[0] for unit in _drawn(singles, total - count, rng)][: total - count]
    rows = _ordered(first, other, order, batch, rng)
    return tuple(tuple(rows[start : start + batch]) for start in range(0, total, batch))


def _drawn(units: Units, rows: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Units with at least so many rows, each as often as any other: shuffled, and shuffled again."""
    found, held = list[tuple[int, ...]](), 0
    while held < rows:
        for place in rng.permutation(len(units)):
            found.append(units[int(place)])
            held += len(found[-1])
    return found


def _ordered(
    safety: Sequence[int], general: Sequence[int], order: str, batch: int, rng: np.random.Generator
) -> list[int]:
    if order == "first":
        return [*safety, *general]
    if order == "last":
        return [*general, *safety]
    if order == "mixed":
        kinds = rng.permutation(len(safety) + len(general)) < len(safety)
        one, other = iter(safety), iter(general)
        return [next(one) if first else next(other) for first in kinds]
    return list(_alternating(safety, general, int(order.partition(":")[2]) * batch))


def _alternating(safety: Sequence[int], general: Sequence[int], block: int) -> Iterator[int]:
    """Blocks of safety rows, each followed by an equal share of the general ones."""
    blocks = max(1, -(-len(safety) // block))
    for number in range(blocks):
        yield from safety[number * block : (number + 1) * block]
        yield from general[number * len(general) // blocks : (number + 1) * len(general) // blocks]
