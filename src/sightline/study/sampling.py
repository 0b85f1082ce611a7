"""Which cases a limit keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sightline.cases import Case


def sampled(cases: Iterable[Case], limit: int) -> Iterator[Case]:
    """At most `limit` cases, taken in turn from every (expectation, category), in release order."""
    everything = list(cases)
    piles: dict[tuple[str, str], list[int]] = {}
    for index, case in enumerate(everything):
        piles.setdefault((case.expected.value, case.category), []).append(index)
    chosen: list[int] = []
    depth = 0
    while len(chosen) < min(limit, len(everything)):
        for pile in piles.values():
            if depth < len(pile) and len(chosen) < limit:
                chosen.append(pile[depth])
        depth += 1
    return (everything[index] for index in sorted(chosen))
