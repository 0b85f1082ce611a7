"""The plain request beside an empty page.

Shows what a picture changes by merely being there. Text as in `text_only`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks.pictures import blank
from sightline.attacks.wordings import plain_text
from sightline.cards import ANY_ATTACK
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "blank_image",
    threat=ThreatModel(),
    role="control",
    control_of=ANY_ATTACK,
    source="Sightline",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class BlankImage(Attack):
    """A square of `size_px` pixels, all of gray level `level` (255 = white)."""

    size_px: int = 336
    level: int = 255

    def __post_init__(self) -> None:
        require(1 <= self.size_px <= 4096, "size_px", self.size_px, "1..4096 pixels")
        require(0 <= self.level <= 255, "level", self.level, "0..255")

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The same page for every case."""
        page = blank((self.size_px, self.size_px), (self.level,) * 3)
        for case in cases:
            yield Draft(case=case, text=plain_text(case), image=page)
