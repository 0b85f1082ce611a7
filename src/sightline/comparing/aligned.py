"""Rows of two runs under one name where their cases are the same: a renamed benchmark, files of answers.

Cases of scored files are those of one id, without the file's name, under which both runs showed the same:
whose answers stand in the files is what is compared. Of any other benchmark, release and settings must agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sightline.comparing.agreement import benchmark_unlike, is_recorded
from sightline.metrics._columns import result_table
from sightline.report.results import entries
from sightline.report.text import few
from sightline.run_folder import RESULTS

Key = tuple[str, str, int]
"""A case without the name of its file, the attack, the epoch."""
APART = "\0"
"""Stands between a case's id and the number of its run where the two runs did not show the same."""


class Aligned(NamedTuple):
    """The result tables in the order given; `renamed` and `left_out` are sentences, or none."""

    tables: list[pa.Table]
    renamed: tuple[str, ...]
    left_out: tuple[str, ...]


def aligned(folders: tuple[Path, Path], locks: tuple[Mapping[str, Any], Mapping[str, Any]]) -> Aligned:
    """The rows of a former and a later run."""
    tables = [result_table(folder)[0] for folder in folders]
    named = [sorted(set(table.column("benchmark").to_pylist())) for table in tables]
    if any(len(names) != 1 for names in named):
        return Aligned(tables, (), ())
    (one,), (other,) = named
    found = [
        next((each for each in entries(lock, "benchmarks") if each.get("label") == name), {})
        for lock, name in zip(locks, (one, other), strict=True)
    ]
    renamed = (f"benchmark: {one} → {other}",) if one != other else ()
    if all(is_recorded(each) for each in found):
        rows = [_recorded(table, folder) for table, folder in zip(tables, folders, strict=True)]
        tables, lost = _same_prompts(tables, rows)
    elif one == other:
        return Aligned(tables, (), ())
    elif why := benchmark_unlike(*found):
        return Aligned(tables, (), (f"benchmark {one} → {other}: {why} in the two runs",))
    else:
        lost = ()
    release = tables[1].column("release")[0].as_py()
    tables = [_constant(_constant(table, "benchmark", other), "release", release) for table in tables]
    return Aligned(tables, renamed, lost)


class _Row(NamedTuple):
    key: Key
    shown: bytes | None


def _recorded(table: pa.Table, folder: Path) -> list[_Row]:
    """What each row of a scored file is of, and the digest of what was shown; none if it is not known."""
    path = folder / RESULTS
    has = "shown" in pq.read_schema(path).names
    shown = pq.read_table(path, columns=["shown"]).column(0).to_pylist() if has else [None] * len(table)
    columns = [table.column(name).to_pylist() for name in ("benchmark", "case_id", "attack", "epoch")]
    attacks = set(columns[2])
    return [
        _Row((case.removeprefix(f"{benchmark}/"), attack if len(attacks) > 1 else "", int(epoch)), digest)
        for benchmark, case, attack, epoch, digest in zip(*columns, shown, strict=True)
    ]


def _same_prompts(tables: list[pa.Table], rows: list[list[_Row]]) -> tuple[list[pa.Table], tuple[str, ...]]:
    """The tables with the cases' own ids, apart where the other run showed something else."""
    shown = [defaultdict[Key, set[bytes]](set) for _ in rows]
    for known, mine in zip(shown, rows, strict=True):
        for row in mine:
            if row.shown is not None:
                known[row.key].add(row.shown)
    lost = set[str]()
    found = []
    for number, (table, mine) in enumerate(zip(tables, rows, strict=True)):
        ids = []
        for row in mine:
            others = shown[1 - number].get(row.key)
            differs = bool(others) and row.shown is not None and row.shown not in (others or ())
            ids.append(f"{row.key[0]}{APART}{number}" if differs else row.key[0])
            if differs:
                lost.add(row.key[0])
        found.append(table.set_column(table.column_names.index("case_id"), "case_id", pa.array(ids)))
    if not lost:
        return found, ()
    cases = "1 case of one id" if len(lost) == 1 else f"{len(lost):,} cases of one id"
    return found, (f"{cases} with another prompt in each run: {few(sorted(lost))}",)


def _constant(table: pa.Table, name: str, value: str) -> pa.Table:
    column = pa.array([value] * table.num_rows, pa.string())
    return table.set_column(table.column_names.index(name), name, column)
