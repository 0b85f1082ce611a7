"""Paired differences between runs, on the samples that both have, where their instruments agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline.comparing.agreement import Agreement, agreement
from sightline.comparing.aligned import aligned
from sightline.errors import UsageError
from sightline.metrics._columns import CELL, read_columns
from sightline.metrics.cells import CellId
from sightline.metrics.comparisons import adjusted, paired
from sightline.metrics.contrast import Contrast
from sightline.report.shown_names import ShownNames
from sightline.report.text import few
from sightline.run_folder import finished_lock

MATCHED = ("benchmark", "target", "attack", "defense", "judge", "seen")
NAMED = ("benchmark", "attack", "defense", "target", "judge")
MARK = "\0"
"""Stands between a judge's id and the number of its run while two runs are in one table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs beside each other; differences are the later one minus the former.

    Attributes:
        former, later: folders of the runs.
        names: of their studies.
        matched: what is compared with what although it has another name, as sentences.
        agreement: what the locks say.
        left_out: all that is not compared, as sentences.
        contrasts: `cell` is of the later run, `base` of the former; p-values are adjusted.
        shown: what trained targets are called where this is read, and not where it is kept.
    """

    former: Path
    later: Path
    names: tuple[str, str]
    matched: tuple[str, ...]
    agreement: Agreement
    left_out: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    shown: ShownNames = field(default_factory=ShownNames)

    @property
    def clear(self) -> tuple[Contrast, ...]:
        """Differences whose 95 % interval leaves out zero, the largest first."""
        found = (each for each in self.contrasts if each.is_clear)
        return tuple(sorted(found, key=lambda each: -abs(each.point)))


def compare(former: Path, later: Path) -> Comparison:
    """Compare a run with a former one.

    Cells are matched by benchmark, attack, defense, target and judge; where each run has a single one of
    these, and not the same, they are compared with each other.

    Raises:
        UsageError: for a folder without a finished run, or two runs that have nothing scored in common.
    """
    locks = [finished_lock(folder) for folder in (former, later)]
    agreed = agreement(*locks)
    same = aligned((former, later), (locks[0], locks[1]))
    both = pa.concat_tables([_marked(table, number) for number, table in enumerate(same.tables[::-1])])
    columns = read_columns(both)
    ids = [CellId(**dict(zip(CELL, cell, strict=True))) for cell in columns.cells]
    plain = [replace(cell, judge=cell.judge.rpartition(MARK)[0]) for cell in ids]
    runs: tuple[list[int], list[int]] = ([], [])
    for number, cell in enumerate(ids):
        runs[int(cell.judge.rpartition(MARK)[2])].append(number)
    alone = [name for name in MATCHED if _alone(name, plain, runs)]
    kept = tuple([n for n in run if _is_kept(plain[n], agreed)] for run in runs)
    places = _matched(plain, (kept[0], kept[1]), [name for name in MATCHED if name not in alone])
    left_out = [*agreed.left_out, *same.left_out, *_strangers(plain, runs, alone)]
    if not places:
        why = "".join(f"\n  {line}" for line in left_out)
        raise UsageError(f"{former} and {later} have no cell in common that could be compared{why}")
    before, after = plain[runs[1][0]], plain[runs[0][0]]
    found = adjusted([_named(each) for each in paired(columns, ids, places)])
    if not any(each.pairs for each in found):
        lost = sum(each.unscored_pairs for each in found)
        what = f"none of {lost:,} pairs was scored in both" if lost else "no sample is in both"
        why = "".join(f"\n  {line}" for line in left_out)
        raise UsageError(f"{former} and {later}: nothing can be compared, {what}{why}")
    return Comparison(
        former=former,
        later=later,
        names=(str(locks[0].get("study", "")), str(locks[1].get("study", ""))),
        matched=(
            *same.renamed,
            *(f"{name}: {getattr(before, name)} → {getattr(after, name)}" for name in alone),
        ),
        agreement=agreed,
        left_out=tuple(left_out),
        contrasts=tuple(found),
        shown=ShownNames.together(locks),
    )


def _marked(table: pa.Table, number: int) -> pa.Table:
    """Result columns with the number of the run in the judges' ids."""
    judges = [f"{judge}{MARK}{number}" for judge in table.column("judge").to_pylist()]
    return table.set_column(table.column_names.index("judge"), "judge", pa.array(judges, pa.string()))


def _is_kept(cell: CellId, agreed: Agreement) -> bool:
    return not (
        cell.benchmark in agreed.benchmarks or cell.attack in agreed.attacks or cell.judge in agreed.judges
    )


def _matched(
    cells: Sequence[CellId], runs: tuple[list[int], list[int]], names: Sequence[str]
) -> list[tuple[int, int]]:
    """Numbers of the cells that are compared, the first run's first."""
    others: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number in runs[1]:
        others[tuple(getattr(cells[number], name) for name in names)].append(number)
    keys = ((number, tuple(getattr(cells[number], name) for name in names)) for number in runs[0])
    return [(number, others[key][0]) for number, key in keys if len(others[key]) == 1]


def _alone(name: str, cells: Sequence[CellId], runs: tuple[list[int], list[int]]) -> bool:
    """Whether each run has a single value of a field, and not the same one."""
    values = [{getattr(cells[number], name) for number in run} for run in runs]
    return all(len(found) == 1 for found in values) and values[0] != values[1]


def _strangers(cells: Sequence[CellId], runs: tuple[list[int], list[int]], alone: Sequence[str]) -> list[str]:
    """What only one of the runs has, as sentences."""
    found = []
    for name in NAMED:
        if name in alone:
            continue
        later, former = ({getattr(cells[number], name) for number in run} for run in runs)
        for one, other, which in ((former, later, "former"), (later, former, "later")):
            if only := sorted(one - other):
                found.append(f"{name} {few(only)}: only in the {which} run")
    return found


def _named(contrast: Contrast) -> Contrast:
    """A contrast with the judges' own ids."""
    cell, base = (
        replace(cell, judge=cell.judge.rpartition(MARK)[0]) for cell in (contrast.cell, contrast.base)
    )
    return contrast._replace(cell=cell, base=base)


def difference_row(contrast: Contrast) -> dict[str, Any]:
    """A contrast of two runs as a row of a table; `other_...` are of the run that is subtracted."""
    cell, base = contrast.cell, contrast.base
    return {
        **{name: getattr(cell, name) for name in MATCHED},
        "other_target": base.target,
        "other_attack": base.attack,
        "other_defense": base.defense,
        "measure": contrast.measure,
        "rate": contrast.cell_share,
        "other_rate": contrast.base_share,
        "difference": contrast.point,
        "low": contrast.low,
        "high": contrast.high,
        "p": None if contrast.too_few_groups else contrast.p_holm,
        "q": None if contrast.too_few_groups else contrast.q,
        "pairs": contrast.pairs,
        "unscored_pairs": contrast.unscored_pairs,
    }
