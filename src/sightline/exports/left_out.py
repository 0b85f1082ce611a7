"""What an export has no number of, as sentences: cells that were not read, and rates without a verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sightline.exports.rates import Rates
from sightline.gating.unread import named, unread_told, unscored_told
from sightline.gating.unread import unread as unread_cells
from sightline.report.results import Results, judge_names


def unread(
    folder: Path, lock: Mapping[str, Any], judge: str, benchmarks: Collection[str] | None = None
) -> list[str]:
    """Cells that files by one judge lack, in whole or in part: it did not read them, or nobody ran them.

    Args:
        judge: its id.
        benchmarks: the ones that the files are of; None: all.
    """
    with Results(folder) as results:
        missing = [
            each
            for each in unread_cells(lock, results, judge)
            if benchmarks is None or each.benchmark in benchmarks
        ]
    return unread_told(missing, named(judge, lock))


def unscored(
    rates: Rates,
    measures: Collection[str] = (),
    *,
    benchmarks: Collection[str] | None = None,
    first: bool = False,
) -> list[str]:
    """Rates that files lack as no sample has a verdict.

    Args:
        measures: the ones that the files show; none: all.
        benchmarks: as in `unread`.
        first: whether the files are by the first judge alone.
    """
    cells = [each for each in rates.cells if benchmarks is None or each.id.benchmark in benchmarks]
    judges = list(dict.fromkeys(each.id.judge for each in rates.cells))
    names = judge_names(judges, rates.lock)
    if first:
        lead = {rates.primary, *(str(each.get("id")) for each in rates.lock.get("judges", ())[:1])}
        names = {judge: name for judge, name in names.items() if judge in lead}
    return unscored_told(cells, names, measures)
