"""What a judge is asked, and its verdicts, read as the judge stage of a run reads them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from sightline.cases import Case, Conversation
from sightline.contracts import CountsCalls, Judge, NeedsTarget
from sightline.digests import digest
from sightline.plain import plain_case, plain_conversation, plain_response, verdict_of
from sightline.records import Response, Verdict
from sightline.study.judging import Sample, verdict_on

AT_ONCE = 16


@runtime_checkable
class HasGrammar(Protocol):
    """A judge that says what its graders have to write."""

    @property
    def grammar(self) -> str:
        """In one line."""
        ...


def asks_model(judge: Judge) -> bool:
    """Whether a judge asks a model, and may say something else the next time."""
    return isinstance(judge, NeedsTarget) and (not isinstance(judge, CountsCalls) or judge.calls > 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a judge is asked about: a case, what was shown, a reply."""

    case: Case
    shown: Conversation
    reply: str


class Asking:
    """Verdicts of one judge, at most so many at once; what was asked before is not asked again."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._known: dict[str, asyncio.Task[Verdict]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def verdict(self, asked: Asked) -> Verdict:
        """The verdict; an `error` if the judge is down."""
        key = digest(plain_case(asked.case), plain_conversation(asked.shown), asked.reply)
        if key not in self._known:
            self._known[key] = asyncio.create_task(self._ask(asked))
        return await self._known[key]

    async def _ask(self, asked: Asked) -> Verdict:
        shown = {"conversation": plain_conversation(asked.shown)}
        response = {"key": "", **plain_response(Response(text=asked.reply))}
        async with self._room:
            began = time.perf_counter()
            found = verdict_of(await verdict_on(self._judge, Sample(plain_case(asked.case), shown, response)))
            spent = time.perf_counter() - began
        return replace(found, cost=replace(found.cost, seconds=found.cost.seconds or spent))
