"""Where a picture may change: a patch that stands still or moves, its first rows, a mask; a given start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightline.errors import UsageError, require
from sightline.whitebox._draws import Draws
from sightline.whitebox._pictures import Init, first_theta, known_clean, known_init, rounded, unit

if TYPE_CHECKING:
    from sightline.whitebox.constraint import Constraint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patch:
    """A rectangle of free pixels, 0 to 1, pasted over the clean picture; theta is (n, 3, height, width).

    Attributes:
        clean: uint8 (n, 3, h, w).
        height: of the patch, in pixels.
        width: likewise.
        place: top and left of a patch that stands still; of a moving one, where it is in the file.
        moving: whether every picture of every step has it at another place, uniform over all places.
        samples: places per artifact and step, for a moving patch.
        init: start of the patch; `clean` is what it covers at `place`.

    Raises:
        UsageError: for a patch that does not fit into the picture.
    """

    clean: Tensor
    height: int
    width: int
    place: tuple[int, int] = (0, 0)
    moving: bool = False
    samples: int = 1
    init: Init = "uniform"

    def __post_init__(self) -> None:
        known_clean(self.clean)
        known_init(self.init, ("clean", "uniform", "white", "normal"))
        require(self.samples >= 1, "samples", self.samples, "at least 1 place")
        require(self.moving or self.samples == 1, "samples", self.samples, "1 for a patch that stands still")
        rows, columns = self.clean.shape[2:]
        top, left = self.place
        if not (0 < self.height <= rows and 0 < self.width <= columns):
            raise UsageError(
                f"a patch of {self.height} x {self.width} pixels does not fit into a picture of "
                f"{rows} x {columns}: make the patch smaller or the picture larger"
            )
        if not (0 <= top <= rows - self.height and 0 <= left <= columns - self.width):
            raise UsageError(
                f"place={self.place} puts a patch of {self.height} x {self.width} beyond the edge of a "
                f"picture of {rows} x {columns}: top is at most {rows - self.height}, "
                f"left {columns - self.width}"
            )

    def start(self, draws: Draws) -> Tensor:
        return self.project(first_theta(self.init, unit(self._covered), draws))

    def image(self, theta: Tensor, draws: Draws) -> Tensor:
        places = [[self.place]] * len(theta)
        if self.moving:
            rows, columns = self.clean.shape[2:]
            places = draws.places(rows - self.height + 1, columns - self.width + 1, self.samples)
        return self.at(theta, places)

    def at(self, theta: Tensor, places: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
        """Pictures with the patch at each of an artifact's places, as many for all, (n * places, 3, h, w)."""
        pictures = unit(self.clean).repeat_interleave(len(places[0]), dim=0)
        row = 0
        for patch, some in zip(theta, places, strict=True):
            for top, left in some:
                pictures[row, :, top : top + self.height, left : left + self.width] = patch
                row += 1
        return pictures

    def project(self, theta: Tensor) -> Tensor:
        return theta.clamp(0, 1)

    def finalize(self, theta: Tensor) -> Tensor:
        whole = self.clean.clone()
        top, left = self.place
        whole[:, :, top : top + self.height, left : left + self.width] = rounded(theta).to(torch.uint8)
        return whole

    def take(self, index: Sequence[int]) -> Patch:
        return replace(self, clean=self.clean[list(index)])

    @property
    def _covered(self) -> Tensor:
        top, left = self.place
        return self.clean[:, :, top : top + self.height, left : left + self.width]


def first_rows(clean: Tensor, rows: int, *, init: Init = "clean") -> Patch:
    """Only the first rows of the picture are free (Bagdasaryan's partial attack).

    Raises:
        UsageError: for more rows than the picture has.
    """
    return Patch(clean=clean, height=rows, width=clean.shape[3], init=init)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mask:
    """Another constraint inside a region; outside of it the clean picture.

    Attributes:
        inner: what holds inside.
        region: bool (1 or n, 1 or 3, h, w); True may change.

    Raises:
        UsageError: for a region of another size or number format, or one in which nothing may change.
    """

    inner: Constraint
    region: Tensor

    def __post_init__(self) -> None:
        clean = self.inner.clean
        shapes = zip(self.region.shape, clean.shape, strict=False)
        fits = self.region.dim() == 4 and all(mine in (1, theirs) for mine, theirs in shapes)
        if self.region.dtype != torch.bool or not fits or self.region.shape[2:] != clean.shape[2:]:
            raise UsageError(
                f"region is {self.region.dtype} {tuple(self.region.shape)}: expected torch.bool of "
                f"the pictures' shape {tuple(clean.shape)}, with 1 where all artifacts or colors share it"
            )
        if not self.region.any():
            raise UsageError("region is False everywhere: nothing may change")

    @property
    def clean(self) -> Tensor:
        return self.inner.clean

    @property
    def samples(self) -> int:
        return self.inner.samples

    def start(self, draws: Draws) -> Tensor:
        return self.inner.start(draws)

    def image(self, theta: Tensor, draws: Draws) -> Tensor:
        shown = self.inner.image(theta, draws)
        region, clean = (t.expand(len(self.clean), -1, -1, -1) for t in (self.region, unit(self.clean)))
        return torch.where(
            region.repeat_interleave(self.samples, 0), shown, clean.repeat_interleave(self.samples, 0)
        )

    def project(self, theta: Tensor) -> Tensor:
        return self.inner.project(theta)

    def finalize(self, theta: Tensor) -> Tensor:
        return torch.where(self.region, self.inner.finalize(theta), self.clean)

    def take(self, index: Sequence[int]) -> Mask:
        region = self.region if len(self.region) == 1 else self.region[list(index)]
        return replace(self, inner=self.inner.take(index), region=region)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Started:
    """Another constraint, started from given thetas: a search goes on from what an earlier one found.

    Attributes:
        inner: the bounds.
        theta: where to start, brought inside the bounds; one for each artifact.

    Raises:
        UsageError: for thetas of another number of artifacts.
    """

    inner: Constraint
    theta: Tensor

    def __post_init__(self) -> None:
        if len(self.theta) != len(self.inner.clean):
            raise UsageError(
                f"{len(self.theta)} thetas to start from, but {len(self.inner.clean)} pictures: give one each"
            )

    @property
    def clean(self) -> Tensor:
        return self.inner.clean

    @property
    def samples(self) -> int:
        return self.inner.samples

    def start(self, _draws: Draws) -> Tensor:
        return self.inner.project(self.theta.detach().clone())

    def image(self, theta: Tensor, draws: Draws) -> Tensor:
        return self.inner.image(theta, draws)

    def project(self, theta: Tensor) -> Tensor:
        return self.inner.project(theta)

    def finalize(self, theta: Tensor) -> Tensor:
        return self.inner.finalize(theta)

    def take(self, index: Sequence[int]) -> Started:
        return replace(self, inner=self.inner.take(index), theta=self.theta[list(index)])
