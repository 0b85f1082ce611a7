"""Which prompts and targets a step sees. A draw depends on seed and step alone, so runs can be taken up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.cases import Conversation
from sightline.errors import UsageError, require
from sightline.rng import numpy_rng
from sightline.whitebox.victim import Pair

BLOCK = 4096
"""Random numbers drawn at a time: drawing for many steps at once is what makes a draw cheap."""


class Sampler(Protocol):
    """Pairs of prompt and target for every step."""

    @property
    def pool(self) -> tuple[Pair, ...]:
        """All pairs that can be drawn up to templates, in a fixed order."""
        ...

    def draw(self, step: int, seed: int, /) -> tuple[Pair, ...]:
        """The pairs of a step, counted from 0."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPairs:
    """The same pairs at every step. None at all for objectives on encoders alone."""

    pool: tuple[Pair, ...] = ()

    def draw(self, _step: int, _seed: int) -> tuple[Pair, ...]:
        return self.pool


@dataclass(frozen=True, slots=True)
class WithoutReplacement:
    """`k` different pairs at each step, each with equal chance whatever came before (Qi et al.)."""

    pool: tuple[Pair, ...]
    k: int

    def __post_init__(self) -> None:
        _some(self.pool)
        require(1 <= self.k <= len(self.pool), "k", self.k, f"1 to {len(self.pool)}, the number of pairs")

    def draw(self, step: int, seed: int) -> tuple[Pair, ...]:
        block = max(1, BLOCK // len(self.pool))
        chosen = _choices(len(self.pool), self.k, seed, step // block, block)[step % block]
        return tuple(self.pool[int(i)] for i in chosen)


@dataclass(frozen=True, slots=True)
class Rotating:
    """`k` pairs at a time, round after round through all of them (CroPA); a new order for every round."""

    pool: tuple[Pair, ...]
    k: int = 1
    shuffled: bool = True

    def __post_init__(self) -> None:
        _some(self.pool)
        require(1 <= self.k <= len(self.pool), "k", self.k, f"1 to {len(self.pool)}, the number of pairs")

    def draw(self, step: int, seed: int) -> tuple[Pair, ...]:
        """See `Sampler`. A step across two rounds may hold a pair twice."""
        return tuple(
            self.pool[i] for i in _visits(len(self.pool), self.k, step, seed if self.shuffled else None)
        )


@dataclass(frozen=True, slots=True)
class Contexts:
    """Contexts of which each has its own target, behind one of several system texts (Bailey et al.).

    Attributes:
        contexts: conversations that end with a user turn and show the attacked picture.
        answer: the target of a context.
        systems: system texts, one drawn for each context at each step; '' is none.
        k: contexts per step; rounds as in `Rotating`.
        closed: whether the targets end the turn.
    """

    contexts: tuple[Conversation, ...]
    answer: Callable[[Conversation], str]
    systems: tuple[str, ...] = ("",)
    k: int = 1
    closed: bool = True

    def __post_init__(self) -> None:
        _some(self.contexts)
        _some(self.systems)
        require(1 <= self.k <= len(self.contexts), "k", self.k, f"1 to {len(self.contexts)}, the contexts")

    @property
    def pool(self) -> tuple[Pair, ...]:
        """Every context behind the first system text."""
        return tuple(self._pair(context, self.systems[0]) for context in self.contexts)

    def draw(self, step: int, seed: int) -> tuple[Pair, ...]:
        texts = numpy_rng("systems", seed, step).integers(0, len(self.systems), self.k)
        visits = _visits(len(self.contexts), self.k, step, seed)
        return tuple(
            self._pair(self.contexts[i], self.systems[j]) for i, j in zip(visits, texts, strict=True)
        )

    def _pair(self, context: Conversation, system: str) -> Pair:
        prompt = context.with_system(system) if system else context
        return Pair(prompt=prompt, target=self.answer(context), closed=self.closed)


def _some(values: Sequence[object]) -> None:
    if not values:
        raise UsageError("nothing to draw from: give at least one pair, context or system text")


def _visits(size: int, k: int, step: int, seed: int | None) -> list[int]:
    """The `k` places that step visits in endless rounds through `size` places."""
    at = range(step * k, step * k + k)
    return [int(_order(size, seed, place // size)[place % size]) for place in at]


@lru_cache(maxsize=8)
def _choices(size: int, k: int, seed: int, block: int, steps: int) -> NDArray[np.int64]:
    """`k` of `size` places without replacement for each of a block of steps, (steps, k)."""
    rng = numpy_rng("without replacement", seed, block)
    return rng.random((steps, size)).argsort(axis=1)[:, :k]


@lru_cache(maxsize=8)
def _order(size: int, seed: int | None, turn: int) -> NDArray[np.int64]:
    if seed is None:
        return np.arange(size)
    return numpy_rng("round", seed, turn).permutation(size)
