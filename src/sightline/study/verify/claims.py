"""What a finished run folder claims: which artifacts it shows, of which case, made by which attack.

Read from the folder alone (lock, result table, case tables), so that a folder can be checked where the
releases that it was made from are not at hand, and after attacks have changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sightline.cards import Role
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.keys import case_table_identity, case_table_name
from sightline.metrics.cells import role_of
from sightline.plain import case_of
from sightline.run_folder import LOCK, RESULTS, WRITE_AGAIN
from sightline.sealed import check_table, damage_reported
from sightline.shards import Row
from sightline.study import lock as locks
from sightline.study.sampling import sampled
from sightline.tables import RESULTS_AGAIN, compacted_rows

_COLUMNS = (
    "benchmark", "release", "attack", "attack_params", "crafted_on", "case_id", "artifact",
    "series", "budget", "craft_seed", "seen",
)  # fmt: skip
_SHOWN_TO = ("target", "defense")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One artifact of a run. `key` finds its record; `attack` is the label of its column, `series` that of
    the study's entry, with the budget if the entry has several: its seeds are one row of a table. `shown_to`
    are the targets and defenses that were shown it: what an attack made in talking to one is that one's.
    """

    key: str
    case: Row
    benchmark: str
    release: str
    attack: str
    params: str
    series: str
    shown_to: frozenset[tuple[str, str]]
    crafted_on: str | None = None
    craft_seed: int | None = None
    seen: bool | None = None

    @property
    def role(self) -> Role:
        """Whether it is a plain request, a control or an attack."""
        return role_of(self.params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """A run folder as it was left: the lock, how replies were sampled, and every artifact in grid order."""

    folder: Path
    lock: Mapping[str, Any]
    decoding: Decoding
    epochs: int
    every: tuple[Claim, ...]

    @property
    def records(self) -> Path:
        """Folder of the stages' rows."""
        return self.folder / "records"


def read_claims(folder: Path) -> Claims:
    """What `folder` claims.

    Raises:
        UsageError: if it is not a run folder, is not finished, or its tables are damaged.
    """
    lock = locks.read(folder)
    rows = _shown(folder / RESULTS)
    case_tables = {
        str(entry["label"]): _case_rows(folder / "records", entry, {row["case_id"] for row in rows})
        for entry in lock["benchmarks"]
    }
    budgets: dict[str, set[str]] = {}
    for row in rows:
        budgets.setdefault(row["series"], set()).add(row["budget"] or "")
    several = {series for series, levels in budgets.items() if len(levels) > 1}
    with damage_reported(folder / LOCK, WRITE_AGAIN):
        decoding, epochs = Decoding(**lock["decoding"], seed=lock["seed"]), int(lock["epochs"])
    return Claims(
        folder=folder,
        lock=lock,
        decoding=decoding,
        epochs=epochs,
        every=tuple(_claim(case, row, several) for case, row in _in_order(folder, lock, rows, case_tables)),
    )


def _in_order(
    folder: Path, lock: Mapping[str, Any], rows: Sequence[Row], case_tables: Mapping[str, Mapping[str, Row]]
) -> list[tuple[Row, Row]]:
    """(case, row of the result table) of every artifact: benchmark by benchmark, attack by attack."""
    left: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        left.setdefault((row["benchmark"], row["attack"], row["case_id"]), []).append(row)
    labels = dict.fromkeys([*(str(entry["label"]) for entry in lock["attacks"]), *(key[1] for key in left)])
    found = [
        (case, row)
        for benchmark, case_table in case_tables.items()
        for attack in labels
        for name, case in case_table.items()
        for row in left.pop((benchmark, attack, name), ())
    ]
    if left:
        benchmark, _, name = next(iter(left))
        raise UsageError(
            f"{folder}: case {name} of {RESULTS} is in no case table of {benchmark} that the lock names; run "
            "the study again to write both anew"
        )
    return found


def _claim(case: Row, row: Row, several: set[str]) -> Claim:
    series = row["series"]
    return Claim(
        key=row["artifact"].hex(),
        case=case,
        benchmark=row["benchmark"],
        release=row["release"],
        attack=row["attack"],
        params=row["attack_params"],
        series=f"{series} [{row['budget']}]" if series in several and row["budget"] else series,
        shown_to=frozenset(row["shown_to"]),
        crafted_on=row["crafted_on"],
        craft_seed=row["craft_seed"],
        seen=row["seen"],
    )


def _shown(path: Path) -> list[Row]:
    """The distinct artifacts of a result table, each with the targets and defenses that were shown it."""
    if not path.exists():
        raise UsageError(f"{path} is missing: finish the run with `sightline run`, then verify it")
    check_table(path, RESULTS_AGAIN)
    with damage_reported(path, RESULTS_AGAIN), pq.ParquetFile(path) as file:
        found: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
        for batch in file.iter_batches(columns=[*_COLUMNS, *_SHOWN_TO]):
            artifacts = zip(*(batch.column(name).to_pylist() for name in _COLUMNS), strict=True)
            to = zip(*(batch.column(name).to_pylist() for name in _SHOWN_TO), strict=True)
            for artifact, cell in zip(artifacts, to, strict=True):
                found.setdefault(artifact, set()).add(cell)
    return [
        {**dict(zip(_COLUMNS, values, strict=True)), "shown_to": cells} for values, cells in found.items()
    ]


def _case_rows(records: Path, entry: Mapping[str, Any], wanted: set[str]) -> dict[str, Row]:
    """The wanted cases of a benchmark of the lock, by id, in release order."""
    folder = records / case_table_name(
        case_table_identity(entry["identity"], entry["limit"]), entry["release"]
    )
    return {row["id"]: row for row in compacted_rows(folder) if row["id"] in wanted}


def few(claims: Sequence[Claim], limit: int | None) -> list[Claim]:
    """The claims of at most `limit` cases per benchmark, chosen as `sightline run --limit` chooses them."""
    if limit is None:
        return list(claims)
    kept = set(_few_cases(claims, limit))
    return [claim for claim in claims if (claim.benchmark, claim.case["id"]) in kept]


def _few_cases(claims: Sequence[Claim], limit: int) -> Iterator[tuple[str, str]]:
    piles: dict[str, dict[str, Row]] = {}
    for claim in claims:
        piles.setdefault(claim.benchmark, {})[claim.case["id"]] = claim.case
    for benchmark, cases in piles.items():
        yield from ((benchmark, case.id) for case in sampled(map(case_of, cases.values()), limit))
