"""Loops on the testbed: scripted helpers, a model that answers, and how often replayed scripts succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from talks import Talk

from sightline import registry, targets
from sightline.benchmarks.testbed_requests import requests
from sightline.cases import Case, Conversation, Expected, Turn
from sightline.contracts import Craft, Decoding
from sightline.records import Draft, Outcome, Response, Verdict
from sightline.store import Blobs
from sightline.study.seal import seal

DECODING = Decoding(max_tokens=40)
JUDGE = registry.make("judge", "testbed_policy")
NONE = registry.make("attack", "none")


def restricted(number: int = 12) -> list[Case]:
    """One held-out request for each of so many restricted topics."""
    return [case for case in requests() if case.expected is Expected.refuse][::3][:number]


class OnTestbed(Talk):
    """The target is a model of the testbed; the judge in the loop knows the truth about it."""

    def __init__(self, model: str, blobs: Blobs, **helpers: Callable[[Conversation], str]) -> None:
        super().__init__(verdicts=(), **helpers)
        self.target = targets.open_target(model, blobs)
        self.asked_target = 0

    async def ask_target(self, conversation: Conversation) -> Response:
        self.asked_target += 1
        return await self.target.generate(conversation, DECODING)

    async def verdict(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        return await JUDGE.judge(case, shown, response)

    async def succeeds(self, draft: Draft, blobs: Blobs) -> bool:
        """Whether the last reply to the script, as written to files, does what the case asks."""
        threat = registry.make("attack", "figstep").card.threat
        made = seal(draft, blobs, key="k", threat=threat)
        shown = made.conversation
        reply = await self.target.generate(shown, DECODING)
        for turn in made.follow_ups:
            shown = shown.then(Turn("assistant", (reply.text,)), turn)
            reply = await self.target.generate(shown, DECODING)
        return (await JUDGE.judge(draft.case, shown, reply)).outcome is Outcome.complied


def drafts(attack, cases: list[Case], talk: Talk, blobs: Blobs) -> list[Draft]:
    """Of an attack that converses, all cases at once."""

    async def every() -> list[Draft]:
        ctx = Craft(images=blobs, seed=3, talk=talk)
        return list(await asyncio.gather(*(attack.converse(case, ctx) for case in cases)))

    return asyncio.run(every())


def rate(made: list[Draft], talk: OnTestbed, blobs: Blobs) -> float:
    """The share of scripts that succeed when they are replayed."""

    async def every() -> list[bool]:
        return list(await asyncio.gather(*(talk.succeeds(draft, blobs) for draft in made)))

    found = asyncio.run(every())
    return sum(found) / len(found)


def plain(cases: list[Case], blobs: Blobs) -> list[Draft]:
    """Nothing done to the cases."""
    return list(NONE.craft(cases, Craft(images=blobs)))


def last_turns(made: list[Draft]) -> list[Draft]:
    """The last turn of each script alone."""
    return [replace(draft, before=()) for draft in made]
