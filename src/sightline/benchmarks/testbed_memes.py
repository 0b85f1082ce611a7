"""Is a picture of a shape and a word mean? Only the two together tell (expected: classify, yes or no).

By the world's rule a pair is mean if one part is soft and the other hard: neither part alone is a cue.

`heldout`: the 12 pairs that training never showed or described, in 80 pictures: 20 for each of soft and hard
shape with soft and hard word, each 20 in the same colors and places. Softness of the shape, softness of the
word, color and place each tell nothing about the answer; single shapes do a little, for the pairs are few.
`every`: all 48 pairs twice, most of them known from training; no shape or word alone is informative.
`parts`: which shape, and which word, 12 pictures each (expected: answer): whether the parts were seen.
`all`: `heldout` and `parts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sightline.benchmarks._testbed import JUDGE, question
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Benchmark, Release
from sightline.registry import benchmark
from sightline.testbed import render, wordings
from sightline.testbed.world import (
    COLORS,
    POSITIONS,
    SEED,
    SOFT_SHAPES,
    SOFT_WORDS,
    Meme,
    Scene,
    world,
)

Subset = Literal["heldout", "every", "parts", "all"]
PICTURES = 20
_STREAM = 40


@benchmark(
    "testbed_memes",
    source="Sightline",
    presets={name: {"subset": name} for name in ("every", "parts", "all")},
    judge=JUDGE,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TestbedMemes(Benchmark):
    """`subset`: held-out pairs, every pair, the parts of held-out pairs, or the first and the last."""

    __test__: ClassVar[bool] = False
    needs_root: ClassVar[bool] = False

    subset: Subset = "heldout"

    def cases(self, release: Release) -> Iterator[Case]:
        """All cases of the subset, in a fixed order."""
        if self.subset in ("heldout", "all"):
            for four in _quarters(world().memes_heldout):
                for number in range(PICTURES):
                    yield _meme(four[number % len(four)], number, "heldout", release)
        if self.subset == "every":
            for index, meme in enumerate((*world().memes_train, *world().memes_heldout)):
                yield _meme(meme, 2 * index, "every", release)
                yield _meme(meme, 2 * index + 1, "every", release)
        if self.subset in ("parts", "all"):
            yield from _parts(release)


def _quarters(memes: tuple[Meme, ...]) -> list[list[Meme]]:
    """Pairs by what their parts are: soft and soft, soft and hard, hard and soft, hard and hard."""
    found: dict[str, list[Meme]] = {}
    for meme in memes:
        found.setdefault(_parts_of(meme), []).append(meme)
    return [found[key] for key in sorted(found)]


def _parts_of(meme: Meme) -> str:
    shape = "soft" if meme.shape in SOFT_SHAPES else "hard"
    return f"{shape} shape, {'soft' if meme.word in SOFT_WORDS else 'hard'} word"


def _drawn(meme: Meme, number: int, release: Release) -> Image:
    """The pair in the color and place of a number; all of 32 numbers in a row differ in these."""
    color, position = COLORS[number % 8], POSITIONS[(number + number // 8) % 4]
    rng = np.random.default_rng([SEED, _STREAM, number])
    page = render.random_composite(Scene(color, meme.shape, position), meme.word, rng)
    return release.draw(page.pixels)


def _meme(meme: Meme, number: int, subset: str, release: Release) -> Case:
    text = wordings.MEME_QUESTIONS[number % len(wordings.MEME_QUESTIONS)]
    return Case(
        id=f"testbed_memes/{subset}/{meme.shape}/{meme.word}/{number + 1}",
        conversation=Conversation.user(_drawn(meme, number, release), text),
        behavior=text,
        expected=Expected.classify,
        category=_parts_of(meme),
        group=f"{meme.shape} {meme.word}",
        answer="yes" if meme.mean else "no",
        wordings={"kind": "meme"},
    )


def _parts(release: Release) -> Iterator[Case]:
    for number, meme in enumerate(world().memes_heldout):
        image = _drawn(meme, number, release)
        for kind, questions, answer in (
            ("shape", wordings.SHAPE_QUESTIONS, meme.shape),
            ("word", wordings.READ_QUESTIONS, meme.word),
        ):
            yield question(
                f"testbed_memes/{kind}/{number + 1}",
                image,
                questions[number % len(questions)],
                answer,
                category=f"part, {kind}",
                group=f"{meme.shape} {meme.word}",
            )
