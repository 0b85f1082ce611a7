"""Bounds on the whole picture: l-infinity ball, l2 ball, box; and the box of a prompt's embeddings.

Theta is the picture itself. Clean pictures are levels, so that the bound of a file is one of integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sightline.cases import Eps
from sightline.errors import require
from sightline.whitebox._draws import Draws
from sightline.whitebox._pictures import Init, first_theta, known_clean, known_init, lengths, rounded, unit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinfBall:
    """|x - clean| <= eps in every value, and 0 <= x <= 1; theta is the picture.

    Raises:
        UsageError: for an eps below one level, which no file can show.
    """

    clean: Tensor
    eps: Eps
    init: Init = "clean"
    _low: Tensor = field(init=False, repr=False)
    _high: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known_clean(self.clean)
        known_init(self.init)
        require(self.eps.raw >= 1, "eps", self.eps.raw, "1 to 255: a file changes by whole levels")
        clean = unit(self.clean)
        object.__setattr__(self, "_low", (clean - self.eps.unit).clamp(min=0))
        object.__setattr__(self, "_high", (clean + self.eps.unit).clamp(max=1))

    @property
    def samples(self) -> int:
        return 1

    def start(self, draws: Draws) -> Tensor:
        clean = unit(self.clean)

        def ball() -> Tensor:
            return clean + self.eps.unit * (2 * draws.uniform(clean.shape[1:]) - 1)

        return self.project(first_theta(self.init, clean, draws, ball))

    def image(self, theta: Tensor, _draws: Draws) -> Tensor:
        return theta

    def project(self, theta: Tensor) -> Tensor:
        return theta.clamp(self._low, self._high)

    def finalize(self, theta: Tensor) -> Tensor:
        whole, clean = int(self.eps.raw), self.clean.float()
        return rounded(theta).clamp(clean - whole, clean + whole).to(torch.uint8)

    def take(self, index: Sequence[int]) -> LinfBall:
        return replace(self, clean=self.clean[list(index)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class L2Ball:
    """Euclidean norm of x - clean over a whole picture <= eps (raw levels), and 0 <= x <= 1.

    Projection scales the difference, then clips, which only brings it nearer to the clean picture.
    """

    clean: Tensor
    eps: Eps
    init: Init = "clean"

    def __post_init__(self) -> None:
        known_clean(self.clean)
        known_init(self.init)

    @property
    def samples(self) -> int:
        return 1

    def start(self, draws: Draws) -> Tensor:
        clean = unit(self.clean)

        def ball() -> Tensor:
            way = draws.normal(clean.shape[1:])
            size = draws.uniform((1, 1, 1)) ** (1 / way[0].numel())
            return clean + self.eps.unit * size * way / lengths(way).clamp(min=1e-12)

        return self.project(first_theta(self.init, clean, draws, ball))

    def image(self, theta: Tensor, _draws: Draws) -> Tensor:
        return theta

    def project(self, theta: Tensor) -> Tensor:
        clean = unit(self.clean)
        change = theta - clean
        shrink = (self.eps.unit / lengths(change).clamp(min=1e-12)).clamp(max=1)
        return (clean + shrink * change).clamp(0, 1)

    def finalize(self, theta: Tensor) -> Tensor:
        """Round the change at the largest scale at which whole levels stay inside; 0 always does."""
        clean = self.clean.double()
        change = theta.detach().double() * 255 - clean
        tried = torch.ones_like(lengths(clean))
        low, high = torch.zeros_like(tried), tried
        for _ in range(25):
            fits = lengths((clean + tried * change).round().clamp(0, 255) - clean) <= self.eps.raw
            low, high = torch.where(fits, tried, low), torch.where(fits, high, tried)
            tried = (low + high) / 2
        return (clean + low * change).round().clamp(0, 255).to(torch.uint8)

    def take(self, index: Sequence[int]) -> L2Ball:
        return replace(self, clean=self.clean[list(index)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Box:
    """Nothing but 0 <= x <= 1. The clean picture gives the size, and the start if asked for."""

    clean: Tensor
    init: Init = "clean"

    def __post_init__(self) -> None:
        known_clean(self.clean)
        known_init(self.init, ("clean", "uniform", "white", "normal"))

    @property
    def samples(self) -> int:
        return 1

    def start(self, draws: Draws) -> Tensor:
        return self.project(first_theta(self.init, unit(self.clean), draws))

    def image(self, theta: Tensor, _draws: Draws) -> Tensor:
        return theta

    def project(self, theta: Tensor) -> Tensor:
        return theta.clamp(0, 1)

    def finalize(self, theta: Tensor) -> Tensor:
        return rounded(theta).to(torch.uint8)

    def take(self, index: Sequence[int]) -> Box:
        return replace(self, clean=self.clean[list(index)])


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedBox:
    """Bounds of what is added to a prompt's token embeddings (CroPA's text perturbation); starts at 0."""

    low: float = -0.23
    high: float = 0.27

    def __post_init__(self) -> None:
        require(self.low <= 0 <= self.high, "low, high", (self.low, self.high), "low <= 0 <= high")
        require(self.low < self.high, "low, high", (self.low, self.high), "low < high")

    def project(self, nudges: Tensor) -> Tensor:
        """Values brought inside the bounds."""
        return nudges.clamp(self.low, self.high)
