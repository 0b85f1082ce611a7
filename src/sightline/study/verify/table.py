"""`verify.parquet`: one row per artifact, form, target, try and judge; rows that could not be asked too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sightline import registry
from sightline.closure import without_code
from sightline.contracts import Judge, scores_of
from sightline.digests import digest
from sightline.errors import ContractError
from sightline.records import Outcome
from sightline.sealed import publish_table
from sightline.shards import Row
from sightline.study.judging import Sample, verdict_key
from sightline.study.verify.integrity import Finding
from sightline.study.verify.stages import ANSWER, CRAFT, JUDGE, Answered, Ask, Reasking, Subject, Tables

VERIFIED = "verify.parquet"
VERIFY_AGAIN = "`sightline verify` on the run's folder writes it anew"
_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        *((name, _NAME) for name in ("study", "target", "target_hash", "defense", "attack", "series")),
        *((name, _NAME) for name in ("attack_params", "role", "crafted_on", "benchmark", "release")),
        ("craft_seed", pa.int64()),
        ("made_on_target", pa.bool_()),
        ("form", _NAME),
        ("case_id", pa.string()),
        ("group", pa.string()),
        *((name, _NAME) for name in ("hazard", "category", "expected")),
        ("seen", pa.bool_()),
        ("epoch", pa.int32()),
        ("artifact", pa.binary(16)),
        ("sample", pa.binary(16)),
        ("fault", _NAME),
        ("moved_linf", pa.float32()),
        ("moved_l2", pa.float32()),
        ("reused", pa.bool_()),
        ("outcome", _NAME),
        ("judge", _NAME),
        ("scores", _NAME),
        ("score", pa.float32()),
        ("success", pa.bool_()),
        ("flags", _NAME),
        ("error", pa.string()),
    ]
)


def tabulate(work: Reasking, study: str, folder: Path, findings: Sequence[Finding]) -> Path:
    """Write `verify.parquet`; it holds what the last verification asked for, its records hold all of them.

    `fault` names what was found wrong with an artifact; `moved_linf` and `moved_l2` say how far a form lies
    from the artifact, in raw 0..255 levels.

    Raises:
        ContractError: if an artifact that can be shown has no answer or no verdict.
    """
    faults = {finding.claim.key: finding.fault.value for finding in findings}
    path, fresh = folder / VERIFIED, folder / f"{VERIFIED}.new"
    work.progress.start("verify table", work.asked * len(work.judges), 0)
    with (
        work.tables("craft", CRAFT, "answer", ANSWER, "judge", JUDGE) as tables,
        pq.ParquetWriter(fresh, SCHEMA, compression="zstd", compression_level=1) as writer,
    ):
        for rows in _batches(work, study, tables, faults):
            # dictionaries of batches may differ, so each is its own row group
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
            work.progress.advance(len(rows))
    publish_table(fresh, path)
    work.progress.finish()
    return path


def _batches(work: Reasking, study: str, tables: Tables, faults: Mapping[str, str]) -> Iterator[list[Row]]:
    identities = [(judge, registry.identity(judge)) for judge in work.judges]
    for subject in work.subjects:
        for asks in work.asks(tables, subject):
            for epoch in range(work.epochs):
                found = tables.either("answer", work.answer_keys(asks, subject, epoch))
                for judge, identity in identities:
                    verdicts = _verdicts(asks, found, judge, identity, tables)
                    yield [
                        {
                            "study": study,
                            "epoch": epoch,
                            "judge": judge.id,
                            "scores": scores_of(judge),
                            **_of_subject(ask, subject),
                            **_of_ask(ask),
                            "fault": faults.get(ask.claim.key),
                            **_of_answer(ask, answered, verdict),
                        }
                        for ask, answered, verdict in zip(asks, found, verdicts, strict=True)
                    ]


def _verdicts(
    asks: Sequence[Ask], found: Sequence[Answered], judge: Judge, identity: str, tables: Tables
) -> list[Row | None]:
    keys = [
        verdict_key(Sample(ask.claim.case, {}, answered.response), judge.id, identity)
        if answered.response is not None
        else digest("no answer")
        for ask, answered in zip(asks, found, strict=True)
    ]
    return [verdict.response for verdict in tables.either("judge", keys)]


def _of_subject(ask: Ask, subject: Subject) -> dict[str, Any]:
    made_on = ask.claim.crafted_on
    return {
        "target": subject.name,
        "target_hash": digest(subject.target.id)[:16],
        "defense": subject.defense,
        "crafted_on": made_on,
        "made_on_target": None
        if made_on is None
        else any(without_code(each) in subject.target.id for each in made_on.split(" + ")),
    }


def _of_ask(ask: Ask) -> dict[str, Any]:
    claim, case = ask.claim, ask.claim.case
    return {
        "attack": claim.attack,
        "series": claim.series,
        "attack_params": claim.params,
        "role": claim.role,
        "craft_seed": claim.craft_seed,
        "benchmark": claim.benchmark,
        "release": claim.release,
        "form": ask.form,
        "case_id": case["id"],
        "group": case["group"],
        "hazard": case.get("hazard", ""),
        "category": case["category"],
        "expected": case["expected"],
        "seen": claim.seen,
        "artifact": bytes.fromhex(claim.key),
        "moved_linf": ask.moved.get("linf"),
        "moved_l2": ask.moved.get("l2"),
    }


def _of_answer(ask: Ask, answered: Answered, verdict: Row | None) -> dict[str, Any]:
    """What came of an ask; one that could not be shown, or not judged, is an error with its reason."""
    response = answered.response
    if response is None or verdict is None:
        if ask.shown is not None:
            raise ContractError(f"case {ask.claim.case['id']} as {ask.form} has no answer or no verdict")
        return {
            "sample": None if response is None else bytes.fromhex(response["key"]),
            "reused": False,
            "outcome": Outcome.error.value,
            "success": False,
            "error": ask.problem,
        }
    outcome = verdict["outcome"]
    return {
        "sample": bytes.fromhex(response["key"]),
        "reused": not answered.ours,
        "outcome": outcome,
        "score": verdict.get("score"),
        "success": outcome == Outcome.complied.value,
        "flags": ";".join(response.get("flags", ())),
        "error": response.get("error") or (verdict.get("reason") if outcome == "error" else None),
    }
