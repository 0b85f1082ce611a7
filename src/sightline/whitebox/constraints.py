"""What may be changed, and how far: theta -> picture, its bounds, and what the file holds at the end.

Every constraint holds the clean pictures as the exact levels of a file, so that its bound is a statement
about integers: |png - clean| <= eps holds after rounding, by construction. Theta is float32 with the
artifacts first; `image` is differentiable. Constraints wrap each other: `Mask(inner=LinfBall(...), ...)`,
`Spectrum(inner=LinfBall(...))`. Specification: shared/specs/attacks-adversarial.md, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar, Protocol, Self, get_args

import torch
from torch import Tensor

from sightline.cases import Eps
from sightline.errors import UsageError, require
from sightline.whitebox.compute import RngStream
from sightline.whitebox.pixels import Init, first_theta, known_clean, known_init, lengths, rounded, unit
from sightline.whitebox.shapes import Levels, Samples, Theta


class Constraint(Protocol):
    """Parametrization, projection and start of n artifacts."""

    @property
    def clean(self) -> Levels:
        """The pictures before the attack, uint8 (n, 3, h, w)."""
        ...

    @property
    def samples(self) -> int:
        """How many pictures `image` makes of one artifact; losses are averaged over them."""
        ...

    def start(self, rng: RngStream) -> Theta:
        """A theta inside the bounds, float32 (n, ...)."""
        ...

    def image(self, theta: Theta, rng: RngStream, /) -> Samples:
        """Pictures in [0, 1], (n * samples, 3, h, w), an artifact's samples together; differentiable."""
        ...

    def project(self, theta: Theta) -> Theta:
        """The theta inside the bounds that takes the place of `theta`."""
        ...

    def finalize(self, theta: Theta) -> Levels:
        """What a file can hold, inside the bounds in whole levels, uint8 (n, 3, h, w)."""
        ...

    def take(self, index: Sequence[int]) -> Self:
        """The same constraint on some of the artifacts (repeats allowed)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FreePixels:
    """A constraint whose theta is the picture itself, between 0 and 1; a base for bounds on all pixels.

    Attributes:
        clean: uint8 (n, 3, h, w).
        init: where theta starts.
    """

    clean: Levels
    init: Init = "clean"
    inits: ClassVar[tuple[str, ...]] = ("clean", "uniform", "white", "normal")

    def __post_init__(self) -> None:
        known_clean(self.clean)
        known_init(self.init, self.inits)

    @property
    def samples(self) -> int:
        return 1

    def start(self, rng: RngStream) -> Theta:
        return self.project(first_theta(self.init, unit(self.clean), rng, self.in_ball))

    def in_ball(self, rng: RngStream) -> Tensor:
        """A start for `init="ball"`, uniform within the bounds."""
        return rng.uniform(self.clean.shape[1:])

    def image(self, theta: Theta, _rng: RngStream) -> Samples:
        return theta

    def project(self, theta: Theta) -> Theta:
        return theta.clamp(0, 1)

    def finalize(self, theta: Theta) -> Levels:
        return rounded(theta).to(torch.uint8)

    def take(self, index: Sequence[int]) -> Self:
        return replace(self, clean=self.clean[list(index)])


class Box(FreePixels):
    """Nothing but 0 <= x <= 1. The clean picture gives the size, and the start if asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinfBall(FreePixels):
    """|x - clean| <= eps in every value, and 0 <= x <= 1; theta is the picture.

    Raises:
        UsageError: for an eps below one level, which no file can show.
    """

    eps: Eps
    inits: ClassVar[tuple[str, ...]] = get_args(Init)
    _low: Tensor = field(init=False, repr=False)
    _high: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        FreePixels.__post_init__(self)
        require(self.eps.raw >= 1, "eps", self.eps.raw, "1 to 255: a file changes by whole levels")
        clean = unit(self.clean)
        object.__setattr__(self, "_low", (clean - self.eps.unit).clamp(min=0))
        object.__setattr__(self, "_high", (clean + self.eps.unit).clamp(max=1))

    def in_ball(self, rng: RngStream) -> Tensor:
        return unit(self.clean) + self.eps.unit * (2 * rng.uniform(self.clean.shape[1:]) - 1)

    def project(self, theta: Theta) -> Theta:
        return theta.clamp(self._low, self._high)

    def finalize(self, theta: Theta) -> Levels:
        whole, clean = int(self.eps.raw), self.clean.float()
        return rounded(theta).clamp(clean - whole, clean + whole).to(torch.uint8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class L2Ball(FreePixels):
    """Euclidean norm of x - clean over a whole picture <= eps (raw levels), and 0 <= x <= 1.

    Projection scales the difference, then clips, which only brings it nearer to the clean picture.
    """

    eps: Eps
    inits: ClassVar[tuple[str, ...]] = get_args(Init)

    def in_ball(self, rng: RngStream) -> Tensor:
        way = rng.normal(self.clean.shape[1:])
        size = rng.uniform((1, 1, 1)) ** (1 / way[0].numel())
        return unit(self.clean) + self.eps.unit * size * way / lengths(way).clamp(min=1e-12)

    def project(self, theta: Theta) -> Theta:
        clean = unit(self.clean)
        change = theta - clean
        shrink = (self.eps.unit / lengths(change).clamp(min=1e-12)).clamp(max=1)
        return (clean + shrink * change).clamp(0, 1)

    def finalize(self, theta: Theta) -> Levels:
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patch(FreePixels):
    """A rectangle of free pixels, 0 to 1, pasted over the clean picture; theta is (n, 3, height, width).

    Attributes:
        height: of the patch, in pixels.
        width: likewise.
        place: top and left of a patch that stands still; of a moving one, where it is in the file.
        moving: whether every picture of every step has it at another place, uniform over all places.
        samples: places per artifact and step, for a moving patch.
        init: start of the patch; `clean` is what it covers at `place`.

    Raises:
        UsageError: for a patch that does not fit into the picture.
    """

    height: int
    width: int
    place: tuple[int, int] = (0, 0)
    moving: bool = False
    samples: int = 1
    init: Init = "uniform"

    def __post_init__(self) -> None:
        FreePixels.__post_init__(self)
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

    def start(self, rng: RngStream) -> Theta:
        return self.project(first_theta(self.init, unit(self._covered), rng, self.in_ball))

    def image(self, theta: Theta, rng: RngStream) -> Samples:
        places = [[self.place]] * len(theta)
        if self.moving:
            rows, columns = self.clean.shape[2:]
            places = rng.places(rows - self.height + 1, columns - self.width + 1, self.samples)
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

    def finalize(self, theta: Theta) -> Levels:
        whole = self.clean.clone()
        top, left = self.place
        whole[:, :, top : top + self.height, left : left + self.width] = rounded(theta).to(torch.uint8)
        return whole

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
class Wrapping:
    """A constraint that leaves everything to another one: a base for those that change a part of it."""

    inner: Constraint

    @property
    def clean(self) -> Levels:
        return self.inner.clean

    @property
    def samples(self) -> int:
        return self.inner.samples

    def start(self, rng: RngStream) -> Theta:
        return self.inner.start(rng)

    def image(self, theta: Theta, rng: RngStream) -> Samples:
        return self.inner.image(theta, rng)

    def project(self, theta: Theta) -> Theta:
        return self.inner.project(theta)

    def finalize(self, theta: Theta) -> Levels:
        return self.inner.finalize(theta)

    def take(self, index: Sequence[int]) -> Self:
        return replace(self, inner=self.inner.take(index))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mask(Wrapping):
    """Another constraint inside a region; outside of it the clean picture.

    Attributes:
        region: bool (1 or n, 1 or 3, h, w); True may change.

    Raises:
        UsageError: for a region of another size or number format, or one in which nothing may change.
    """

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

    def image(self, theta: Theta, rng: RngStream) -> Samples:
        shown = self.inner.image(theta, rng)
        region, clean = (t.expand(len(self.clean), -1, -1, -1) for t in (self.region, unit(self.clean)))
        return torch.where(
            region.repeat_interleave(self.samples, 0), shown, clean.repeat_interleave(self.samples, 0)
        )

    def finalize(self, theta: Theta) -> Levels:
        return torch.where(self.region, self.inner.finalize(theta), self.clean)

    def take(self, index: Sequence[int]) -> Self:
        region = self.region if len(self.region) == 1 else self.region[list(index)]
        return replace(self, inner=self.inner.take(index), region=region)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarmStart(Wrapping):
    """Another constraint, started from given thetas: a search goes on from what an earlier one found.

    Attributes:
        theta: where to start, brought inside the bounds; one for each artifact.

    Raises:
        UsageError: for thetas of another number of artifacts.
    """

    theta: Tensor

    def __post_init__(self) -> None:
        if len(self.theta) != len(self.inner.clean):
            raise UsageError(
                f"{len(self.theta)} thetas to start from, but {len(self.inner.clean)} pictures: give one each"
            )

    def start(self, _rng: RngStream) -> Theta:
        return self.inner.project(self.theta.detach().clone())

    def take(self, index: Sequence[int]) -> Self:
        return replace(self, inner=self.inner.take(index), theta=self.theta[list(index)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectrum(Wrapping):
    """Another constraint, seen through `draws_per_step` random spectra; the file is not changed by it.

    Attributes:
        draws_per_step: N, pictures per picture of the inner constraint, in one batch.
        rho: half width of the spectrum's scale.
        sigma: deviation of the added noise, in [0, 1] pixels.
        through: whether the gradient goes back through the transform.
    """

    draws_per_step: int = 20
    rho: float = 0.5
    sigma: float = 16 / 255
    through: bool = False

    def __post_init__(self) -> None:
        require(self.draws_per_step >= 1, "draws_per_step", self.draws_per_step, "at least 1")
        require(0 <= self.rho <= 1, "rho", self.rho, "0 to 1")
        require(0 <= self.sigma < 1, "sigma", self.sigma, "0 <= sigma < 1, in pixels of [0, 1]")

    @property
    def samples(self) -> int:
        return self.inner.samples * self.draws_per_step

    def image(self, theta: Theta, rng: RngStream) -> Samples:
        seen = self.inner.image(theta, rng).repeat_interleave(self.draws_per_step, dim=0)
        each = (self.samples, *seen.shape[1:])
        noise = self.sigma * rng.normal(each).flatten(0, 1)
        scale = 1 + self.rho * (2 * rng.uniform(each).flatten(0, 1) - 1)
        changed = _idct(_dct((seen if self.through else seen.detach()) + noise) * scale)
        if not self.through:
            changed = seen + (changed - seen.detach())
        return changed.clamp(0, 1)


@lru_cache(maxsize=16)
def _basis(size: int, device: torch.device) -> Tensor:
    """Orthonormal DCT-II matrix: row k holds the k-th cosine."""
    k, i = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    rows: Tensor = torch.cos(torch.pi * (2 * i.double() + 1) * k / (2 * size)) * (2 / size) ** 0.5
    rows[0] /= 2**0.5
    return rows.float().to(device)


def _dct(x: Tensor) -> Tensor:
    """DCT-II of the last two axes, as two products with constant matrices."""
    return _basis(x.shape[-2], x.device) @ x @ _basis(x.shape[-1], x.device).T


def _idct(x: Tensor) -> Tensor:
    """The inverse of `_dct`."""
    return _basis(x.shape[-2], x.device).T @ x @ _basis(x.shape[-1], x.device)
