"""The plain request beside a picture of independent uniform noise.

Shows what an unnatural picture changes without carrying any request. Text as in `text_only`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.attacks.wordings import plain_text
from sightline.cards import ANY_ATTACK
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import Draft
from sightline.registry import attack
from sightline.rng import numpy_rng


@attack(
    "noise_image",
    threat=ThreatModel(),
    role="control",
    control_of=ANY_ATTACK,
    source="Sightline",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseImage(Attack):
    """A square of `size_px` pixels; each value is drawn from 0..255 by the case's own generator."""

    size_px: int = 336

    def __post_init__(self) -> None:
        require(1 <= self.size_px <= 4096, "size_px", self.size_px, "1..4096 pixels")

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Another noise for every case, the same whatever cases are crafted with it."""
        for case in cases:
            rng = numpy_rng(self.card.name, ctx.seed, case.id)
            page = rng.integers(0, 256, (self.size_px, self.size_px, 3), dtype=np.uint8)
            yield Draft(case=case, text=plain_text(case), image=page)
