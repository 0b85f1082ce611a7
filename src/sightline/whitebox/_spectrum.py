"""Spectrum simulation: each step sees a picture through random changes of its frequencies (SSA).

Long et al., ECCV 2022, as used by thu-ml/Attack-Bard: T(x) = IDCT(DCT(x + n) * s) with n ~ N(0, sigma^2)
and s uniform in 1 - rho .. 1 + rho, elementwise. The released attack takes the gradient at T(x) and uses it
as the gradient at x; `through` sends it back through the transform instead. What leaves [0, 1] is clipped,
which also stops its gradient, as the clamp in the released surrogates does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightline.errors import require
from sightline.whitebox._draws import Draws

if TYPE_CHECKING:
    from sightline.whitebox.constraint import Constraint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectrum:
    """Another constraint, seen through `draws_per_step` random spectra; the file is not changed by it.

    Attributes:
        inner: the constraint.
        draws_per_step: N, pictures per picture of the inner constraint, in one batch.
        rho: half width of the spectrum's scale.
        sigma: deviation of the added noise, in [0, 1] pixels.
        through: whether the gradient goes back through the transform.
    """

    inner: Constraint
    draws_per_step: int = 20
    rho: float = 0.5
    sigma: float = 16 / 255
    through: bool = False

    def __post_init__(self) -> None:
        require(self.draws_per_step >= 1, "draws_per_step", self.draws_per_step, "at least 1")
        require(0 <= self.rho <= 1, "rho", self.rho, "0 to 1")
        require(0 <= self.sigma < 1, "sigma", self.sigma, "0 <= sigma < 1, in pixels of [0, 1]")

    @property
    def clean(self) -> Tensor:
        return self.inner.clean

    @property
    def samples(self) -> int:
        return self.inner.samples * self.draws_per_step

    def start(self, draws: Draws) -> Tensor:
        return self.inner.start(draws)

    def image(self, theta: Tensor, draws: Draws) -> Tensor:
        seen = self.inner.image(theta, draws).repeat_interleave(self.draws_per_step, dim=0)
        each = (self.samples, *seen.shape[1:])
        noise = self.sigma * draws.normal(each).flatten(0, 1)
        scale = 1 + self.rho * (2 * draws.uniform(each).flatten(0, 1) - 1)
        changed = _idct(_dct((seen if self.through else seen.detach()) + noise) * scale)
        if not self.through:
            changed = seen + (changed - seen.detach())
        return changed.clamp(0, 1)

    def project(self, theta: Tensor) -> Tensor:
        return self.inner.project(theta)

    def finalize(self, theta: Tensor) -> Tensor:
        return self.inner.finalize(theta)

    def take(self, index: Sequence[int]) -> Spectrum:
        return replace(self, inner=self.inner.take(index))


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
