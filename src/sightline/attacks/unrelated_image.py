"""Control: the plain request beside a picture of colored shapes that has nothing to do with it.

Shows what a natural-looking but irrelevant picture changes. The scenes are drawn by us: circles, squares and
triangles on a gray ground. Text as in `text_only`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw

from sightline.attacks._controls import plain_text
from sightline.cases import Case, ThreatModel
from sightline.contracts import Craft
from sightline.errors import require
from sightline.records import Draft, Pixels
from sightline.registry import ANY_ATTACK, Card, attack
from sightline.rng import numpy_rng

COLORS = ((215, 30, 30), (30, 160, 50), (40, 60, 220), (240, 220, 40), (140, 40, 170), (245, 135, 20))
GROUNDS = ((225, 225, 220), (70, 70, 75))


@attack(
    "unrelated_image",
    threat=ThreatModel(),
    control_of=ANY_ATTACK,
    source="Sightline",
    presets={"testbed": {"size_px": 64, "shapes": 1}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class UnrelatedImage:
    """A square of `size_px` pixels with `shapes` shapes, each about a third of the page wide."""

    card: ClassVar[Card]

    size_px: int = 336
    shapes: int = 5

    def __post_init__(self) -> None:
        check_scene(self.size_px, self.shapes)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Another scene for every case, the same whatever cases are crafted with it."""
        for case in cases:
            rng = numpy_rng("unrelated_image", ctx.seed, case.id)
            yield Draft(case=case, text=plain_text(case), image=scene(self.size_px, self.shapes, rng))


def check_scene(size_px: int, shapes: int) -> None:
    """Check the settings of `scene`.

    Raises:
        UsageError: for a side outside 16 to 4096 pixels, or no or more than 50 shapes.
    """
    require(16 <= size_px <= 4096, "size_px", size_px, "16..4096 pixels")
    require(1 <= shapes <= 50, "shapes", shapes, "1..50 shapes")


def scene(size_px: int, shapes: int, rng: np.random.Generator) -> Pixels:
    """Shapes of random kind, color, place and size on a light or dark ground; all lie inside the page."""
    page = Image.new("RGB", (size_px, size_px), GROUNDS[rng.integers(len(GROUNDS))])
    pen = ImageDraw.Draw(page)
    for _ in range(shapes):
        radius = size_px * rng.uniform(0.12, 0.2)
        x, y = rng.uniform(radius + 1, size_px - radius - 1, size=2)
        box = (x - radius, y - radius, x + radius, y + radius)
        color = COLORS[rng.integers(len(COLORS))]
        match rng.integers(3):
            case 0:
                pen.ellipse(box, fill=color)
            case 1:
                pen.rectangle(box, fill=color)
            case _:
                pen.polygon([(x, box[1]), (box[2], box[3]), (box[0], box[3])], fill=color)
    return np.array(page, dtype=np.uint8)
