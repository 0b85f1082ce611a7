"""Rates and differences of runs as Arrow tables."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline.comparing.compare import MATCHED, compare, difference_row
from sightline.errors import UsageError
from sightline.human_labels import LABELS, read_labels
from sightline.metrics.rates import Rate
from sightline.metrics.summary import CellSummary, summarize

LABELS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("sample", "item", "outcome")),
        ("decided", pa.bool_()),
        *((name, pa.string()) for name in ("final", "stratum", "content")),
        ("prob", pa.float64()),
        ("raters", pa.int32()),
    ]
)


def cells_of(folder: Path) -> pa.Table:
    """Rates of the cells of a run; see `RunResult.cells`."""
    rows = [row for cell in summarize(folder).cells for row in _rows(cell)]
    return pa.Table.from_pylist(rows)


def _rows(cell: CellSummary) -> Iterator[dict[str, Any]]:
    named = {name: getattr(cell.id, name) for name in (*MATCHED, "attack_params", "budget")}
    for measure, rate in cell.rates.items():
        yield {**named, "role": cell.id.role, "measure": measure, **_numbers(rate)}


def _numbers(rate: Rate) -> dict[str, Any]:
    return {
        "rate": rate.point,
        "low": rate.low,
        "high": rate.high,
        "k": int(rate.k),
        "n": rate.n,
        "groups": rate.groups,
        "unscored": rate.unscored,
        "lower_bound": rate.lower_bound,
        "upper_bound": rate.upper_bound,
    }


def trust_table(folder: Path) -> pa.Table:
    """Rates three ways; see `RunResult.trust`."""
    from sightline.report.corrected import CellTrust, trust_of
    from sightline.report.standing import UNCALIBRATED

    found = trust_of(folder)

    def row(each: CellTrust) -> dict[str, Any]:
        made = each.corrected
        return {
            **{name: getattr(each.cell, name) for name in (*MATCHED, "attack_params", "budget")},
            "measure": each.measure,
            "rate": each.raw.point,
            "low": each.raw.low,
            "high": each.raw.high,
            "n": each.raw.n,
            "unscored": each.raw.unscored,
            "corrected": None if made is None else made.point,
            "corrected_low": None if made is None or made.point is None else made.low,
            "corrected_high": None if made is None or made.point is None else made.high,
            "method": "" if made is None else made.method,
            "note": "" if made is None else made.note,
            "lower_bound": each.bounds.low,
            "upper_bound": each.bounds.high,
            "calibrated_by": UNCALIBRATED
            if each.cell.judge in found.uncalibrated
            else found.standings[each.cell.judge].kind,
            "corrected_by": each.source,
            "labelled": each.labelled,
            "labels_needed": each.needed,
        }

    return pa.Table.from_pylist([row(each) for each in found.cells], schema=_TRUST)


_NAMES = (*MATCHED, "attack_params", "budget", "measure")
_TRUST = pa.schema(
    [
        *((name, pa.string()) for name in _NAMES),
        *((name, pa.float64()) for name in ("rate", "low", "high")),
        *((name, pa.int64()) for name in ("n", "unscored")),
        *((name, pa.float64()) for name in ("corrected", "corrected_low", "corrected_high")),
        *((name, pa.string()) for name in ("method", "note")),
        *((name, pa.float64()) for name in ("lower_bound", "upper_bound")),
        *((name, pa.string()) for name in ("calibrated_by", "corrected_by")),
        *((name, pa.int64()) for name in ("labelled", "labels_needed")),
    ]
)


def judges_table(folder: Path) -> pa.Table:
    """All pairs of judges; see `RunResult.judges`."""
    from sightline.report.corrected import trust_of

    found = trust_of(folder)
    names = ("agreement", "kappa", "ac1", "tau", "flips")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("judge", "other", "benchmark")),
            *((name, pa.int64()) for name in ("n", "cells")),
            *((f"{name}{end}", pa.float64()) for name in names for end in ("", "_low", "_high")),
        ]
    )
    rows: list[dict[str, Any]] = []
    for pair in found.side_by_side.agreements:
        figures: dict[str, Any] = {"agreement": pair.agreement, "kappa": pair.kappa, "ac1": pair.ac1}
        rows.append(
            {"judge": pair.first, "other": pair.second, "benchmark": "", "n": pair.n, **_ranges(figures)}
        )
    for each in found.side_by_side.rankings:
        figures = {"tau": each.tau, "flips": each.flips}
        named = {"judge": each.first, "other": each.second, "benchmark": each.benchmark, "cells": each.cells}
        rows.append({**named, **_ranges(figures)})
    return pa.Table.from_pylist(rows, schema=schema)


def _ranges(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """Each figure with its interval."""
    return {
        f"{name}{end}": getattr(found, part)
        for name, found in figures.items()
        for end, part in (("", "point"), ("_low", "low"), ("_high", "high"))
    }


def compared(first: Path, second: Path) -> pa.Table:
    """Paired differences of two runs; see `RunResult.compare`."""
    found = compare(second, first)
    for line in found.left_out:
        warnings.warn(f"not compared: {line}", UserWarning, stacklevel=3)
    return pa.Table.from_pylist([difference_row(each) for each in found.contrasts])


def labels_table(folder: Path) -> pa.Table:
    """What people finally said of samples; see `RunResult.labels`."""
    path = folder / LABELS
    if not path.is_file():
        raise UsageError(
            f"{path} is missing: draw a sample with `sightline annotate {folder} sample`, and `close` it "
            "when people have answered"
        )
    found = read_labels(path)
    rows = [{**asdict(each), "outcome": each.outcome.value, "decided": each.decided} for each in found.labels]
    return pa.Table.from_pylist(rows, schema=LABELS_SCHEMA)
