"""Which official releases are here, how many cases they have, and which of them share pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from sightline import registry
from sightline.cards import Card
from sightline.contracts import Benchmark
from sightline.errors import UsageError
from sightline.readers import TableBenchmark, found_release
from sightline.release import listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What there is of a benchmark, with its default settings.

    Attributes:
        part: the part of the release that is read.
        expected: cases that this part has by `ReleaseFacts`; 0 if that is not known.
        root: where the release lies, None if it was not found.
        cases: cases found, by category; empty where nothing was read.
        unusable: rows and pictures among them that cannot be used.
        problem: why it cannot be read, in one line.
    """

    card: Card
    part: str = ""
    expected: int = 0
    root: Path | None = None
    cases: dict[str, int]
    unusable: int = 0
    problem: str = ""

    @property
    def found(self) -> int:
        """Cases found."""
        return sum(self.cases.values())


def inventory(card: Card, *, count: bool = True) -> Inventory:
    """Look for a benchmark's release in `$SIGHTLINE_DATA`; `count` its cases, decoding no picture."""
    found = Inventory(card=card, cases={})
    try:
        method: Benchmark = registry.make("benchmark", card.name)
        if isinstance(method, TableBenchmark):
            method = replace(method, on_bad_rows="keep")
            part = method.part()
            expected = card.release.total(part) if card.release else 0
            found = replace(found, part=part, expected=expected)
        root = found_release(card) if method.needs_root else None
        found = replace(found, root=root)
        if not count or (root is None and method.needs_root):
            return found
        return _counted(found, method)
    except UsageError as unfit:
        return replace(found, problem=str(unfit).split("\n")[0])


def _counted(found: Inventory, method: Benchmark) -> Inventory:
    cases: dict[str, int] = {}
    unusable = 0
    with listed(found.root) as release:
        for case in method.cases(release):
            cases[case.category] = cases.get(case.category, 0) + 1
            unusable += case.conversation.problem is not None
    return replace(found, cases=cases, unusable=unusable)


def sharing(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of these benchmarks of which one holds pictures or rows of the other (`ReleaseFacts.shares`)."""
    cards = {}
    for name in dict.fromkeys(names):
        try:
            cards[name] = registry.card("benchmark", name)
        except UsageError:
            continue  # of a plug-in that is not installed here
    return [
        (one.name, other.name)
        for one, other in combinations(cards.values(), 2)
        if _shares(one, other) or _shares(other, one)
    ]


def shared_told(names: Iterable[str]) -> list[str]:
    """For a report of these benchmarks: one line for each pair that shares."""
    return [
        f"{one} and {other} hold some of the same pictures or rows: their figures are not independent"
        for one, other in sharing(names)
    ]


def _shares(one: Card, other: Card) -> bool:
    """Whether the facts of one name the other, as a benchmark or as its authors do ('JBB-Behaviors')."""
    said = {_plain(name) for name in (one.release.shares if one.release else ())}
    return _plain(other.name) in said


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
