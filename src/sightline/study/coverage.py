"""Which hazards a study covers: cases per code of the taxonomy, by benchmark, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sightline import taxonomy
from sightline.cases import Case
from sightline.errors import UsageError
from sightline.readers import TableBenchmark, where_to_look
from sightline.release import listed
from sightline.study.config import Source, Study
from sightline.study.sampling import sampled

OWN_CODES = "a column `hazard_code` says it"
How = Literal["read", "expected", "listed", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What one benchmark of a study covers.

    Attributes:
        label: the benchmark's name in the study.
        how: `read`: cases were counted, as the study reads them. Where the release could not be read:
            `expected`: cases are counted as they are known to be in the release; `listed`: labels of the
            crosswalk are counted; `unknown`: neither is known.
        counts: cases (or labels) by primary code; those without one under ''.
        secondary: the same by secondary codes, tags included.
        judged: how many of them the crosswalk maps by judgement.
        why: why the release was not read; how cases of the user's own get codes; else ''.
    """

    label: str
    how: How
    counts: Mapping[str, int]
    secondary: Mapping[str, int]
    judged: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What the benchmarks of a study cover together."""

    benchmarks: tuple[Covered, ...]

    def total(self, code: str) -> int:
        """Cases of a code, of benchmarks that were read."""
        return sum(each.counts.get(code, 0) for each in self.benchmarks if each.how == "read")

    def touched(self, code: str) -> bool:
        """Whether any benchmark has cases or labels of a code, or of one of its sub-codes."""
        codes = {code, *(each.code for each in taxonomy.hazards().values() if each.parent == code)}
        return any(each.counts.get(one, 0) for each in self.benchmarks for one in codes)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Hazards that no benchmark covers: not measured, whatever a report says."""
        return tuple(
            code for code, each in taxonomy.hazards().items() if not each.is_tag and not self.touched(code)
        )


def coverage(study: Study) -> Coverage:
    """Count the cases of each hazard; where a release cannot be read, the labels of its list.

    Args:
        study: may have been read with `releases=False`.
    """
    return Coverage(benchmarks=tuple(_covered(source) for source in study.sources))


def _covered(source: Source) -> Covered:
    if source.root is not None and not source.root.exists():
        return _unread(source, f"{source.root} does not exist")
    if source.root is None and source.benchmark.needs_root:
        return _unread(source, where_to_look(source.benchmark.card))
    try:
        with listed(source.root) as release:
            cases = source.benchmark.cases(release)
            return _read(source, sampled(cases, source.limit) if source.limit else cases)
    except UsageError as unfit:
        return _unread(source, " ".join(str(unfit).split("\n")[:2]))  # of bad rows, the first


def _read(source: Source, cases: Iterable[Case]) -> Covered:
    counts: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    for case in cases:
        counts[case.hazard] += 1
        categories[case.category] += 1
    uncoded = OWN_CODES if counts[""] and source.benchmark.card.name == "cases" else ""
    return replace(_of_categories(source, categories), how="read", counts=counts, why=uncoded)


def _unread(source: Source, why: str) -> Covered:
    card = source.benchmark.card
    part = source.benchmark.part() if isinstance(source.benchmark, TableBenchmark) else ""
    known = card.release.counts.get(part, {}) if card.release and card.name in taxonomy.sources() else {}
    if any(taxonomy.hazard(card.name, category) for category in known):
        return replace(_of_categories(source, Counter(known)), why=why)
    if card.name not in taxonomy.sources():
        return Covered(label=source.label, how="unknown", counts={}, secondary={}, why=why)
    labels = Counter(entry.label for entry in taxonomy.native(card.name).labels)
    return replace(_of_categories(source, labels), how="listed", why=why)


def _of_categories(source: Source, numbers: Counter[str]) -> Covered:
    """What the crosswalk says of cases whose native categories are known."""
    name = source.benchmark.card.name
    counts: Counter[str] = Counter()
    secondary: Counter[str] = Counter()
    judged = 0
    for category, number in numbers.items():
        entry = taxonomy.mapping(name, category) if name in taxonomy.sources() else None
        counts["" if entry is None else entry.primary] += number
        if entry is not None:
            secondary.update(dict.fromkeys(entry.secondary, number))
            judged += number if entry.certainty == "judgement" else 0
    return Covered(label=source.label, how="expected", counts=counts, secondary=secondary, judged=judged)
