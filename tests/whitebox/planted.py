"""Victims of a few hundred weights whose answer is known to be reachable, for the engine's tests.

A planted target is what the victim says to some picture; every clean picture lies within eps of it and is
answered otherwise. Artifacts are computed one by one, so that a batch is bit for bit its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sightline.cases import Conversation
from sightline.rng import numpy_rng
from sightline.whitebox.victim import Pair, Rows

SIZE, LETTERS, LENGTH, WIDTH = 6, 8, 3, 5
VALUES = 3 * SIZE * SIZE


def pair(prompt: str = "say", target: str = "abc") -> Pair:
    return Pair(prompt=Conversation.user(prompt), target=target)


def _weights(*shape: int, key: object) -> Tensor:
    return torch.from_numpy(numpy_rng("planted", key).standard_normal(shape)).float()


@dataclass(eq=False)
class Toy:
    """Letter j has the logits A_j h(x) + b(prompt); h is the picture, or what a convolution makes of it."""

    seed: int = 0
    convolution: bool = False
    frozen_out: bool = False
    full_above: int | None = None
    pairs_above: int | None = None
    passes: list[int] = field(default_factory=list)
    together: list[int] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"toy-{self.seed}"

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def hidden(self, x: Tensor) -> Tensor:
        if not self.convolution:
            return (x - 0.5).flatten()
        kernel = _weights(6, 3, 3, 3, key=("kernel", self.seed))
        seen = torch.tanh(torch.nn.functional.conv2d((x - 0.5)[None], kernel, stride=1, padding=1))
        return seen.flatten()[::2]

    def logits(self, x: Tensor, words: Tensor) -> Tensor:
        """(LENGTH, LETTERS) of one picture and the summed word vectors (WIDTH,) of a prompt."""
        hidden = self.hidden(x)
        read = _weights(LENGTH, LETTERS, len(hidden), key=("read", self.seed)) / 3
        return (read * hidden).sum(-1) + 0.3 * (_weights(LENGTH, LETTERS, WIDTH, key="words") * words).sum(-1)

    def words(self, prompt: Conversation) -> Tensor:
        """(tokens, WIDTH), one token per word."""
        return torch.stack([_weights(WIDTH, key=word) for word in prompt.last_user_text().split()])

    def prompt_width(self, prompt: Conversation) -> tuple[int, int]:
        return len(prompt.last_user_text().split()), WIDTH

    def rows(self, x: Tensor, pairs: Sequence[Pair], *, perturbations: Sequence[Tensor | None] = ()) -> Rows:
        if self.full_above is not None and len(x) > self.full_above:
            raise torch.OutOfMemoryError("full")
        if self.pairs_above is not None and len(x) * len(pairs) > self.pairs_above:
            raise torch.OutOfMemoryError("full")
        self.passes.append(len(x))
        self.together.append(len(pairs))
        given = list(perturbations) or [None] * len(pairs)
        x = x.detach() if self.frozen_out else x
        each = []
        for number, picture in enumerate(x):
            for one, perturbation in zip(pairs, given, strict=True):
                words = self.words(one.prompt)
                summed = (words if perturbation is None else words + perturbation[number]).sum(0)
                each.append(self.logits(picture, summed)[: len(one.target)])
        t = sum(len(one.target) for one in pairs)
        ids = torch.tensor([ord(letter) - ord("a") for one in pairs for letter in one.target])
        place = torch.tensor([i for i, one in enumerate(pairs) for _ in one.target])
        return Rows(torch.cat(each).reshape(len(x), t, LETTERS), ids, place)

    def says(self, x: Tensor, prompt: str = "say") -> str:
        """The greedy answer to one picture."""
        best = self.logits(x, self.words(Conversation.user(prompt)).sum(0)).argmax(-1)
        return "".join(chr(ord("a") + int(letter)) for letter in best)


@dataclass(eq=False)
class Look:
    """An encoder: a fixed random projection."""

    seed: int = 0
    id: str = "look"
    full_above: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def features(self, x: Tensor, kind: str = "pooled") -> Tensor:
        if self.full_above is not None and len(x) > self.full_above:
            raise torch.OutOfMemoryError("full")
        weights = _weights(7, VALUES, key=("look", self.seed))
        return torch.stack([torch.tanh((weights * picture.flatten()).sum(-1) / 5) for picture in x])


@dataclass(frozen=True)
class Planted:
    victim: Toy
    clean: Tensor
    pairs: tuple[Pair, ...]


def plant(n: int, eps: int, *, seed: int = 0, convolution: bool = False) -> Planted:
    """`n` clean pictures at distance `eps` from one that gets the planted answer; none of them gets it.

    Each is that picture moved by eps in every value against the answer, but in a tenth to a half of them at
    random: the answer is reachable, some way off, and not by chance.
    """
    victim, rng = Toy(seed, convolution=convolution), numpy_rng("plant", seed)
    star = rng.integers(eps, 256 - eps, (3, SIZE, SIZE))
    answer = victim.says(torch.from_numpy(star).float() / 255)
    x = torch.from_numpy(star[None] / 255).float().requires_grad_(True)
    (slope,) = torch.autograd.grad(victim.rows(x, (pair(target=answer),)).nll.sum(), x)
    against = slope[0].sign().numpy()
    clean: list[Tensor] = []
    while len(clean) < n:
        random = rng.random(star.shape) < 0.1 * (1 + len(clean) % 5)
        near = torch.from_numpy(star + eps * np.where(random, rng.choice((-1, 1), star.shape), against))
        if victim.says(near.float() / 255) != answer:
            clean.append(near.to(torch.uint8))
    return Planted(victim, torch.stack(clean), (pair(target=answer),))
