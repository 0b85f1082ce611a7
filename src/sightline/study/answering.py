"""Stage answer: artifacts x defended targets -> responses; failures are outcomes, not exceptions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sightline.cases import Conversation
from sightline.contracts import Decoding, MakesCalls, Target
from sightline.digests import digest
from sightline.errors import ContractError, TransientError, UsageError
from sightline.keys import NOT_SENT, answer_key
from sightline.plain import conversation_of, plain_response
from sightline.records import Cost, Response
from sightline.rng import seed_of
from sightline.store import Row
from sightline.study.call_log import AnswerCalls, CallLog
from sightline.study.case_table import CaseTable, artifacts_in
from sightline.study.grid import Column, chunks
from sightline.study.progress import Progress
from sightline.study.stages import Count, Stage, Todo
from sightline.tables import Table
from sightline.untrusted import sanitized

STAGE = "answer"
BACKOFF_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What one row sends: an artifact's row, and which try it is."""

    artifact: Row
    epoch: int


async def answer(
    case_tables: Sequence[CaseTable],
    columns: Sequence[Column],
    targets: Iterable[Target],
    records: Path,
    progress: Progress,
    *,
    decoding: Decoding,
    epochs: int,
    concurrency: int,
    retries: int,
    retry_errors: bool = False,
) -> Count:
    """Ask every target every artifact that it has not answered yet, one target after the other.

    An answer to another picture than the artifact now shows (it was lost, and made again it came out
    otherwise) is none.

    Raises:
        ContractError: if an artifact of the grid is missing (the craft stage was not finished).
    """
    targets = list(targets)
    cells = artifacts_in(case_tables, columns)
    progress.start(STAGE, cells * len(targets) * epochs, 0)
    with (
        Table(records / STAGE) as table,
        Table(records / "craft") as crafted,
        CallLog(records / "calls") as log,
    ):
        stage: Stage[Asked] = Stage(
            records / STAGE,
            progress,
            is_error=lambda row: row["stop"] == "error",
            unfit=partial(_shown_otherwise, crafted),
            retry_errors=retry_errors,
        )
        for target in targets:

            async def ask(asked: Asked, target: Target = target) -> Row:
                return await respond(target, asked, decoding, retries, log)

            pending = _pending(stage, table, crafted, case_tables, columns, target.id, decoding, epochs)
            await stage.run(pending, ask, concurrency)
    stage.close()
    return stage.count


def _pending(
    stage: Stage[Asked],
    table: Table,
    crafted: Table,
    case_tables: Sequence[CaseTable],
    columns: Sequence[Column],
    target: str,
    decoding: Decoding,
    epochs: int,
) -> Iterator[Todo[Asked]]:
    for case_table in case_tables:
        for column in columns:
            for rows in chunks(case_table.rows()):
                artifacts = column.keys(column.select(rows))
                for epoch in range(epochs):
                    keys = [answer_key(artifact, target, decoding, epoch) for artifact in artifacts]
                    shown = partial(_asked, crafted, artifacts, epoch)
                    yield from stage.missing(table, keys, shown)


def _shown_otherwise(crafted: Table, row: Row) -> bool:
    (artifact,) = crafted.rows([row["artifact"]])
    return artifact is not None and row.get("shown") not in (None, digest(artifact["conversation"]))


def _asked(crafted: Table, artifacts: Sequence[str], epoch: int, wanted: list[int]) -> list[Asked]:
    found = crafted.rows([artifacts[index] for index in wanted])
    if None in found:
        raise ContractError("an artifact of the grid is missing: run the craft stage first")
    return [Asked(row, epoch) for row in found if row is not None]


async def respond(target: Target, asked: Asked, decoding: Decoding, retries: int, log: CallLog) -> Row:
    """One response row: provider failures are retried with growing pauses and then become an error outcome.

    A request whose picture cannot be read is never sent.

    Raises:
        UsageError: what the user has to mend before any row can succeed; finished rows are kept.
    """
    artifact = asked.artifact
    problem = artifact.get("problem")
    if problem is not None:
        response = Response(text="", stop="error", error=problem, flags=(NOT_SENT,))
    else:
        calls = None
        if isinstance(target, MakesCalls):
            calls = log.of(answer_key(artifact["key"], target.id, decoding, asked.epoch))
        seeded = replace(decoding, seed=_seed(decoding, asked))
        conversation = conversation_of(artifact["conversation"])
        response = await reply(target, conversation, seeded, retries=retries, calls=calls)
    shown = digest(artifact["conversation"])
    return {"artifact": artifact["key"], "epoch": asked.epoch, "shown": shown, **plain_response(response)}


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
            failure = f"{type(bug).__name__}: {bug}"
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
