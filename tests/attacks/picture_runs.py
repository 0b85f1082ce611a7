"""What the tests of attacks on a case's own picture share: captions of the testbed, its target, controls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sightline import whitebox
from sightline.cases import Case, Conversation, Expected, Image, Turn
from sightline.contracts import Attack, Craft, Decoding
from sightline.records import Artifact, Pixels
from sightline.store import Blobs
from sightline.study.seal import seal
from sightline.study.surrogates import LocalSurrogate
from sightline.targets import open_target
from sightline.testbed import render, wordings
from sightline.testbed.world import world

LOOK = wordings.CAPTION_QUESTIONS[2]
Recorded = list[dict[str, Any]]


def shown(image: Image, question: str, id: str, answer: str | None = "a moss line") -> Case:
    """A question about a picture."""
    return Case(
        id=id,
        conversation=Conversation.user(image, question),
        behavior=question,
        expected=Expected.answer,
        category="c",
        group=id,
        answer=answer,
    )


def captions(blobs: Blobs, count: int, question: str = LOOK) -> list[Case]:
    """Scenes that were held out of training, and what is to be said about them."""
    return [
        shown(blobs.put_pixels(render.scene_page(s).pixels), question, f"scene/{i}", s.caption.strip(" ."))
        for i, s in enumerate(world().scenes_heldout[:count])
    ]


def questions(blobs: Blobs, count: int) -> list[Case]:
    """Scenes that were held out of training, each asked for its color, shape or place."""
    asked = []
    for i, s in enumerate(world().scenes_heldout[:count]):
        forms = (wordings.COLOR_QUESTIONS, wordings.SHAPE_QUESTIONS, wordings.POSITION_QUESTIONS)[i % 3]
        image = blobs.put_pixels(render.scene_page(s).pixels)
        asked.append(shown(image, forms[i % 2], f"question/{i}", (s.color, s.shape, s.position)[i % 3]))
    return asked


def noisy(clean: Pixels, levels: int, seed: int = 0) -> Pixels:
    """Every value moved by as much as the attack may, up or down at random: a control of no smaller norm."""
    signs = np.random.default_rng(seed).choice([-1, 1], clean.shape)
    moved: Pixels = np.clip(clean.astype(int) + levels * signs, 0, 255).astype(np.uint8)
    return moved


class Testbed:
    """`testbed/linear` as surrogate, and as the ordinary target that reads written files."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.blobs = Blobs(folder / "blobs")
        self.target = open_target("testbed/linear", self.blobs)
        self.surrogate = LocalSurrogate("testbed/linear", self.target)

    def sealed(self, attack: Attack, cases: Sequence[Case], seed: int = 1) -> list[Artifact]:
        """Every draft written as PNG, read back and measured."""
        assert attack.card.threat is not None
        threat = attack.card.threat
        drafts = attack.craft(cases, Craft(images=self.blobs, seed=seed, surrogates=(self.surrogate,)))
        return [seal(draft, self.blobs, key="", threat=threat) for draft in drafts]

    def reply(self, conversation: Conversation) -> str:
        """The ordinary target's greedy answer."""
        return asyncio.run(self.target.generate(conversation, Decoding(max_tokens=24))).text

    def answers(self, pictures: Sequence[Pixels | Image], cases: Sequence[Case]) -> list[str]:
        """The answer to each case's own question beside a picture."""
        asked = [case.conversation.last_user_text() for case in cases]
        return [self.ask(*pair) for pair in zip(pictures, asked, strict=True)]

    def clean(self, cases: Sequence[Case]) -> list[Pixels]:
        """The cases' own pictures."""
        return [self.blobs.pixels(next(case.conversation.images)) for case in cases]

    def ask(self, picture: Pixels | Image, *said: str) -> str:
        """The last answer of a dialog about a picture: question, answer, question, ..."""
        image = picture if isinstance(picture, Image) else self.blobs.put_pixels(picture)
        first = Turn("user", (image, said[0]))
        later = (Turn("user" if i % 2 else "assistant", (text,)) for i, text in enumerate(said[1:]))
        return self.reply(Conversation((first, *later)))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Calls of `minimize`, none of which is carried out: every picture stays as it is."""
    calls: Recorded = []

    def fake(problem: whitebox.Problem, **given: Any) -> whitebox.SearchResult:
        calls.append({"problem": problem, **given})
        clean = problem.constraint.clean
        n = len(clean)
        return whitebox.SearchResult(
            theta=clean.float() / 255,
            pixels=tuple(whitebox.as_pixels(clean)),
            best=(whitebox.Check(0, 1.0, 0.0),) * n,
            stop_reasons=("steps",) * n,  # type: ignore[arg-type]
            losses=((),) * n,
            checks=((),) * n,
            costs=(SimpleNamespace(),) * n,  # type: ignore[arg-type]
        )

    monkeypatch.setattr(whitebox, "minimize", fake)
    return calls


def blind(blobs: Blobs, seed: int = 1) -> Craft:
    """A context whose surrogate is a model that nobody looks into."""
    model = SimpleNamespace(id="blind", device=torch.device("cpu"))
    surrogate: Any = SimpleNamespace(id="blind", victim=lambda: model)
    return Craft(images=blobs, seed=seed, surrogates=(surrogate,))
