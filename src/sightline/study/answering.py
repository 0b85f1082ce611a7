"""Stage answer: artifacts x defended targets -> responses; failures are outcomes, not exceptions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Decoding, MakesCalls, Recalls, Target
from sightline.errors import ContractError, TransientError, UsageError
from sightline.keys import NOT_SENT, answer_key, response_hash
from sightline.plain import conversation_of, plain_response
from sightline.records import Cost, Response
from sightline.responses.table import RECORDED
from sightline.rng import seed_of
from sightline.shards import Row
from sightline.study.call_log import AnswerCalls, CallLog
from sightline.study.context import RunContext, StudyTarget
from sightline.study.stages import Count, Stage, Todo
from sightline.tables import Table, open_tables
from sightline.untrusted import sanitized, sanitized_row

STAGE = "answer"
BACKOFF_SECONDS = 1.0


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
                return await respond(target, asked, study.decoding, study.retries, log)

            await stage.run(_pending(run, stage, answered, crafted, each), ask, study.concurrency)
    stage.close()
    return stage.count


def _pending(
    run: RunContext, stage: Stage[Asked], answered: Table, crafted: Table, target: StudyTarget
) -> Iterator[Todo[Asked]]:
    for artifacts in run.artifact_keys(target):
        for epoch in range(run.study.epochs):

            def asked(wanted: list[int], artifacts: list[str] = artifacts, epoch: int = epoch) -> list[Asked]:
                rows = crafted.rows([artifacts[index] for index in wanted])
                if None in rows:
                    raise ContractError("an artifact of the grid is missing: run the craft stage first")
                return [Asked(row, epoch) for row in rows if row is not None]

            yield from stage.missing(answered, run.answer_keys(artifacts, target.target, epoch), asked)


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
        calls = None
        if isinstance(target, MakesCalls):
            calls = log.of(answer_key(artifact["key"], target.id, decoding, asked.epoch))
        seeded = replace(decoding, seed=_seed(decoding, asked))
        conversation = conversation_of(artifact["conversation"])
        response = await reply(target, conversation, seeded, retries=retries, calls=calls)
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


async def reply(
    target: Target,
    conversation: Conversation,
    decoding: Decoding,
    *,
    retries: int = 5,
    calls: AnswerCalls | None = None,
) -> Response:
    """One reply of a target: passing failures are retried with growing pauses, then become stop 'error'.

    Raises:
        UsageError: what the user has to mend, such as a rejected key.
    """
    started = time.perf_counter()
    failure = ""
    for attempt in range(retries + 1):
        try:
            response = sanitized(await _ask(target, conversation, decoding, calls))
        except TransientError as passing:
            failure = str(passing)
            if attempt < retries:
                await asyncio.sleep(BACKOFF_SECONDS * 2**attempt)
        except ImportError as broken:
            raise UsageError(f"{target.id}: a needed package cannot be imported: {broken}") from broken
        except (ContractError, UsageError):
            raise  # a wrong key or an unknown model: every further row would fail alike
        except Exception as bug:  # one poisoned row must not end a run of many; it is counted as an error
            failure = registry.told(bug)
            break
        else:
            if response.cost.seconds:
                return response  # a local model knows its share of the machine; waiting in line is no cost
            cost = response.cost + Cost(seconds=time.perf_counter() - started)
            return replace(response, cost=cost)
    cost = Cost(seconds=time.perf_counter() - started)
    return sanitized(Response(text="", stop="error", error=failure, cost=cost))


async def _ask(
    target: Target, conversation: Conversation, decoding: Decoding, calls: AnswerCalls | None
) -> Response:
    """One try. Of a target that asks others, the calls that have ended before are not made again."""
    if calls is None or not isinstance(target, MakesCalls):
        return await target.generate(conversation, decoding)
    calls.begin()
    return await target.generate_through(conversation, decoding, calls)
