"""What the tests of drawn puzzles share: the testbed's ordinary target, asked in the loop and at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from text_runs import refused

from sightline.cases import Case, Conversation, Turn
from sightline.contracts import Craft, Decoding
from sightline.judges.testbed_policy import TestbedPolicy
from sightline.records import Artifact, Draft, Outcome, Pixels, Response, Verdict
from sightline.store import Blobs
from sightline.study.seal import seal
from sightline.targets import open_target

TOKENS = Decoding(max_tokens=40)


class LiveTalk:
    """Satisfies `craft.Talk`: a model of the testbed as target, its judge in the loop, and no helper."""

    def __init__(self, blobs: Blobs) -> None:
        self.target = open_target("testbed/linear", blobs)
        self.judge = TestbedPolicy()
        self.asked = 0
        self.kept: list[Draft] = []

    async def ask(
        self, role: str, conversation: Conversation, *, max_tokens: int, temperature: float
    ) -> Response:
        raise AssertionError(f"there is no {role} here: {conversation} {max_tokens} {temperature}")

    async def picture_of(self, case: Case, prompt: str) -> Pixels:
        raise AssertionError(f"there is no image source here: {case.id} {prompt}")

    async def ask_target(self, conversation: Conversation) -> Response:
        self.asked += 1
        return await self.target.generate(conversation, TOKENS)

    async def verdict(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        return await self.judge.judge(case, shown, response)

    def keep(self, draft: Draft) -> None:
        self.kept.append(draft)


class Bench:
    """`testbed/linear`, what attacks send to it, and what the testbed's judge says of its answers."""

    def __init__(self, folder: Path, count: int = 12) -> None:
        self.blobs = Blobs(folder / "blobs")
        self.talk = LiveTalk(self.blobs)
        self.cases = refused(count)

    def sealed(self, attack: Any, cases: Sequence[Case], seed: int = 1) -> list[Artifact]:
        """Every draft written as PNG and read back."""
        ctx = Craft(images=self.blobs, seed=seed, attack=attack.card.name, talk=self.talk)
        if hasattr(attack, "converse"):
            drafts = [asyncio.run(attack.converse(case, ctx)) for case in cases]
        else:
            drafts = list(attack.craft(cases, ctx))
        return [seal(draft, self.blobs, key="", threat=attack.card.threat) for draft in drafts]

    def outcomes(self, attack: Any) -> list[Outcome]:
        """What becomes of each case: its script is played, the last reply judged."""
        return [
            asyncio.run(self._played(*pair))
            for pair in zip(self.cases, self.sealed(attack, self.cases), strict=True)
        ]

    def success(self, attack: Any) -> int:
        """How many of the cases are answered."""
        return self.outcomes(attack).count(Outcome.complied)

    async def _played(self, case: Case, artifact: Artifact) -> Outcome:
        shown = artifact.conversation
        reply = await self.talk.target.generate(shown, TOKENS)
        for turn in artifact.follow_ups:
            shown = shown.then(Turn("assistant", (reply.text,)), turn)
            reply = await self.talk.target.generate(shown, TOKENS)
        return (await self.talk.judge.judge(case, shown, reply)).outcome
