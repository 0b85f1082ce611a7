"""What each defense leaves and costs, and what it decided, as Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline.metrics.agreement import Share
from sightline.metrics.rates import Rate
from sightline.metrics.summary import summarize
from sightline.report.cells import board, undefended_labels
from sightline.report.defended import MEANS, DefenseRow, Worst, defense_rows, spent_by_defense
from sightline.report.guards import GuardRow, guard_rows
from sightline.report.provenance import read_lock
from sightline.report.results import Results

_WHERE = ("benchmark", "release", "target", "defense", "judge")
_RATES = (
    "asr_plain",
    *(f"asr_{means}" for means in MEANS),
    "asr_adaptive",
    "over_refusal",
    "over_refusal_drawn",
    "utility",
)
_GUARD = (
    "request_sensitivity",
    "request_specificity",
    "answer_sensitivity",
    "answer_specificity",
    "asr",
    "asr_bare",
)
_SPENT = ("calls_target", "calls_aux", "seconds", "latency", "cpu_seconds")
_NAMED = frozenset(_RATES) - {"asr_plain", "over_refusal", "utility"}
"""Of several attacks the highest: the attack is named."""


def _fields(names: tuple[str, ...], named: frozenset[str] = frozenset()) -> list[tuple[str, pa.DataType]]:
    found = []
    for name in names:
        found += [(f"{name}{end}", pa.float64()) for end in ("", "_low", "_high")]
        found += [(f"{name}_n", pa.int64())]
        found += [(f"{name}_attack", pa.string())] if name in named else []
    return found


_DEFENSES = pa.schema(
    [
        *((name, pa.string()) for name in _WHERE),
        ("undefended", pa.bool_()),
        *_fields(_RATES, _NAMED),
        *((name, pa.float64()) for name in _SPENT),
        ("answers", pa.int64()),
    ]
)
_GUARDS = pa.schema(
    [
        *((name, pa.string()) for name in _WHERE),
        *_fields(_GUARD),
        *((name, pa.int64()) for name in ("unlike", "unpaired", "errors")),
    ]
)


def defenses_table(folder: Path) -> pa.Table:
    """See `RunResult.defenses`."""
    undefended = undefended_labels(read_lock(folder))
    cells = board(summarize(folder, undefended=undefended), undefended, "")
    with Results(folder) as results:
        rows = defense_rows(cells, spent_by_defense(results))
    return pa.Table.from_pylist([_defense(row) for row in rows], schema=_DEFENSES)


def guards_table(folder: Path) -> pa.Table:
    """See `RunResult.guards`."""
    with Results(folder) as results:
        rows = guard_rows(results, undefended_labels(read_lock(folder)))
    return pa.Table.from_pylist([_guard(row) for row in rows], schema=_GUARDS)


def _defense(row: DefenseRow) -> dict[str, Any]:
    several: Mapping[str, Worst | None] = {
        **{f"asr_{means}": row.by_means.get(means) for means in MEANS},
        "asr_adaptive": row.adaptive,
        "over_refusal_drawn": row.over_refusal_drawn,
    }
    found: dict[str, Any] = {name: getattr(row, name) for name in _WHERE} | {"undefended": row.bare}
    for name, rate in (
        ("asr_plain", row.plain),
        ("over_refusal", row.over_refusal),
        ("utility", row.utility),
        *((name, None if worst is None else worst.rate) for name, worst in several.items()),
    ):
        found |= _numbers(name, rate)
    found |= {f"{name}_attack": worst.attack for name, worst in several.items() if worst is not None}
    if row.spent is not None:
        found |= {name: getattr(row.spent, name) for name in (*_SPENT, "answers")}
    return found


def _guard(row: GuardRow) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in (*_WHERE, "unlike", "unpaired", "errors")}
    for name in _GUARD:
        found |= _numbers(name, getattr(row, name))
    return found


def _numbers(name: str, rate: Rate | Share | None) -> dict[str, Any]:
    """A rate with interval and n; null where nothing was scored."""
    if rate is None or rate.point is None:
        return {}
    return {name: rate.point, f"{name}_low": rate.low, f"{name}_high": rate.high, f"{name}_n": rate.n}
