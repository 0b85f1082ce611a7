"""Which cases a limit keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter

from sightline.cases import Case


def sampled(cases: Iterable[Case], limit: int) -> Iterator[Case]:
    """At most `limit` cases, taken in turn from every (expectation, category), in release order."""
    piles: dict[tuple[str, str], list[tuple[int, Case]]] = {}
    for index, case in enumerate(cases):
        pile = piles.setdefault((case.expected.value, case.category), [])
        if len(pile) < limit:  # memory holds so many of each kind, however many there are
            pile.append((index, case))
    chosen: list[tuple[int, Case]] = []
    depth = 0
    while len(chosen) < min(limit, sum(map(len, piles.values()))):
        for pile in piles.values():
            if depth < len(pile) and len(chosen) < limit:
                chosen.append(pile[depth])
        depth += 1
    return (case for _, case in sorted(chosen, key=itemgetter(0)))
