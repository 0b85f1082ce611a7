"""`results.parquet`: one row per answered sample and judge, streamed in grid order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sightline import registry
from sightline.contracts import Judge, Scores, scores_of
from sightline.digests import digest
from sightline.errors import ContractError
from sightline.keys import response_hash
from sightline.plain import cost_of
from sightline.records import SCORED, WITHHELD, Outcome
from sightline.sealed import publish_table
from sightline.store import Row
from sightline.study.case_table import CaseTable, artifacts_in
from sightline.study.config import NamedDefense, Study
from sightline.study.grid import Column, cell_name
from sightline.study.judging import Sample, samples, verdict_key
from sightline.study.progress import Progress
from sightline.tables import GROUP_ROWS, Table

RESULTS = "results.parquet"
_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        *((name, _NAME) for name in ("study", "cell", "target", "target_hash", "crafted_on", "attack")),
        *((name, _NAME) for name in ("series", "budget")),
        ("craft_seed", pa.int64()),
        *((name, _NAME) for name in ("attack_params", "oracle", "defense", "benchmark", "release")),
        ("case_id", pa.string()),
        ("group", pa.string()),
        *((name, _NAME) for name in ("hazard", "category", "expected")),
        ("epoch", pa.int32()),
        ("sample", pa.binary(16)),
        ("artifact", pa.binary(16)),
        ("shown", pa.binary(16)),
        ("response_hash", pa.binary(16)),
        ("outcome", _NAME),
        ("judge", _NAME),
        ("scores", _NAME),
        ("score", pa.float32()),
        ("refused", pa.bool_()),
        ("success", pa.bool_()),
        *((name, pa.int64()) for name in ("calls_target", "calls_aux", "calls_judge")),
        *((name, pa.int64()) for name in ("tokens_in", "tokens_out")),
        ("flops", pa.float32()),
        ("seconds", pa.float32()),
        ("seen", pa.bool_()),
        ("craft_shared", pa.bool_()),
        *((name, pa.int64()) for name in ("craft_calls", "craft_forwards", "craft_backwards")),
        *((name, pa.float32()) for name in ("craft_flops", "craft_seconds")),
        ("flags", _NAME),
        ("error", pa.string()),
    ]
)


class Findings(NamedTuple):
    """What the table says of whether the run worked: verdicts in all, unscored ones, and why the first is.

    `cause` holds words of providers and judges as they are.
    """

    verdicts: int
    unscored: int
    cause: str


class _Tally:
    """Counts verdicts as rows pass."""

    def __init__(self) -> None:
        self.found = Findings(0, 0, "")

    def take(self, rows: Sequence[Row]) -> None:
        lost = [row for row in rows if Outcome(row["outcome"]) not in SCORED]
        verdicts, unscored, cause = self.found
        if lost and not cause:
            cause = lost[0]["error"] or f"{lost[0]['outcome']}, by {lost[0]['judge']}"
        self.found = Findings(verdicts + len(rows), unscored + len(lost), cause)


class _Reader(NamedTuple):
    """A judge as its rows name it, and whose wish its `complied` grants."""

    id: str
    identity: str
    scores: Scores


def tabulate(
    study: Study,
    case_tables: Sequence[CaseTable],
    columns: Sequence[Column],
    targets: Sequence[tuple[str, NamedDefense, str]],
    judges: Sequence[Judge],
    folder: Path,
    progress: Progress,
) -> Findings:
    """Write `results.parquet` of a judged run; `targets` are (name, defense, id of the defended target).

    Raises:
        ContractError: if any sample of the grid has no verdict.
    """
    records = folder / "records"
    total = artifacts_in(case_tables, columns)
    progress.start("table", total * len(targets) * study.epochs * len(judges), 0)
    path = folder / RESULTS
    fresh = folder / f"{RESULTS}.new"
    tally = _Tally()
    readers = [_Reader(judge.id, registry.identity(judge), scores_of(judge)) for judge in judges]
    with (
        Table(records / "craft") as crafted,
        Table(records / "answer") as answered,
        Table(records / "judge") as judged,
        pq.ParquetWriter(fresh, SCHEMA, compression="zstd", compression_level=1) as writer,
    ):
        batches = _batches(study, case_tables, columns, targets, readers, crafted, answered, judged, tally)
        for group in _grouped(batches):
            writer.write_table(group)
            progress.advance(len(group))
    publish_table(fresh, path)
    progress.finish()
    return tally.found


def _batches(
    study: Study,
    case_tables: Sequence[CaseTable],
    columns: Sequence[Column],
    targets: Sequence[tuple[str, NamedDefense, str]],
    readers: list[_Reader],
    crafted: Table,
    answered: Table,
    judged: Table,
    tally: _Tally,
) -> Iterator[pa.RecordBatch]:
    for name, defense, identity in targets:
        for case_table in case_tables:
            for column in columns:
                constant = _cell_columns(study, case_table, column, name, defense, identity)
                cell = samples(case_table, column, identity, study.decoding, study.epochs, crafted, answered)
                for batch in cell:
                    rows = list(_rows(batch, readers, judged))
                    tally.take(rows)
                    yield _record_batch(rows, constant)


def _grouped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches joined to row groups of a size that compresses well."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= GROUP_ROWS:
            yield pa.Table.from_batches(waiting).unify_dictionaries()
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).unify_dictionaries()


def _cell_columns(
    study: Study, case_table: CaseTable, column: Column, target: str, defense: NamedDefense, identity: str
) -> dict[str, Any]:
    threat = column.named.attack.card.threat
    return {
        "study": study.name,
        "cell": cell_name(case_table.source, target, column.named, defense),
        "target": target,
        "target_hash": digest(identity)[:16],
        "attack": column.named.label,
        "series": column.named.series,
        "budget": str(column.named.budget) or None,
        "craft_seed": column.seed,
        "crafted_on": column.crafted_on,
        "attack_params": registry.spec(column.named.attack),
        "oracle": threat.oracle if threat else "none",
        "defense": defense.label,
        "benchmark": case_table.source.label,
        "release": case_table.release[:16],
    }


def _rows(batch: list[Sample], readers: list[_Reader], judged: Table) -> Iterator[Row]:
    for judge, identity, scores in readers:
        verdicts = judged.rows([verdict_key(sample, judge, identity) for sample in batch])
        for sample, verdict in zip(batch, verdicts, strict=True):
            if verdict is None:
                raise ContractError(
                    f"case {sample.case['id']} has no verdict by {judge}: run the judge stage first"
                )
            yield _row(sample, verdict, scores)


def _row(sample: Sample, verdict: Row, scores: Scores) -> Row:
    case, artifact, response = sample.case, sample.artifact, sample.response
    crafting = cost_of(artifact.get("cost"))
    cost = cost_of(response.get("cost")) + cost_of(verdict.get("cost")) + crafting
    outcome = verdict["outcome"]
    return {
        "case_id": case["id"],
        "group": case["group"],
        "hazard": case.get("hazard", ""),
        "category": case["category"],
        "expected": case["expected"],
        "epoch": response["epoch"],
        "sample": bytes.fromhex(response["key"]),
        "artifact": bytes.fromhex(artifact["key"]),
        "shown": None if "problem" in artifact else bytes.fromhex(digest(artifact["conversation"])),
        "response_hash": bytes.fromhex(response_hash(response)),
        "outcome": outcome,
        "judge": verdict["judge"],
        "scores": scores,
        "score": verdict.get("score"),
        "refused": Outcome(outcome) in WITHHELD,
        "success": outcome == Outcome.complied.value,
        "calls_target": cost.calls_target,
        "calls_aux": cost.calls_aux,
        "calls_judge": cost.calls_judge,
        "tokens_in": cost.tokens_in,
        "tokens_out": cost.tokens_out,
        "flops": cost.flops,
        "seconds": cost.seconds,
        "seen": artifact.get("seen"),
        "craft_shared": artifact.get("shared", False),
        "craft_calls": crafting.calls_target + crafting.calls_aux,
        "craft_forwards": crafting.forwards,
        "craft_backwards": crafting.backwards,
        "craft_flops": crafting.flops,
        "craft_seconds": crafting.seconds,
        "flags": ";".join(response.get("flags", ())),
        "error": response.get("error") or (verdict.get("reason") if outcome == "error" else None),
    }


def _record_batch(rows: list[Row], constant: dict[str, Any]) -> pa.RecordBatch:
    arrays = []
    for column in SCHEMA:
        if column.name in constant:
            values: list[Any] = [constant[column.name]] * len(rows)
        else:
            values = [row[column.name] for row in rows]
        if pa.types.is_dictionary(column.type):
            arrays.append(pa.array(values, pa.string()).dictionary_encode().cast(column.type))
        else:
            arrays.append(pa.array(values, column.type))
    return pa.record_batch(arrays, schema=SCHEMA)
