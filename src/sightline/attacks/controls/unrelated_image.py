"""The plain request beside a picture of colored shapes that has nothing to do with it.

Shows what a natural-looking but irrelevant picture changes. The scenes are drawn by us: circles, squares and
triangles on a gray ground. Text as in `text_only`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks.scenes import check_scene, scene
from sightline.attacks.wordings import plain_text
from sightline.cards import ANY_ATTACK
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack
from sightline.rng import numpy_rng


@attack(
    "unrelated_image",
    threat=ThreatModel(),
    role="control",
    control_of=ANY_ATTACK,
    source="Sightline",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class UnrelatedImage(Attack):
    """A square of `size_px` pixels with `shapes` shapes, each about a third of the page wide."""

    size_px: int = 336
    shapes: int = 5

    def __post_init__(self) -> None:
        check_scene(self.size_px, self.shapes)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Another scene for every case, the same whatever cases are crafted with it."""
        for case in cases:
            rng = numpy_rng(self.card.name, ctx.seed, case.id)
            yield Draft(case=case, text=plain_text(case), image=scene(self.size_px, self.shapes, rng))
