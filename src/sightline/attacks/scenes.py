"""Pictures of colored shapes: what is perturbed where a case has no picture, and an irrelevant picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from sightline.errors import require
from sightline.records import Pixels

COLORS = ((215, 30, 30), (30, 160, 50), (40, 60, 220), (240, 220, 40), (140, 40, 170), (245, 135, 20))
GROUNDS = ((225, 225, 220), (70, 70, 75))


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
