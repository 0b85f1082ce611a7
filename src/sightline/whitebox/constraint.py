"""What may be changed, and how far: theta -> picture, its bounds, and what the file holds at the end.

Every constraint holds the clean pictures as the exact levels of a file, so that its bound is a statement
about integers: |png - clean| <= eps holds after rounding, by construction. Theta is float32 with the
artifacts first; `image` is differentiable. Constraints wrap each other: `Mask(inner=LinfBall(...), ...)`,
`Spectrum(inner=LinfBall(...))`. Specification: shared/specs/attacks-adversarial.md, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from sightline.whitebox._balls import Box, EmbedBox, L2Ball, LinfBall
from sightline.whitebox._draws import Draws
from sightline.whitebox._pictures import Init, as_pixels, from_pixels, unit
from sightline.whitebox._places import Mask, Patch, Started, first_rows
from sightline.whitebox._spectrum import Spectrum

__all__ = [
    "Box",
    "Constraint",
    "Draws",
    "EmbedBox",
    "Init",
    "L2Ball",
    "LinfBall",
    "Mask",
    "Patch",
    "Spectrum",
    "Started",
    "as_pixels",
    "first_rows",
    "from_pixels",
    "unit",
]


class Constraint(Protocol):
    """Parametrization, projection and start of n artifacts."""

    @property
    def clean(self) -> Tensor:
        """The pictures before the attack, uint8 (n, 3, h, w)."""
        ...

    @property
    def samples(self) -> int:
        """How many pictures `image` makes of one artifact; losses are averaged over them."""
        ...

    def start(self, draws: Draws) -> Tensor:
        """A theta inside the bounds, float32 (n, ...)."""
        ...

    def image(self, theta: Tensor, draws: Draws, /) -> Tensor:
        """Pictures in [0, 1], (n * samples, 3, h, w), an artifact's samples together; differentiable."""
        ...

    def project(self, theta: Tensor) -> Tensor:
        """The theta inside the bounds that takes the place of `theta`."""
        ...

    def finalize(self, theta: Tensor) -> Tensor:
        """What a file can hold, inside the bounds in whole levels, uint8 (n, 3, h, w)."""
        ...

    def take(self, index: Sequence[int]) -> Constraint:
        """The same constraint on some of the artifacts (repeats allowed)."""
        ...
