"""Stage judge: responses x judges -> verdicts; a judge that is down leaves an `error`, never a guess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline import registry
from sightline.contracts import Decoding, Judge
from sightline.errors import ContractError, TransientError, UsageError
from sightline.keys import answer_key, judge_key, response_hash
from sightline.plain import case_of, conversation_of, plain_verdict, response_of
from sightline.records import Outcome, Verdict
from sightline.store import Row
from sightline.study.case_table import CaseTable, artifacts_in
from sightline.study.grid import Column, chunks
from sightline.study.progress import Progress
from sightline.study.stages import Count, Stage, Todo, choose
from sightline.tables import Table
from sightline.untrusted import sanitized_verdict

STAGE = "judge"


@dataclass(frozen=True, slots=True)
class Sample:
    """An answered sample as rows: the case, what was shown, the reply."""

    case: Row
    artifact: Row
    response: Row


def samples(
    case_table: CaseTable,
    column: Column,
    target: str,
    decoding: Decoding,
    epochs: int,
    crafted: Table,
    answered: Table,
) -> Iterator[list[Sample]]:
    """The samples of one cell, in batches in case order.

    Raises:
        ContractError: if an artifact or a response of the grid is missing.
    """
    for rows in chunks(case_table.rows()):
        cases = column.select(rows)
        keys = column.keys(cases)
        artifacts = crafted.rows(keys)
        batch = []
        for epoch in range(epochs):
            responses = answered.rows([answer_key(key, target, decoding, epoch) for key in keys])
            for case, artifact, response in zip(cases, artifacts, responses, strict=True):
                if artifact is None or response is None:
                    raise ContractError(f"case {case['id']} has no answer yet: run the answer stage first")
                batch.append(Sample(case, artifact, response))
        yield batch


def verdict_key(sample: Sample, judge: str, identity: str) -> str:
    """Key of the verdict of a judge (its id and identity) on a sample."""
    return judge_key(sample.response["key"], response_hash(sample.response), judge, identity)


async def judge_all(
    case_tables: Sequence[CaseTable],
    columns: Sequence[Column],
    targets: Sequence[str],
    judges: Sequence[Judge],
    records: Path,
    progress: Progress,
    *,
    decoding: Decoding,
    epochs: int,
    concurrency: int,
    retry_errors: bool = False,
) -> Count:
    """Judge every response with every judge, where that verdict is not there yet."""
    stage: Stage[Sample] = Stage(
        records / STAGE,
        progress,
        is_error=lambda row: row["outcome"] == Outcome.error.value,
        retry_errors=retry_errors,
    )
    cells = artifacts_in(case_tables, columns)
    progress.start(STAGE, cells * len(targets) * epochs * len(judges), 0)
    with (
        Table(stage.folder) as table,
        Table(records / "craft") as crafted,
        Table(records / "answer") as answered,
    ):
        for judge in judges:
            identity = registry.identity(judge)

            def pending(judge: Judge = judge, identity: str = identity) -> Iterator[Todo[Sample]]:
                for target in targets:
                    for case_table in case_tables:
                        for column in columns:
                            cell = samples(case_table, column, target, decoding, epochs, crafted, answered)
                            for batch in cell:
                                keys = [verdict_key(sample, judge.id, identity) for sample in batch]
                                yield from stage.missing(table, keys, choose(batch))

            async def ask(sample: Sample, judge: Judge = judge) -> Row:
                return await verdict_on(judge, sample)

            await stage.run(pending(), ask, concurrency)
    stage.close()
    return stage.count


async def verdict_on(judge: Judge, sample: Sample) -> Row:
    """One verdict row; a judge that is down or fails gives an `error` outcome.

    Raises:
        UsageError: what the user has to mend before any verdict can succeed.
    """
    case = case_of(sample.case)
    shown = conversation_of(sample.artifact["conversation"])
    try:
        verdict = await judge.judge(case, shown, response_of(sample.response))
    except (ContractError, UsageError):
        raise
    except TransientError as down:
        verdict = Verdict(outcome=Outcome.error, judge=judge.id, reason=f"judge failed: {down}")
    except Exception as bug:  # as in the answer stage: counted, not fatal
        verdict = Verdict(
            outcome=Outcome.error, judge=judge.id, reason=f"judge failed: {type(bug).__name__}: {bug}"
        )
    return {"sample": sample.response["key"], **plain_verdict(sanitized_verdict(verdict))}
