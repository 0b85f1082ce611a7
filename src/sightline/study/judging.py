"""Stage judge: responses x judges -> verdicts; a judge that is down leaves an `error`, never a guess."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Judge, Target
from sightline.errors import ContractError, DamageError, TransientError, UsageError
from sightline.keys import judge_key
from sightline.plain import case_of, conversation_of, plain_verdict, response_of, turn_of
from sightline.records import Outcome, Stop, Verdict
from sightline.sealed import ONE_ROW
from sightline.shards import Row
from sightline.study.case_table import CaseTable
from sightline.study.context import RunContext
from sightline.study.grid import Column
from sightline.study.stages import Count, Stage, Todo, choose
from sightline.tables import Table, open_tables
from sightline.untrusted import sanitized_verdict

STAGE = "judge"
_STOPS = frozenset(get_args(Stop))


@dataclass(frozen=True, slots=True)
class Sample:
    """An answered sample as rows: the case, what was shown, the reply."""

    case: Row
    artifact: Row
    response: Row


@dataclass(frozen=True, slots=True)
class Answers:
    """The answered samples of a run, from the records of the stages before."""

    run: RunContext
    crafted: Table
    answered: Table

    def of_cell(self, case_table: CaseTable, column: Column, target: Target) -> Iterator[list[Sample]]:
        """The samples of one cell, in batches in case order.

        Raises:
            ContractError: if an artifact or a response of the grid is missing.
        """
        for cases in self.run.case_rows(case_table, column):
            keys = column.keys(cases)
            artifacts = self.crafted.rows(keys)
            batch = []
            for epoch in range(self.run.study.epochs):
                responses = self.answered.rows(self.run.answer_keys(keys, target, epoch))
                for case, artifact, response in zip(cases, artifacts, responses, strict=True):
                    if artifact is None or response is None:
                        raise ContractError(
                            f"case {case['id']} has no answer yet: run the answer stage first"
                        )
                    _refuse_foreign(response, self.answered.folder)
                    batch.append(Sample(case, artifact, response))
            yield batch


def _refuse_foreign(response: Row, folder: Path) -> None:
    """Make sure that a response is one that Sightline writes, whoever has sealed it.

    Raises:
        DamageError: naming the key of one that is not.
    """
    text, stop, counts = response.get("text"), response.get("stop"), (response.get("cost") or {}).values()
    if not isinstance(text, str) or stop not in _STOPS or not all(abs(count) < 2**63 for count in counts):
        raise DamageError(folder, f"the response {response['key']} is none that Sightline writes", ONE_ROW)


def verdict_key(sample: Sample, judge: str, identity: str) -> str:
    """Key of the verdict of a judge (its id and identity) on a sample."""
    return judge_key(sample.response["key"], sample.response["hash"], judge, identity)


async def judge_all(run: RunContext) -> Count:
    """Judge every response with every judge, where that verdict is not there yet."""
    stage: Stage[Sample] = Stage(
        run.records / STAGE,
        run.progress,
        is_error=lambda row: row["outcome"] == Outcome.error.value,
        retry_errors=run.retry_errors,
    )
    run.progress.start(STAGE, run.answers * len(run.judges), 0)
    with open_tables(run.records, STAGE, "craft", "answer") as (judged, crafted, answered):
        answers = Answers(run, crafted, answered)
        for judge in run.judges:

            async def ask(sample: Sample, judge: Judge = judge) -> Row:
                return await verdict_on(judge, sample)

            await stage.run(_pending(answers, stage, judged, judge), ask, run.study.concurrency)
    stage.close()
    return stage.count


def _pending(answers: Answers, stage: Stage[Sample], judged: Table, judge: Judge) -> Iterator[Todo[Sample]]:
    identity = registry.identity(judge)
    for target in answers.run.targets:
        for case_table, column in answers.run.cells(target):
            for batch in answers.of_cell(case_table, column, target.target):
                keys = [verdict_key(sample, judge.id, identity) for sample in batch]
                yield from stage.missing(judged, keys, choose(batch))


def shown_of(artifact: Row, response: Row) -> Conversation:
    """What the target had been shown before the reply: of a script, all turns and replies before it."""
    follow_ups = [turn_of(turn) for turn in artifact.get("follow_ups", ())]
    return conversation_of(artifact["conversation"]).played(follow_ups, response.get("replies", ()))


async def verdict_on(judge: Judge, sample: Sample) -> Row:
    """One verdict row; a judge that is down or fails gives an `error` outcome.

    Raises:
        UsageError: what the user has to mend before any verdict can succeed.
    """
    case = case_of(sample.case)
    shown = shown_of(sample.artifact, sample.response)
    try:
        verdict = await judge.judge(case, shown, response_of(sample.response))
    except (ContractError, UsageError):
        raise
    except Exception as bug:  # as in the answer stage: counted, not fatal
        why = str(bug) if isinstance(bug, TransientError) else registry.told(bug)
        verdict = Verdict(outcome=Outcome.error, judge=judge.id, reason=f"judge failed: {why}")
    if not isinstance(verdict, Verdict):
        raise ContractError(f"judge {judge.card.name!r} returned {type(verdict).__name__}, not a Verdict")
    return {"sample": sample.response["key"], **plain_verdict(sanitized_verdict(verdict))}
