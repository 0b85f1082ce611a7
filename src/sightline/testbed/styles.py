"""How text may be set in a picture: face, size, place and backdrop, each split in seen and unseen.

Visual tuning draws pages of text in `SEEN` styles only; `UNSEEN` changes one factor at a time to what no such
page shows, so that reading and typographic attacks can be measured factor by factor. Place is the weakest
factor: pages of several lines reach down, words beside a shape may stand low, and the vision tower's
pretraining saw words anywhere. The other factors are new to tower and tuning alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from sightline.testbed.render import (
    BLACK,
    HELDOUT_FONT,
    SIZE,
    TRAIN_FONTS,
    WHITE,
    Color,
    Ink,
    Picture,
    Pixels,
    draw_lines,
    fitted,
    grain,
    luminance,
    text_width,
)

#: first baseline's upper bound for pages of one line: tuning never starts a line lower than the first value
UPPER, LOWER = 36, 42


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What may be chosen for a page: faces, sizes in pixels, backdrops, and whether text stands low."""

    fonts: tuple[str, ...] = TRAIN_FONTS
    sizes: tuple[int, ...] = (9, 10, 11, 12, 13, 14)
    backdrops: tuple[str, ...] = ("plain", "gradient", "stripes")
    low: bool = False


SEEN = Style()
UNSEEN = {
    "font": replace(SEEN, fonts=(HELDOUT_FONT,)),
    "size": replace(SEEN, sizes=(16,)),
    "place": replace(SEEN, low=True),
    "backdrop": replace(SEEN, backdrops=("checker", "speckle")),
}


def fits(line: str, style: Style) -> bool:
    """Whether a line fits on a page in every face and size of a style; a longer one is set smaller."""
    return all(text_width(name, px, line) <= SIZE - 2 for name in style.fonts for px in style.sizes)


def backdrop(kind: str, color: Color, rng: np.random.Generator) -> Pixels:
    """Draw a backdrop around one color: `plain`, `gradient`, `stripes`, `checker` or `speckle`."""
    base = np.asarray(color, dtype=np.float32)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    depth = float(rng.uniform(12, 30))
    if kind == "gradient":
        angle = rng.uniform(0, 2 * np.pi)
        wave = ((columns * np.cos(angle) + rows * np.sin(angle)) / SIZE).astype(np.float32)
    elif kind == "stripes":
        across = rows if rng.random() < 0.5 else columns
        wave = np.sign(np.sin(across * np.float32(2 * np.pi / rng.integers(6, 17))))
    elif kind == "checker":
        side = int(rng.integers(4, 9))
        wave = np.where((rows // side + columns // side) % 2 == 0, 1.0, -1.0).astype(np.float32)
    elif kind == "speckle":
        coarse = rng.standard_normal((SIZE // 4, SIZE // 4)).astype(np.float32)
        wave = np.clip(np.kron(coarse, np.ones((4, 4), dtype=np.float32)), -1.5, 1.5)
    else:
        wave = np.zeros((SIZE, SIZE), dtype=np.float32)
    page = np.clip(np.rint(base + depth * wave[..., None]), 0, 255)
    found: Pixels = page.astype(np.uint8)
    return found


def _colors(rng: np.random.Generator, contrast: float) -> tuple[Color, Color]:
    """Choose ink and paper: black on white (40 %), or any two colors of enough contrast."""
    if rng.random() < 0.4:
        return BLACK, WHITE
    while True:
        drawn = rng.integers(0, 256, 6)
        ink = (int(drawn[0]), int(drawn[1]), int(drawn[2]))
        paper = (int(drawn[3]), int(drawn[4]), int(drawn[5]))
        if abs(luminance(ink) - luminance(paper)) > contrast:
            return ink, paper


def styled_ink(rng: np.random.Generator, lines: Sequence[str], style: Style) -> Ink:
    """Choose face, size, colors and place within a style such that the lines fit on the page."""
    name = style.fonts[int(rng.integers(len(style.fonts)))]
    px, line_px = fitted(name, style.sizes[int(rng.integers(len(style.sizes)))], lines, rng)
    width = max(text_width(name, px, line) for line in lines)
    x = int(rng.integers(0, max(1, int(SIZE - width))))
    room = SIZE - line_px * (len(lines) - 1) - px - 1
    first, last = (LOWER, room) if style.low else (0, min(room, UPPER))
    y = int(rng.integers(first, max(first + 1, last)))
    color, paper = _colors(rng, 95)
    return Ink(font=name, font_px=px, line_px=line_px, color=color, paper=paper, x=x, y=y)


def styled_page(lines: Sequence[str], rng: np.random.Generator, style: Style = SEEN) -> Picture:
    """Draw lines in a random ink of a style on one of its backdrops, with grain."""
    kind = style.backdrops[int(rng.integers(len(style.backdrops)))]
    ink = styled_ink(rng, lines, style)
    canvas = Image.fromarray(backdrop(kind, ink.paper, rng))
    glyphs = draw_lines(canvas, lines, ink)
    return grain(Picture(np.asarray(canvas, dtype=np.uint8), glyphs=glyphs), rng)
