"""Every rate of a finished run with its interval, and what of the lock gives it a meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline.errors import UsageError
from sightline.metrics.rates import Rate
from sightline.metrics.summary import CellSummary, summarize
from sightline.report.results import judge_names
from sightline.run_folder import RESULTS, finished_lock

LOWER_IS_BETTER = frozenset(
    {"asr", "asr_soft", "asr_on_topic", "over_refusal", "over_refusal_soft", "disclosure", "attacker_goal"}
)
"""Measures of which a lower rate is the better one; of all others a higher one is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A rate of a cell."""

    cell: CellSummary
    measure: str
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """A finished run.

    Attributes:
        lock: of the run.
        cells: of the summary.
        lines: every rate of which something was scored, in the order of the summary.
        judges: a short name of each judge id; the first one leads.
        finished: when its table was written, UTC.
    """

    folder: Path
    lock: Mapping[str, Any]
    cells: tuple[CellSummary, ...]
    lines: tuple[Line, ...]
    judges: Mapping[str, str]
    finished: datetime

    @property
    def primary(self) -> str:
        """Id of the study's first judge."""
        return next(iter(self.judges))

    def by_primary(self) -> tuple[Line, ...]:
        """The lines of the first judge."""
        return tuple(line for line in self.lines if line.cell.id.judge == self.primary)


def rates_of(folder: Path) -> Rates:
    """Read a run.

    Raises:
        UsageError: for a folder without a finished run.
    """
    lock = finished_lock(folder)
    summary = summarize(folder)
    lines = tuple(
        Line(cell=cell, measure=measure, rate=rate)
        for cell in summary.cells
        for measure, rate in cell.rates.items()
        if rate.point is not None
    )
    found = dict.fromkeys(line.cell.id.judge for line in lines)
    known = [str(entry.get("id")) for entry in lock.get("judges", ())]
    order = [*(judge for judge in known if judge in found), *(judge for judge in found if judge not in known)]
    if not order:
        raise UsageError(f"{folder}: no rate was scored, so there is nothing to export")
    return Rates(
        folder=folder,
        lock=lock,
        cells=summary.cells,
        lines=lines,
        judges=judge_names(order, lock),
        finished=datetime.fromtimestamp((folder / RESULTS).stat().st_mtime, UTC),
    )


def row(line: Line, rates: Rates) -> dict[str, Any]:
    """A line as a row of a flat table."""
    cell, rate = line.cell.id, line.rate
    return {
        "study": str(rates.lock.get("study", "")),
        "benchmark": cell.benchmark,
        "release": cell.release,
        "target": cell.target,
        "attack": cell.attack,
        "attack_params": cell.attack_params,
        "role": cell.role,
        "crafted_on": cell.crafted_on,
        "oracle": cell.oracle,
        "budget": cell.budget,
        "seen": cell.seen,
        "defense": cell.defense,
        "judge": cell.judge,
        "measure": line.measure,
        "rate": rate.point,
        "low": rate.low,
        "high": rate.high,
        "method": rate.method,
        "k": float(rate.k),
        "n": rate.n,
        "groups": rate.groups,
        "unscored": rate.unscored,
        "lower_bound": rate.lower_bound,
        "upper_bound": rate.upper_bound,
        **{f"cell_{outcome}": count for outcome, count in sorted(line.cell.counts.items())},
    }
