"""Stage answer: artifacts x defended targets -> responses; failures are outcomes, not exceptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sightline.contracts import Decoding, MakesCalls, Recalls, Target
from sightline.digests import digest
from sightline.errors import ContractError
from sightline.keys import NOT_SENT, answer_key, response_hash
from sightline.plain import conversation_of, plain_response, turn_of
from sightline.records import Response
from sightline.responses.table import RECORDED
from sightline.rng import seed_of
from sightline.shards import Row
from sightline.study.call_log import AnswerCalls, CallLog
from sightline.study.context import RunContext, StudyTarget
from sightline.study.replying import play
from sightline.study.stages import Count, Stage, Todo
from sightline.tables import Table, open_tables
from sightline.untrusted import sanitized, sanitized_row

STAGE = "answer"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one row sends: an artifact's row, and which try it is."""

    artifact: Row
    epoch: int


async def answer(run: RunContext) -> Count:
    """Ask every target every artifact that it has not answered yet, one target after the other.

    An answer to another picture than the artifact now shows (it was lost, and made again it came out
    otherwise) is none.

    Raises:
        ContractError: if an artifact of the grid is missing (the craft stage was not finished).
    """
    study = run.study
    run.progress.start(STAGE, run.answers, 0)
    with (
        open_tables(run.records, STAGE, "craft") as (answered, crafted),
        CallLog(run.records / "calls") as log,
    ):

        def shown_otherwise(rows: Sequence[Row]) -> Iterator[bool]:
            artifacts = crafted.rows([row["artifact"] for row in rows])
            for row, artifact in zip(rows, artifacts, strict=True):
                yield artifact is not None and row["shown"] != artifact["shown"]

        stage: Stage[Asked] = Stage(
            run.records / STAGE,
            run.progress,
            is_error=lambda row: row["stop"] == "error",
            unfit=shown_otherwise,
            retry_errors=run.retry_errors,
        )
        for each in run.targets:

            async def ask(asked: Asked, target: Target = each.target) -> Row:
                row = await respond(target, asked, study.decoding, study.retries, log)
                log.needed = log.needed or to_be_sent(row)
                return row

            await stage.run(_pending(run, stage, answered, crafted, each, log), ask, study.concurrency)
    stage.close()
    return stage.count


def _pending(
    run: RunContext, stage: Stage[Asked], answered: Table, crafted: Table, target: StudyTarget, log: CallLog
) -> Iterator[Todo[Asked]]:
    for artifacts in run.artifact_keys(target):
        for epoch in range(run.study.epochs):

            def asked(wanted: list[int], artifacts: list[str] = artifacts, epoch: int = epoch) -> list[Asked]:
                rows = crafted.rows([artifacts[index] for index in wanted])
                if None in rows:
                    raise ContractError("an artifact of the grid is missing: run the craft stage first")
                return [Asked(row, epoch) for row in rows if row is not None]

            keys = run.answer_keys(artifacts, target.target, epoch)
            if log.found and not run.retry_errors:
                there = (row for row in answered.rows(keys) if row is not None)
                log.needed = log.needed or any(map(to_be_sent, there))
            yield from stage.missing(answered, keys, asked)


def to_be_sent(row: Row) -> bool:
    """Whether an answer failed after it was asked for: its calls that have ended wait for another try."""
    return row["stop"] == "error" and NOT_SENT not in row.get("flags", ())


async def respond(target: Target, asked: Asked, decoding: Decoding, retries: int, log: CallLog) -> Row:
    """One response row. A request whose picture cannot be read is never sent.

    Raises:
        UsageError: what the user has to mend before any row can succeed; finished rows are kept.
    """
    artifact = asked.artifact
    problem = artifact.get("problem")
    about: Row = {}
    if problem is not None:
        response = Response(text="", stop="error", error=problem, flags=(NOT_SENT,))
    elif isinstance(target, Recalls):
        attack = artifact["note"].removeprefix(RECORDED)
        recalled = target.recall(artifact["case_id"], attack, asked.epoch)
        response, about = sanitized(recalled.response), {"recorded": sanitized_row(recalled.about)}
    else:
        conversation = conversation_of(artifact["conversation"])
        follow_ups = tuple(map(turn_of, artifact.get("follow_ups", ())))
        seeded = replace(decoding, seed=_seed(decoding, asked))

        def calls(turn: int) -> AnswerCalls:
            key = answer_key(artifact["key"], target.id, decoding, asked.epoch)
            return log.of(digest(key, turn) if turn else key)

        logged = calls if follow_ups or isinstance(target, MakesCalls) else None
        response = await play(target, conversation, follow_ups, seeded, retries=retries, calls=logged)
    row = plain_response(response)
    return {
        "artifact": artifact["key"],
        "epoch": asked.epoch,
        "shown": artifact["shown"],
        "hash": response_hash(row),
        **row,
        **about,
    }


def _seed(decoding: Decoding, asked: Asked) -> int:
    """Greedy decoding needs none, so that equal requests stay equal; sampling gets one per row and try.

    Nor is one sent where the provider chooses the temperature.
    """
    if not decoding.temperature:
        return decoding.seed
    return seed_of("decode", decoding.seed, asked.artifact["key"], asked.epoch, bits=31)
