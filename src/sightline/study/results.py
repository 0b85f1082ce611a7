"""`results.parquet`: one row per answered sample and judge, streamed in grid order; and its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sightline import registry
from sightline.closure import without_code
from sightline.contracts import Scores, converses, scores_of
from sightline.digests import digest
from sightline.errors import ContractError
from sightline.metrics.cells import models_of
from sightline.plain import cost_of
from sightline.records import SCORED, WITHHELD, Outcome
from sightline.run_folder import RESULTS
from sightline.sealed import file_named, publish_table
from sightline.shards import Row
from sightline.study.case_table import CaseTable
from sightline.study.config import Study
from sightline.study.context import RunContext, StudyTarget
from sightline.study.fitted import cases_used, seen
from sightline.study.grid import Column, cell_name
from sightline.study.judging import Answers, Sample, verdict_key
from sightline.study.named import NamedAttack
from sightline.study.surrogates import adapts
from sightline.tables import GROUP_ROWS, Table, open_tables

NOT_RESULTS = frozenset({"sample", "artifact", "target_hash", "error"}) | {
    *("seconds", "latency", "cpu_seconds", "craft_seconds")
}
"""Columns that are left out: keys, which name inputs (the lock has them), the clocks, and the wording of
errors, which may hold a path, a time or a request's number (`outcome` says that there was one)."""
_WORD_BYTES = 16
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
        *((name, pa.float32()) for name in ("seconds", "latency", "cpu_seconds")),
        ("made_on_target", pa.bool_()),
        ("seen", pa.bool_()),
        ("craft_shared", pa.bool_()),
        *((name, pa.int64()) for name in ("craft_calls", "craft_calls_aux", "craft_calls_judge")),
        *((name, pa.int64()) for name in ("craft_tokens_in", "craft_tokens_out")),
        *((name, pa.int64()) for name in ("craft_forwards", "craft_backwards")),
        *((name, pa.float32()) for name in ("craft_flops", "craft_seconds")),
        ("flags", _NAME),
        ("error", pa.string()),
    ]
)


class Findings(NamedTuple):
    """What the table says of whether the run worked: verdicts in all, unscored ones, and why the first is.

    `cause` holds words of providers and judges as they are. `lasting` are those of the unscored that stay so
    however often they are tried: see `_lasts`.
    """

    verdicts: int
    unscored: int
    cause: str
    lasting: int = 0

    @property
    def cure(self) -> str:
        """What mends the unscored: another try, a change of what the run is made from, or both."""
        again, change = "run the same command again with --retry-errors", "mend the case or the study"
        if not self.lasting:
            return f"fix it, then {again}"
        if self.lasting == self.unscored:
            return f"no retry helps: {change}, then run the same command again with --extend"
        return f"no retry helps {self.lasting:,} of them: {change}, then add --extend; for the others {again}"

    def with_rows(self, rows: Sequence[Row]) -> Findings:
        """These and those of further rows."""
        lost = [row for row in rows if Outcome(row["outcome"]) not in SCORED]
        cause = self.cause
        if lost and not cause:
            cause = lost[0]["error"] or f"{lost[0]['outcome']}, by {lost[0]['judge']}"
        lasting = self.lasting + sum(row["lasts"] for row in lost)
        return Findings(self.verdicts + len(rows), self.unscored + len(lost), cause, lasting)


class _Reader(NamedTuple):
    """A judge as its rows name it, and whose wish its `complied` grants."""

    id: str
    identity: str
    scores: Scores


def tabulate(run: RunContext, folder: Path) -> Findings:
    """Write `results.parquet` of a judged run into `folder`.

    Raises:
        ContractError: if any sample of the grid has no verdict.
    """
    run.progress.start("table", run.answers * len(run.judges), 0)
    fresh = folder / f"{RESULTS}.new"
    found = Findings(0, 0, "")
    with (
        file_named(folder / RESULTS),
        open_tables(run.records, "craft", "answer", "judge") as (crafted, answered, judged),
        pq.ParquetWriter(fresh, SCHEMA, compression="zstd", compression_level=1) as writer,
    ):
        waiting: list[pa.RecordBatch] = []
        for rows, constant in _batches(Answers(run, crafted, answered), judged):
            found = found.with_rows(rows)
            waiting.append(_record_batch(rows, constant))
            if sum(map(len, waiting)) >= GROUP_ROWS:  # row groups of a size that compresses well
                writer.write_table(pa.Table.from_batches(waiting).unify_dictionaries())
                waiting = []
            run.progress.advance(len(rows))
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting).unify_dictionaries())
    publish_table(fresh, folder / RESULTS)
    run.progress.finish()
    return found


def _batches(answers: Answers, judged: Table) -> Iterator[tuple[list[Row], dict[str, Any]]]:
    """Rows of the table in grid order, with what is the same in all rows of their cell."""
    run = answers.run
    readers = [_Reader(judge.id, registry.identity(judge), scores_of(judge)) for judge in run.judges]
    for target in run.targets:
        used = cases_used(target)
        for case_table, column in run.cells(target):
            constant = _cell_columns(run.study, case_table, column, target)
            for batch in answers.of_cell(case_table, column, target.target):
                yield list(_rows(batch, readers, judged, used)), constant


def _cell_columns(study: Study, case_table: CaseTable, column: Column, target: StudyTarget) -> dict[str, Any]:
    named = column.named
    return {
        "study": study.name,
        "cell": cell_name(case_table.source, target.name, column.named, target.defense),
        "target": target.name,
        "target_hash": digest(target.target.id)[:16],
        "attack": column.named.label,
        "series": column.named.series,
        "budget": str(column.named.budget) or None,
        "craft_seed": column.seed,
        "crafted_on": column.crafted_on,
        "made_on_target": _made_on(column, target),
        "attack_params": registry.spec(column.named.attack),
        "oracle": _oracle(named),
        "defense": target.defense.label,
        "benchmark": case_table.source.label,
        "release": case_table.release[:16],
    }


