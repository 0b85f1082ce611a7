"""What a run's rows lack: cells that its first judge did not read or nobody ran, rates without a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.errors import UsageError
from sightline.gating.unread import Unread, named, unread, unread_told, unscored_told
from sightline.metrics.summary import CellSummary, Summary
from sightline.report.cells import Role, role_of
from sightline.report.results import Results, entries

System = tuple[str, str, str]
"""Benchmark, target and defense."""
MEASURES = ("asr", "over_refusal", "utility")


def first_judge(lock: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of the study's first judge of the case.

    Raises:
        UsageError: if there is none.
    """
    found = (each for each in entries(lock, "judges") if each.get("scores", "case") == "case")
    judge = next(found, None)
    if judge is None:
        raise UsageError("none of its judges scores the case")
    return judge


def missing(run: Path, lock: Mapping[str, Any], summary: Summary) -> dict[System, list[str]]:
    """Sentences by system; controls, which no row shows, are not told."""
    judge = str(first_judge(lock)["id"])
    name = named(judge, lock)
    controls = {
        each["label"] for each in entries(lock, "attacks") if role_of(str(each.get("spec"))) is Role.control
    }
    lost: dict[System, list[Unread]] = {}
    with Results(run) as results:
        for each in unread(lock, results, judge):
            if each.attack not in controls:
                lost.setdefault((each.benchmark, each.target, each.defense), []).append(each)
    cells: dict[System, list[CellSummary]] = {}
    for cell in summary.cells:
        if not cell.is_control:
            cells.setdefault((cell.id.benchmark, cell.id.target, cell.id.defense), []).append(cell)
    mine = {judge: name}
    return {
        system: unread_told(lost.get(system, ()), name) + unscored_told(cells.get(system, ()), mine, MEASURES)
        for system in dict.fromkeys([*lost, *cells])
    }
