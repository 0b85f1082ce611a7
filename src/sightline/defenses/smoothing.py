"""Answer several copies of a request, each with text or pixels changed at random; the majority decides.

SmoothLLM (Robey et al. 2023) changes characters: `swap` replaces some, `patch` a stretch of them, `insert`
adds some. SmoothVLM (Sun et al. 2024, no public code) changes pixels: here `mask` blackens some, `swap`
replaces some by others of the picture, `random` by random colors. A judge by rule says of each copy's answer
whether it is a refusal; the user gets the first answer on the majority's side, a tie counting as a refusal.
The official code (arobey1/smooth-llm, lib/defenses.py) returns a random one of these, unseeded, and searches
its prefixes anywhere in the answer. A request that is drawn to be read survives most of these changes, and
too much change makes a model refuse what is harmless: report over-refusal beside it.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sightline import registry
from sightline.cases import Conversation, Part, Turn
from sightline.contracts import Defending, Defense
from sightline.defenses._refusals import read_refusal, refusal_judge
from sightline.errors import UsageError, require
from sightline.records import WITHHELD, Outcome, Pixels, Response
from sightline.whitebox import through

if TYPE_CHECKING:
    from numpy.random import Generator

    from sightline.whitebox.victim import Victim

TextChange = Literal["none", "swap", "patch", "insert"]
PixelChange = Literal["none", "mask", "swap", "random"]
PRINTABLE = string.printable.rstrip(string.whitespace) + " "
_UNDECIDED = frozenset({Outcome.unparsed, Outcome.error})


@registry.defense(
    "smoothing",
    paper="arXiv:2310.03684; arXiv:2405.10529",
    source="arobey1/smooth-llm, lib/defenses.py (facts only)",
    presets={
        "smoothllm": {"text": "swap", "pixels": "none"},
        "smoothvlm": {"text": "none", "pixels": "mask"},
        "testbed": {
            "text": "none",
            "pixels": "random",
            "copies": 5,
            "refusals": "refusal_prefix(phrases='testbed')",
        },
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing(Defense):
    """Settings.

    Attributes:
        text: how the last user turn's text is changed: `none`, `swap`, `patch` or `insert`.
        pixels: how all pictures are: `none`, `mask`, `swap` or `random`.
        copies: that are answered, at most: no more are once the majority is certain.
        text_share: of the characters that are changed, rounded up.
        pixel_share: of the pixels, rounded up.
        refusals: the judge by rule that says whether an answer is a refusal: `name` or `name(setting=value)`.
    """

    text: TextChange = "swap"
    pixels: PixelChange = "mask"
    copies: int = 10
    text_share: float = 0.1
    pixel_share: float = 0.1
    refusals: str = "refusal_prefix"
    _judge: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(1 <= self.copies <= 100, "copies", self.copies, "1..100")
        require(0 < self.text_share <= 1, "text_share", self.text_share, "above 0, at most 1")
        require(0 < self.pixel_share <= 1, "pixel_share", self.pixel_share, "above 0, at most 1")
        if self.text == self.pixels == "none":
            raise UsageError("defense 'smoothing' changes nothing: set text or pixels")
        object.__setattr__(self, "_judge", refusal_judge(self.refusals))

    @property
    def inner(self) -> tuple[Any, ...]:
        """The judge of refusals."""
        return (self._judge,)

    @property
    def calls(self) -> int:
        """One for each copy."""
        return self.copies

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Answer copies until the majority is certain."""
        answers: dict[bool, list[Response]] = {True: [], False: []}  # by whether it is a refusal
        unread = False
        for number in range(self.copies):
            copy = self._changed(conversation, ctx, number)
            answer = await ctx.generate(copy, purpose=f"copy {number + 1}")
            verdict = await read_refusal(self._judge, copy, answer)
            unread = unread or verdict.outcome in _UNDECIDED
            answers[verdict.outcome in WITHHELD].append(answer)
            if len(answers[True]) >= self.copies / 2 or len(answers[False]) > self.copies / 2:
                break
        refused = len(answers[True]) >= self.copies / 2
        flags = (f"smoothing:{len(answers[True])}_of_{sum(map(len, answers.values()))}_refused",)
        return _flagged(answers[refused][0], *flags, *(("smoothing_unparsed",) if unread else ()))

    def _changed(self, conversation: Conversation, ctx: Defending, number: int) -> Conversation:
        """One copy: chance follows from the request, the study's seed and the copy's number."""
        rng = ctx.rng("copy", number)
        found = self._changed_prompt(conversation, rng)
        if self.pixels == "none":
            return found
        turns = []
        for turn in found.turns:
            shown: list[Part] = []
            for part in turn.parts:
                if isinstance(part, str):
                    shown.append(part)
                    continue
                shown.append(ctx.images.put_pixels(self._changed_pixels(ctx.images.pixels(part), rng)))
            turns.append(Turn(turn.role, tuple(shown)))
        return Conversation(tuple(turns))

    def through(self, victim: Victim) -> Victim:
        """See `through.PassesGradients`: several copies per picture; pixels that are replaced pass none."""
        text, pixels = self.text != "none", self.pixels != "none"
        return through.changed(
            self,
            victim,
            prompt=self._changed_prompt if text else None,
            pixels=self._changed_pixels if pixels else None,
            kept=True,
            random=(text, pixels),
        )

    def _changed_prompt(self, conversation: Conversation, rng: Generator) -> Conversation:
        if self.text == "none":
            return conversation
        parts: list[Part] = [
            part if not isinstance(part, str) else changed_text(part, self.text, self.text_share, rng)
            for part in conversation.last_user_turn.parts
        ]
        return conversation.with_last_user(*parts)

    def _changed_pixels(self, pixels: Pixels, rng: Generator) -> Pixels:
        return pixels if self.pixels == "none" else changed_pixels(pixels, self.pixels, self.pixel_share, rng)


