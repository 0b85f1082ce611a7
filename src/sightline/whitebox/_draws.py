"""Random numbers that depend on who draws and when, and on nothing else.

There is no running state: artifact and place in the run determine the numbers. So a batch equals serial
runs, an interrupted run goes on as if it had not been interrupted, and a step can be tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sightline.rng import numpy_rng, seed_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """What n artifacts draw at one place of a run; the same numbers in the same order every time.

    Attributes:
        seed: of the run.
        keys: one per artifact; equal keys draw equal numbers.
        place: where in the run, such as (step, call).
        device: on which tensors are drawn (another device has other numbers).
    """

    seed: int
    keys: tuple[int, ...]
    place: tuple[int, ...] = ()
    device: Any = "cpu"
    _made: dict[int, Any] = field(default_factory=dict)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform in [0, 1), float32 (n, *shape)."""
        return torch.stack([torch.rand(*shape, generator=g, device=self.device) for g in self._generators()])

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal, float32 (n, *shape)."""
        return torch.stack([torch.randn(*shape, generator=g, device=self.device) for g in self._generators()])

    def places(self, tops: int, lefts: int, count: int) -> list[list[tuple[int, int]]]:
        """For each artifact `count` places (top, left), uniform below `tops` and `lefts`; on the host."""
        drawn = []
        for key in self.keys:
            rng = numpy_rng("places", self.seed, key, *self.place)
            pairs = zip(
                rng.integers(0, tops, count).tolist(), rng.integers(0, lefts, count).tolist(), strict=True
            )
            drawn.append(list(pairs))
        return drawn

    def take(self, index: Sequence[int]) -> Draws:
        """The draws of some artifacts, from the beginning."""
        keys = tuple(self.keys[i] for i in index)
        return Draws(seed=self.seed, keys=keys, place=self.place, device=self.device)

    def _generators(self) -> list[Any]:
        for number, key in enumerate(self.keys):
            if number not in self._made:
                fresh = torch.Generator(device=self.device)
                self._made[number] = fresh.manual_seed(seed_of("draws", self.seed, key, *self.place))
        return [self._made[number] for number in range(len(self.keys))]
