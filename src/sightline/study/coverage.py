"""Which hazards a study covers: cases per code of the taxonomy, by benchmark, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sightline import taxonomy
from sightline.cases import Case
from sightline.contracts import Images
from sightline.errors import UsageError
from sightline.readers import where_to_look
from sightline.release import OfficialRelease
from sightline.study.config import Source, Study
from sightline.study.sampling import sampled

How = Literal["read", "listed", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What one benchmark of a study covers.

    Attributes:
        label: the benchmark's name in the study.
        how: `read`: cases were counted, as the study reads them; `listed`: the release could not be read, and
            labels of the crosswalk are counted; `unknown`: the crosswalk has no such list either.
        counts: cases (or labels) by primary code; those without one under ''.
        secondary: the same by secondary codes, tags included.
        judged: how many of them the crosswalk maps by judgement.
        why: why the release was not read, '' if it was.
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


def coverage(study: Study, images: Images) -> Coverage:
    """Count the cases of each hazard; where a release cannot be read, the labels of its list.

    Args:
        study: may have been read with `releases=False`.
        images: where pictures that a benchmark draws are kept.
    """
    return Coverage(benchmarks=tuple(_covered(source, images) for source in study.sources))


def _covered(source: Source, images: Images) -> Covered:
    native = source.benchmark.card.name
    if source.root is not None and not source.root.exists():
        return _listed(source.label, native, f"{source.root} does not exist")
    if source.root is None and source.benchmark.needs_root:
        return _listed(source.label, native, where_to_look(source.benchmark.card))
    release = OfficialRelease(source.root, images, listing=True)
    try:
        cases = source.benchmark.cases(release)
        return _counted(source.label, native, sampled(cases, source.limit) if source.limit else cases)
    except UsageError as unfit:
        return _listed(source.label, native, str(unfit))
    finally:
        release.close()


def _counted(label: str, native: str, cases: Iterable[Case]) -> Covered:
    counts: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    for case in cases:
        counts[case.hazard] += 1
        categories[case.category] += 1
    known = native in taxonomy.sources()
    found = {name: taxonomy.mapping(native, name) if known else None for name in categories}
    secondary: Counter[str] = Counter()
    judged = 0
    for name, entry in found.items():
        if entry is not None:
            secondary.update(dict.fromkeys(entry.secondary, categories[name]))
            judged += categories[name] if entry.certainty == "judgement" else 0
    return Covered(label=label, how="read", counts=counts, secondary=secondary, judged=judged)


def _listed(label: str, native: str, why: str) -> Covered:
    if native not in taxonomy.sources():
        return Covered(label=label, how="unknown", counts={}, secondary={}, why=why)
    entries = taxonomy.native(native).labels
    return Covered(
        label=label,
        how="listed",
        counts=Counter(entry.primary for entry in entries),
        secondary=Counter(code for entry in entries for code in entry.secondary),
        judged=sum(entry.certainty == "judgement" for entry in entries),
        why=why,
    )
