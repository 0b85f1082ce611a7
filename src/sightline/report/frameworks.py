"""Which items of public frameworks a run has measured anything about; coverage, never compliance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline import taxonomy
from sightline.metrics.cells import means_of
from sightline.metrics.rates import MEASURES
from sightline.metrics.summary import summarize
from sightline.report.cells import Cell, Role, board, undefended_labels
from sightline.report.defended import knew
from sightline.report.results import Results
from sightline.run_folder import read_lock
from sightline.taxonomy.frameworks import Framework, Item, framework, frameworks

DISCLAIMER = (
    "What a run measured anything about, by Sightline's own mapping; coverage is not compliance, and an item "
    "that is covered may be covered badly. A mapping is exact (the same concept), natural (narrower, wider) "
    "or judgement (another reader may decide otherwise); `measured`: there are samples, whatever they show."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """An item and the samples of a run that are evidence for it, by name of the evidence."""

    item: Item
    samples: Mapping[str, int]

    @property
    def state(self) -> str:
        """`measured`, `not measured` in this run, or `outside` of what Sightline measures."""
        if not self.item.evidence:
            return "outside"
        return "measured" if any(self.samples.values()) else "not measured"


def evidence(folder: Path) -> Counter[str]:
    """Samples of a finished run by the names that `frameworks.yaml` uses, by the study's first judges."""
    undefended = undefended_labels(read_lock(folder))
    found: Counter[str] = Counter()
    seen: set[tuple[object, ...]] = set()
    for cell in board(summarize(folder, undefended=undefended), undefended, "").cells:
        one = cell.summary.id
        setting = (one.benchmark, one.release, one.target, one.defense)
        place = (*setting, one.attack, one.attack_params, one.budget, one.crafted_on, one.seen)
        for measure, rate in cell.summary.rates.items():
            if (*place, measure) not in seen:  # a second judge reads the same samples
                seen.add((*place, measure))
                found[f"measure:{measure}"] += rate.n
        if place not in seen:
            seen.add(place)
            tried = cell.summary.rates.get(one.success)  # benign requests are no evidence
            found.update({name: 0 if tried is None else tried.n for name in _kinds(cell)})
    with Results(folder) as results:
        for code, samples in results.rows(
            "select hazard, count(distinct sample) from results where hazard is not null and hazard <> ''"
            " group by hazard"
        ):
            for name in _codes(str(code)):
                found[f"hazard:{name}"] += samples
    return found


def _kinds(cell: Cell) -> Iterable[str]:
    if not cell.bare:
        yield "defenses"
    if cell.role is Role.attack:
        means = means_of(cell.summary.id.attack_params)
        if means is not None:
            yield f"attacks:{means}"
        if knew(cell):
            yield "attacks:adaptive"


def _codes(code: str) -> set[str]:
    """A code and the one that it is a part of."""
    known = taxonomy.hazards().get(code)
    return {code, known.parent} if known is not None and known.parent else {code}


def covered(counts: Mapping[str, int], wanted: Framework) -> list[Covered]:
    """The items of a framework with what a run's evidence says of them."""
    return [
        Covered(item=item, samples={each: counts.get(each, 0) for each in item.evidence})
        for item in wanted.items
    ]


def text(folder: Path, names: Iterable[str] = ()) -> str:
    """Tables of all frameworks, or of those named, as Markdown that reads as plain text.

    Raises:
        UsageError: for an unknown framework, or a folder without a run.
    """
    chosen = [framework(name) for name in (tuple(names) or tuple(frameworks()))]
    lines, counts = [DISCLAIMER], evidence(folder)
    for wanted in chosen:
        found = covered(counts, wanted)
        measured = sum(each.state == "measured" for each in found)
        lines += ["", f"### {wanted.about}: {measured} of {len(found)} items measured", ""]
        lines += ["| item | in this run | samples (mapping) | what it does not show |", "|---|---|---|---|"]
        for each in found:
            shown = ", ".join(f"{count:,} {key}" for key, count in each.samples.items() if count)
            sure = f" ({each.item.certainty})" if each.item.certainty and shown else ""
            cells = (f"{each.item.id} {each.item.title}", each.state, shown + sure, each.item.limits)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def known_evidence() -> frozenset[str]:
    """Every name that evidence can have."""
    kinds = {f"attacks:{means}" for means in ("text", "drawn", "pixels", "adaptive")}
    codes = {f"hazard:{code}" for code in taxonomy.hazards()}
    return frozenset({"defenses"} | kinds | codes | {f"measure:{name}" for name in MEASURES})
