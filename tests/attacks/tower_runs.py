"""What the tests of attacks on vision towers share: a small encoder with a text side, runs on the testbed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sightline.cases import Case
from sightline.contracts import Attack, Craft, Decoding
from sightline.judges.testbed_policy import TestbedPolicy
from sightline.records import Draft, Outcome, Pixels
from sightline.store import Blobs, encode_png
from sightline.study.seal import seal
from sightline.study.surrogates import LocalSurrogate
from sightline.targets import open_target


@dataclass
class Small:
    """Features: the mean color of each quarter of a picture, 12 values; texts have given ones."""

    id: str = "small"
    words: dict[str, Sequence[float]] | None = None
    looks: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        self.device = torch.device("cpu")
        if self.words is not None:
            self.texts = lambda texts: torch.tensor([self.words[text] for text in texts])

    def features(self, x: torch.Tensor, kind: str = "pooled") -> torch.Tensor:
        self.looks += len(x)
        return self.scale * torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@dataclass
class Stand:
    """A surrogate of a given encoder."""

    eye: Any
    id: str = "small"

    def encoder(self) -> Any:
        return self.eye

    def victim(self) -> Any:
        raise AssertionError("an attack on a tower looked at the language model")


@dataclass
class Drawn:
    """The part of a release that draws."""

    blobs: Blobs

    def draw(self, pixels: Pixels) -> Any:
        return self.blobs.put(encode_png(pixels))


class Testbed:
    """`testbed/linear`, as target and as surrogate."""

    __test__ = False

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.target = open_target("testbed/linear", blobs)
        self.surrogate = LocalSurrogate("testbed/linear", self.target)

    def drafts(self, attack: Attack, cases: Sequence[Case], seed: int = 1) -> Iterator[Draft]:
        return attack.craft(cases, Craft(images=self.blobs, seed=seed, surrogates=(self.surrogate,)))

    def outcomes(self, attack: Attack, drafts: Sequence[Draft]) -> list[Outcome]:
        """Each draft sealed as PNG, shown to the ordinary target, judged."""
        return [self._outcome(attack, draft) for draft in drafts]

    def _outcome(self, attack: Attack, draft: Draft) -> Outcome:
        assert attack.card.threat is not None
        shown = seal(draft, self.blobs, key="", threat=attack.card.threat).conversation
        reply = asyncio.run(self.target.generate(shown, Decoding(max_tokens=40)))
        return asyncio.run(TestbedPolicy().judge(draft.case, shown, reply)).outcome