def _made_on(column: Column, target: StudyTarget) -> bool | None:
    """Whether an attack looked into the model that answers or talked to it, bare or behind its defense.

    None if it did neither with any model.
    """
    if column.crafted_on is None:
        return None
    talked = column.talkers.target if column.talkers is not None else None
    itself = talked is not None and f":{target.target.id}".endswith(f":{talked.id}")
    answers = f":{without_code(target.target.id)}"
    names = zip(column.surrogates, column.named.surrogates, strict=True)
    known = (without_code(each.id) for each, name in names if adapts([name]))
    through = any(answers.endswith(f":{identity}") for identity in known)
    return itself or through or target.name in models_of(column.crafted_on)


def _oracle(named: NamedAttack) -> str:
    """What an attack asks while it is made: one through a defense has the defended target for its oracle."""
    threat = named.attack.card.threat
    if converses(named.attack) or named.oracle != "none":
        return named.oracle
    return threat.oracle if threat else "none"


def _rows(
    batch: list[Sample], readers: list[_Reader], judged: Table, used: frozenset[str] | None
) -> Iterator[Row]:
    for judge, identity, scores in readers:
        verdicts = judged.rows([verdict_key(sample, judge, identity) for sample in batch])
        for sample, verdict in zip(batch, verdicts, strict=True):
            if verdict is None:
                raise ContractError(
                    f"case {sample.case['id']} has no verdict by {judge}: run the judge stage first"
                )
            yield _row(sample, verdict, scores, used)


def _row(sample: Sample, verdict: Row, scores: Scores, used: frozenset[str] | None) -> Row:
    case, artifact, response = sample.case, sample.artifact, sample.response
    crafting = cost_of(artifact.get("cost"))
    reply = cost_of(response.get("cost"))
    cost = reply + cost_of(verdict.get("cost")) + crafting
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
        "shown": None if "problem" in artifact else bytes.fromhex(artifact["shown"]),
        "response_hash": bytes.fromhex(response["hash"]),
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
        "latency": reply.latency,
        "cpu_seconds": reply.cpu_seconds,
        "seen": seen(case, artifact, used),
        "craft_shared": artifact.get("shared", False),
        "craft_calls": crafting.calls_target + crafting.calls_aux,
        "craft_calls_aux": crafting.calls_aux,
        "craft_calls_judge": crafting.calls_judge,
        "craft_tokens_in": crafting.tokens_in,
        "craft_tokens_out": crafting.tokens_out,
        "craft_forwards": crafting.forwards,
        "craft_backwards": crafting.backwards,
        "craft_flops": crafting.flops,
        "craft_seconds": crafting.seconds,
        "flags": ";".join(response.get("flags", ())),
        "error": response.get("error") or (verdict.get("reason") if outcome == "error" else None),
        "lasts": _lasts(sample, outcome),
    }


def _lasts(sample: Sample, outcome: str) -> bool:
    """Whether an unscored verdict stays so however often its call is tried.

    So it is with artifacts that cannot be made (a helper's replies are in the log, and say the same),
    recorded responses that have an error, and verdicts that cannot be read.
    """
    artifact, response = sample.artifact, sample.response
    if "problem" in artifact:
        return not artifact.get("passing", False)
    return outcome == Outcome.unparsed or ("recorded" in response and response["stop"] == "error")


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


def results_digest(path: Path) -> str:
    """Digest of a result table by content, 32 hexadecimal characters; how it is stored does not count.

    Rows count in their order, with every column but `NOT_RESULTS`. Of a row with an error the hash of the
    response is left out: it covers the error's wording.
    """
    with pq.ParquetFile(path) as file:
        names = sorted(name for name in file.schema_arrow.names if name not in NOT_RESULTS)
        found = {name: (_hash(), _hash()) for name in names}
        for batch in file.iter_batches(columns=[*names, "error"]):
            for name in names:
                column = batch.column(name)
                if name == "response_hash":
                    column = pc.if_else(batch.column("error").is_null(), column, None)
                for hashed, data in zip(found[name], _bytes(column), strict=True):
                    hashed.update(data)
    whole = _hash()
    for name in names:
        whole.update(b"\0".join([name.encode(), *(each.digest() for each in found[name])]))
    return str(whole.hexdigest())


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


def _bytes(column: Any) -> tuple[bytes, bytes]:
    """Lengths (or which values are there) and contents; joined, they do not show where a batch ended."""
    if pa.types.is_dictionary(column.type):
        words = column.dictionary.to_pylist()
        digests = [hashlib.blake2b(word.encode(), digest_size=_WORD_BYTES).digest() for word in words]
        table = np.frombuffer(b"".join([*digests, bytes(_WORD_BYTES)]), np.uint8).reshape(-1, _WORD_BYTES)
        places = column.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        return b"", table[places].tobytes()
    if pa.types.is_string(column.type) or pa.types.is_fixed_size_binary(column.type):
        values = column.cast(pa.binary())
        lengths = pc.binary_length(values).fill_null(-1)
        return _plain(lengths), b"".join(value for value in values.to_pylist() if value)
    present = column.is_valid().cast(pa.uint8())
    if pa.types.is_boolean(column.type):
        return _plain(present), _plain(column.fill_null(False).cast(pa.uint8()))
    return _plain(present), _plain(column.fill_null(0))


def _plain(numbers: Any) -> bytes:
    """Numbers without gaps as bytes, little-endian."""
    found = numbers.to_numpy(zero_copy_only=False)
    return bytes(found.astype(found.dtype.newbyteorder("<")).tobytes())
