"""Pictures that a captioner and the attacker make say more and more: stage 2 of `hades`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from sightline.attacks.answers import parts
from sightline.attacks.dialogue import ask_until_read, prompt, put
from sightline.attacks.templates import filled
from sightline.attacks.typographic._pipeline import ours
from sightline.cases import Case, Conversation
from sightline.craft import Craft
from sightline.records import Pixels

T = TypeVar("T")
_SCORE = re.compile(r"(10|[1-9])(?: ?/ ?10)?\.?")


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One picture: the prompt that it shows, what the captioner says of it, the attacker's score of that."""

    number: int
    prompt: str
    picture: Pixels
    caption: str = ""
    score: int = 0
    why: str = ""

    @property
    def told(self) -> str:
        """As the attacker is told of it."""
        slots = {"step": str(self.number), "score": str(self.score), "why": self.why}
        return filled(ours("hades", "attempt"), prompt=self.prompt, caption=self.caption, **slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplifier:
    """Draws a picture, has it described and scored, and has its prompt rewritten, `iterations` times.

    With no iterations the picture is drawn and neither described nor scored.
    """

    ctx: Craft
    case: Case
    request: str
    iterations: int
    tries: int
    max_words: int
    max_tokens: int
    temperature: float
    caption_temperature: float

    async def steps(self, first: str) -> AsyncIterator[Step]:
        """The pictures, from that of the first prompt on."""
        told = list[str]()
        wording = first
        for number in range(self.iterations + 1):
            if number:
                wording = await self._rewritten(told)
            step = Step(number, wording, await self.ctx.picture_of(self.case, wording))
            if self.iterations:
                step = await self._scored(step)
            told.append(step.told)
            yield step

    async def first_prompt(self) -> str:
        """What the attacker would draw of the request.

        Raises:
            UsageError: if its answers cannot be read.
        """
        system = filled(ours("hades", "first"), words=str(self.max_words))
        question = prompt(system, filled(ours("hades", "ask"), request=self.request))
        return await self._ask(question, self._prompt_in("scene"))

    async def _rewritten(self, told: list[str]) -> str:
        system = filled(ours("hades", "rewrite"), words=str(self.max_words), request=self.request)
        return await self._ask(prompt(system, "\n\n".join(told)), self._prompt_in("improvement"))

    async def _scored(self, step: Step) -> Step:
        caption = await ask_until_read(
            self.ctx,
            "captioner",
            Conversation.user(put(self.ctx, step.picture), ours("hades", "caption")),
            str.strip,
            tries=self.tries,
            max_tokens=self.max_tokens,
            temperature=self.caption_temperature,
        )
        described = filled(ours("hades", "described"), caption=caption)
        score, why = await self._ask(prompt(ours("hades", "score"), described), read_score)
        return Step(step.number, step.prompt, step.picture, caption, score, why)

    async def _ask(self, question: Conversation, read: Callable[[str], T]) -> T:
        return await ask_until_read(
            self.ctx,
            "attacker",
            question,
            read,
            tries=self.tries,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )

    def _prompt_in(self, beside: str) -> Callable[[str], str]:
        """Reads a prompt of at most `max_words` words, beside another part."""
        blocks = parts(beside, "prompt")

        def read(text: str) -> str:
            found = " ".join(blocks(text)["prompt"].split())
            if len(found.split()) > self.max_words:
                raise ValueError(f"<prompt> has more than {self.max_words} words")
            return found

        return read


def read_score(text: str) -> tuple[int, str]:
    """A score of 1 to 10 and its reason. Raises ValueError for any other text."""
    found = parts("score", "why")(text)
    number = _SCORE.fullmatch(found["score"])
    if number is None:
        raise ValueError("<score> is not a whole number from 1 to 10")
    return int(number[1]), " ".join(found["why"].split())
