"""What the tests of attacks on vision towers share: a small encoder with a text side, runs on the testbed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from sightline.cases import Case, Conversation
from sightline.contracts import Attack, Craft, Decoding
from sightline.errors import UsageError
from sightline.judges.testbed_policy import TestbedPolicy
from sightline.records import Draft, Outcome, Pixels, Response
from sightline.store import Blobs, encode_png
from sightline.study.seal import seal
from sightline.study.surrogates import EncoderSurrogate, LocalSurrogate
from sightline.targets import open_target
from sightline.whitebox.pixels import from_pixels, unit


@dataclass
class Small:
    """Features: the mean color of each quarter of a picture, 12 values; texts have given ones."""

    id: str = "small"
    words: dict[str, Sequence[float]] | None = None
    looks: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        self.device = torch.device("cpu")
        self.labels: tuple[str, ...] = ()

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        if self.words is None:
            raise UsageError(f"{self.id} has no text tower")
        return torch.tensor([self.words[text] for text in texts])

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

    def alone(self, folder: Path) -> EncoderSurrogate:
        """The model's vision tower in a folder of its own: no language model is there to be looked at."""
        tower = self.surrogate.victim().model.base_model.vision_tower
        plain = {name: weight.detach().clone() for name, weight in tower.state_dict().items()}
        type(tower)(tower.config).save_pretrained(folder, state_dict=plain)
        AutoImageProcessor.from_pretrained(self.target.source.folder, backend="pil").save_pretrained(folder)
        return EncoderSurrogate(f"encoder/{folder}")

    def outcomes(self, attack: Attack, drafts: Sequence[Draft]) -> list[Outcome]:
        """Each draft sealed as PNG, shown to the ordinary target, judged."""
        return [self._outcome(attack, draft) for draft in drafts]

    def replies(self, attack: Attack, drafts: Sequence[Draft]) -> list[str]:
        """What the ordinary target says to each draft, sealed as PNG."""
        return [self._asked(attack, draft)[1].text for draft in drafts]

    def _asked(self, attack: Attack, draft: Draft) -> tuple[Conversation, Response]:
        assert attack.card.threat is not None
        shown = seal(draft, self.blobs, key="", threat=attack.card.threat).conversation
        return shown, asyncio.run(self.target.generate(shown, Decoding(max_tokens=40)))

    def _outcome(self, attack: Attack, draft: Draft) -> Outcome:
        shown, reply = self._asked(attack, draft)
        return asyncio.run(TestbedPolicy().judge(draft.case, shown, reply)).outcome


def shuffled(draft: Draft) -> Draft:
    """The same change with its values in another order, each up or down: noise of equal norms."""
    assert draft.image is not None
    clean = np.full_like(draft.image, 255) if draft.clean is None else draft.clean
    moved = (draft.image.astype(int) - clean).ravel()
    rng = np.random.default_rng(0)
    moved = rng.permutation(moved)
    if draft.clean is not None:  # from white there is only one way
        moved *= rng.choice((-1, 1), moved.size)
    noise = (clean + moved.reshape(clean.shape)).clip(0, 255).astype(np.uint8)
    return replace(draft, image=noise)


def written(attack: Attack, draft: Draft, blobs: Blobs) -> torch.Tensor:
    """The picture of a draft as a detector would read its file, (1, 3, h, w)."""
    assert attack.card.threat is not None
    (image,) = seal(draft, blobs, key="", threat=attack.card.threat).conversation.images
    return unit(from_pixels([blobs.pixels(image)]))


def named_by(encoder: Any, pictures: torch.Tensor, words: Sequence[str]) -> list[str]:
    """The word that a CLIP finds nearest to each picture."""
    looks, texts = encoder.features(pictures, "projected"), encoder.texts(words)
    best = torch.nn.functional.normalize(looks) @ torch.nn.functional.normalize(texts).T
    return [words[place] for place in best.argmax(1).tolist()]
