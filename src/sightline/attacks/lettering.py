"""A text drawn letter by letter in many styles, some of which a reader of pictures may fail to read.

A `Lettering` is one value per factor; `FACTORS` lists the values that a search may take. Letters are set one
by one, so texts whose letters join or run right to left cannot be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

from sightline.attacks import font_files
from sightline.attacks.line_breaks import clusters
from sightline.attacks.pictures import WHITE, blank, fitted, mirrored, rotated, size_of
from sightline.attacks.scripts import is_shaped
from sightline.attacks.strips import SMALLEST_FONT_PX
from sightline.errors import UsageError
from sightline.records import Pixels

GROUND = 255
PITCH = 1.2
"""Baselines apart, in sizes of the type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """How a text is drawn. The defaults are plain black print.

    Attributes:
        font: by file name.
        outline: whether letters are hollow.
        contrast: of ink to paper: 1 is black on white.
        rotation: degrees counterclockwise.
        pieces: upright strips that the page is cut into, each a picture of its own.
        mirror: whether left and right are exchanged.
        wave: how far the baseline swings, in sizes of the type.
        spacing: between letters, in sizes of the type.
    """

    font: str = "DejaVuSans.ttf"
    outline: bool = False
    contrast: float = 1.0
    rotation: int = 0
    pieces: int = 1
    mirror: bool = False
    wave: float = 0.0
    spacing: float = 0.0

    @property
    def told(self) -> str:
        """What differs from plain print."""
        plain = Lettering()
        changed = (
            f"{name}={getattr(self, name)}" for name in FACTORS if getattr(self, name) != getattr(plain, name)
        )
        return ", ".join(changed) or "plain print"


FACTORS: dict[str, tuple[Any, ...]] = {
    "font": (
        "DejaVuSans.ttf",
        "DejaVuSansMono-Bold.ttf",
        "DejaVuSerif.ttf",
        "LiberationSans-Regular.ttf",
    ),
    "outline": (False, True),
    "contrast": (1.0, 0.3, 0.1, 0.04),
    "rotation": (0, 15, 90, 180),
    "pieces": (1, 2, 3),
    "mirror": (False, True),
    "wave": (0.0, 0.2, 0.4),
    "spacing": (0.0, 0.4, 1.0),
}
"""Values of each factor, plain print first."""


def lettered(lines: Sequence[str], style: Lettering, size_px: int, font_px: int) -> tuple[Pixels, ...]:
    """The pictures of some lines: a square page, or its strips from left to right.

    Type that does not fit is set smaller, down to 8 pixels. Lines are not broken.

    Raises:
        UsageError: if letters cannot be set one by one, or do not fit.
    """
    text = " ".join(lines)
    if is_shaped(text):
        raise UsageError(f"letters of {text[:40]!r} join or run right to left: they cannot be set one by one")
    file = font_files.find_font(style.font)
    for px in range(font_px, min(font_px, SMALLEST_FONT_PX) - 1, -1):
        face = file.at(px, text)
        if _size(lines, style, face)[0] <= size_px and _size(lines, style, face)[1] <= size_px:
            break
    else:
        raise UsageError(
            f"{len(lines)} lines of up to {max(map(len, lines))} characters do not fit on a page of "
            f"{size_px} px at {SMALLEST_FONT_PX} px: set canvas_px higher, or wrap_chars lower"
        )
    page = _page(lines, style, face, size_px)
    if style.rotation % 360:
        page = fitted(rotated(page, style.rotation, WHITE), (size_px, size_px))
    if style.mirror:
        page = mirrored(page)
    if style.pieces == 1:
        return (page,)
    edges = np.linspace(0, size_of(page)[0], style.pieces + 1).round().astype(int)
    return tuple(np.ascontiguousarray(page[:, a:b]) for a, b in pairwise(edges))


def _page(lines: Sequence[str], style: Lettering, face: FreeTypeFont, size_px: int) -> Pixels:
    canvas = Image.fromarray(np.array(blank((size_px, size_px))), "RGB")
    pen, px = ImageDraw.Draw(canvas), face.size
    level = round(GROUND * (1 - style.contrast))
    margin, ink = _margin(px), (level, level, level)
    stroke = max(1, round(px / 20))
    for row, line in enumerate(lines):
        x = float(margin)
        for number, letter in enumerate(clusters(line)):
            swing = style.wave * px * math.sin(2 * math.pi * number / 6)
            place = (round(x), round(margin + style.wave * px + 0.85 * px + row * _pitch(style, px) + swing))
            if style.outline:
                pen.text(
                    place, letter, font=face, fill=ink, anchor="ls", stroke_width=stroke, stroke_fill=ink
                )
                pen.text(place, letter, font=face, fill=WHITE, anchor="ls")
            else:
                pen.text(place, letter, font=face, fill=ink, anchor="ls")
            x += face.getlength(letter) + style.spacing * px
    return np.array(canvas, dtype=np.uint8)


def _size(lines: Sequence[str], style: Lettering, face: FreeTypeFont) -> tuple[float, float]:
    """What a page needs for all lines."""
    px = face.size
    widths = (sum(face.getlength(each) + style.spacing * px for each in clusters(line)) for line in lines)
    height = (len(lines) - 1) * _pitch(style, px) + 1.2 * px + 2 * style.wave * px
    return max(widths, default=0) + 2 * _margin(px), height + 2 * _margin(px)


def _pitch(style: Lettering, px: float) -> float:
    return (PITCH + style.wave) * px


def _margin(px: float) -> int:
    return max(2, round(px / 5))