def _flagged(answer: Response, *flags: str) -> Response:
    return replace(answer, flags=(*answer.flags, *flags))


def changed_text(text: str, how: TextChange, share: float, rng: Generator) -> str:
    """A text with a share of its characters changed; an empty one stays."""
    if not text:
        return text
    count = min(len(text), ceil(share * len(text) - 1e-9))
    drawn = [PRINTABLE[at] for at in rng.integers(len(PRINTABLE), size=count)]
    letters = list(text)
    if how == "patch":
        start = int(rng.integers(len(text) - count + 1))
        letters[start : start + count] = drawn
        return "".join(letters)
    places = rng.choice(len(text), size=count, replace=False)
    for place, letter in zip(places, drawn, strict=True):
        letters[place] = letters[place] + letter if how == "insert" else letter
    return "".join(letters)


def changed_pixels(pixels: Pixels, how: PixelChange, share: float, rng: Generator) -> Pixels:
    """A picture (uint8 RGB, height x width x 3) with a share of its pixels changed."""
    flat = np.array(pixels).reshape(-1, 3)
    count = min(len(flat), ceil(share * len(flat) - 1e-9))
    places = rng.choice(len(flat), size=count, replace=False)
    flat[places] = _PIXELS[how](flat, count, rng)
    return flat.reshape(pixels.shape)


def _masked(flat: Pixels, count: int, rng: Generator) -> Pixels:  # noqa: ARG001
    return np.zeros((count, 3), np.uint8)


def _swapped(flat: Pixels, count: int, rng: Generator) -> Pixels:
    return flat[rng.integers(len(flat), size=count)]


def _random(flat: Pixels, count: int, rng: Generator) -> Pixels:  # noqa: ARG001
    return rng.integers(0, 256, (count, 3), dtype=np.uint8)


_PIXELS: Mapping[str, Callable[[Pixels, int, Generator], Pixels]] = {
    "mask": _masked,
    "swap": _swapped,
    "random": _random,
}
