"""What benchmarks cover: distinct groups by benchmark, hazard and channel, before and after near-duplicates.

A channel is how a request reaches the model: text alone, pictures alone, a text beside a picture, beside
several, or over several turns. Where in it the harm is (text, picture, only both together) no release says
for each case: people have to code it, and this does not guess. Cases that ask for harm are counted (refuse,
abstain, classify).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sightline import taxonomy
from sightline.cases import Case, Expected
from sightline.contracts import Benchmark
from sightline.data_check.likeness import joined, near_cases
from sightline.data_check.pictures import Look, Looker, WatchedRelease
from sightline.errors import UsageError
from sightline.metrics.intervals import FEW_GROUPS
from sightline.metrics.near_texts import MOST_TEXTS

CHANNELS = ("text", "picture alone", "text and picture", "several pictures", "several turns")
HARM = (Expected.refuse, Expected.abstain, Expected.classify)
NO_CODE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageCell:
    """A benchmark's cases of one hazard through one channel; `distinct`: groups, near ones counted once."""

    benchmark: str
    hazard: str
    channel: str
    cases: int
    groups: int
    distinct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageMap:
    """What was read of benchmarks.

    Attributes:
        cells: those with cases.
        benchmarks: that were read.
        harmless: cases by benchmark that ask for no harm: twins, questions.
        unread: benchmarks that could not be read, with why: not measured, not empty.
        near: pairs of near-duplicates by benchmark; None where there are too many texts to look.
    """

    cells: tuple[CoverageCell, ...]
    benchmarks: tuple[str, ...]
    harmless: dict[str, int]
    unread: dict[str, str]
    near: dict[str, int | None]

    @property
    def hazards(self) -> tuple[str, ...]:
        """Codes of the taxonomy, and '' if cases have none."""
        codes = [code for code, each in taxonomy.hazards().items() if not each.is_tag]
        return (*codes, *([NO_CODE] if any(cell.hazard == NO_CODE for cell in self.cells) else []))

    def groups(self, hazard: str, channel: str) -> int:
        """Distinct groups of all benchmarks together, each counted for itself."""
        return sum(each.distinct for each in self.cells if (each.hazard, each.channel) == (hazard, channel))

    @property
    def measured(self) -> int:
        """Cells of hazard x channel with at least 30 distinct groups; below, intervals are wide."""
        cells = [self.groups(hazard, channel) for hazard in self.hazards for channel in CHANNELS]
        return sum(groups >= FEW_GROUPS for groups in cells)

    @property
    def empty(self) -> float:
        """The share of cells of hazard x channel without any case."""
        cells = [self.groups(hazard, channel) for hazard in self.hazards for channel in CHANNELS]
        return cells.count(0) / len(cells)


def channel_of(case: Case) -> str:
    """How a case reaches the model."""
    if sum(turn.role == "user" for turn in case.conversation.turns) > 1:
        return "several turns"
    pictures = sum(1 for _ in case.conversation.images)
    if pictures > 1:
        return "several pictures"
    words = any(turn.text.strip() for turn in case.conversation.turns if turn.role == "user")
    return "text" if not pictures else "text and picture" if words else "picture alone"


def coverage_map(chosen: Sequence[tuple[str, Benchmark, Path | None, str]]) -> CoverageMap:
    """Read every case and picture of benchmarks once.

    Args:
        chosen: (label, benchmark, root, why it cannot be read or '').
    """
    cells: list[CoverageCell] = []
    harmless: dict[str, int] = {}
    unread: dict[str, str] = {}
    near: dict[str, int | None] = {}
    for label, method, root, why in chosen:
        if why:
            unread[label] = why
            continue
        try:
            cases, looks = _read(method, root)
        except UsageError as broken:
            unread[label] = str(broken).split("\n")[0]
            continue
        asked = [case for case in cases if case.expected in HARM]
        harmless[label] = len(cases) - len(asked)
        found = near_cases(asked, looks) if len(asked) <= MOST_TEXTS else None
        near[label] = None if found is None else len(found)
        cells += _cells(label, asked, found or [])
    read = tuple(label for label, *_ in chosen if label not in unread)
    return CoverageMap(cells=tuple(cells), benchmarks=read, harmless=harmless, unread=unread, near=near)


def _read(method: Benchmark, root: Path | None) -> tuple[list[Case], dict[str, Look]]:
    """All usable cases, their pictures named by their contents, and how these look."""
    looker = Looker()
    with looker.working():
        release = WatchedRelease(root, looker)
        try:
            cases = [case for case in method.cases(release) if case.problem is None]
        finally:
            release.close()
    return [_named(case, looker) for case in cases], looker.looks


def _named(case: Case, looker: Looker) -> Case:
    """A case whose pictures are named by what they hold, in place of the numbers that a looker gives."""
    turns = tuple(
        replace(
            turn,
            parts=tuple(
                part
                if isinstance(part, str) or part.problem
                else replace(part, sha256=looker.shown[int(part.sha256)].sha256)
                for part in turn.parts
            ),
        )
        for turn in case.conversation.turns
    )
    return replace(case, conversation=replace(case.conversation, turns=turns))


def _cells(label: str, cases: Sequence[Case], pairs: Sequence[tuple[int, int]]) -> Iterator[CoverageCell]:
    merged = joined([case.group for case in cases], pairs)
    by: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in cases:
        by[case.hazard, channel_of(case)].append(case)
    for (hazard, channel), found in sorted(by.items()):
        groups = {case.group for case in found}
        distinct = {merged[group] for group in groups}
        yield CoverageCell(
            benchmark=label,
            hazard=hazard,
            channel=channel,
            cases=len(found),
            groups=len(groups),
            distinct=len(distinct),
        )
