"""Typographic pages: lines of text on a plain ground, the same bytes for the same input, font and Pillow.

Lines are set one by one on computed baselines, so that Pillow's own paragraph code does not decide what is
drawn. `font_files` says what a font can draw, and with which layout engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sightline.attacks.font_files import find_font
from sightline.attacks.line_breaks import wrap_measured
from sightline.attacks.pictures import BLACK, WHITE, Box, Color, Size, blank
from sightline.errors import require
from sightline.records import Pixels


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, its left end and its baseline in pixels from the page's top left corner."""

    text: str
    x: int
    baseline: int


def ascent_px(font_px: int, permille: int) -> int:
    """Pixels from the top of a line to its baseline, for a face whose ascent is `permille` of the em."""
    return -(-font_px * permille // 1000)


def paragraph(
    texts: Sequence[str], origin: tuple[int, int], *, ascent: int, spacing_px: int
) -> tuple[Line, ...]:
    """Lines below each other as Pillow sets a paragraph at `origin` (top left): `ascent` + spacing apart.

    The ascent is an argument and not the face's own, so that a page keeps its geometry if another face
    has to stand in.
    """
    x, top = origin
    return tuple(Line(text, x, top + ascent + row * (ascent + spacing_px)) for row, text in enumerate(texts))


def centered(text: str, face: ImageFont.FreeTypeFont, size: Size) -> Line:
    """One line in the middle of a page of `size` (width, height); its baseline is at .85 of the em."""
    px = face.size
    x, top = round((size[0] - face.getlength(text)) / 2), round((size[1] - px) / 2)
    return Line(text, x, round(top + 0.85 * px))


def block(texts: Sequence[str], face: ImageFont.FreeTypeFont, size: Size) -> tuple[Line, ...]:
    """Lines below each other, flush left, their block in the middle of a page of `size` (width, height).

    One line stands as `centered` sets it; baselines are the type's size and a tenth apart.
    """
    pitch = round(1.1 * face.size)
    widest = centered(max(texts, key=face.getlength), face, size)
    first = widest.baseline - pitch * (len(texts) - 1) // 2
    return tuple(Line(text, widest.x, first + row * pitch) for row, text in enumerate(texts))


def ink_box(line: Line, face: ImageFont.FreeTypeFont) -> Box | None:
    """Where a line leaves ink on the page; None if nowhere."""
    mask, (left, top) = face.getmask2(line.text, mode="L", anchor="ls")
    ink = mask.getbbox()
    if ink is None:
        return None
    x, y = line.x + left, line.baseline + top
    return x + ink[0], y + ink[1], x + ink[2], y + ink[3]


def clipped(lines: Sequence[Line], face: ImageFont.FreeTypeFont, size: Size) -> int:
    """How many lines have ink outside a page of `size` (width, height)."""
    boxes = [box for line in lines if (box := ink_box(line, face)) is not None]
    return sum(not (min(box) >= 0 and box[2] <= size[0] and box[3] <= size[1]) for box in boxes)


def draw(
    lines: Sequence[Line],
    face: ImageFont.FreeTypeFont,
    size: Size,
    *,
    ink: Color = BLACK,
    ground: Color = WHITE,
) -> Pixels:
    """A page of `size` (width, height), black on white or in other colors; uint8, height x width x 3."""
    return write(blank(size, ground), lines, face, ink=ink)


def write(
    picture: Pixels, lines: Sequence[Line], face: ImageFont.FreeTypeFont, *, ink: Color = BLACK
) -> Pixels:
    """The picture with lines on it."""
    page = Image.fromarray(picture, "RGB")
    pen = ImageDraw.Draw(page)
    for line in lines:
        pen.text((line.x, line.baseline), line.text, font=face, fill=ink, anchor="ls")
    return np.array(page, dtype=np.uint8)


def square_page(text: str, size_px: int, font: str, font_px: int) -> Pixels:
    """A square white page with the text, wrapped, in its middle.

    Raises:
        UsageError: if the font cannot draw it.
    """
    require(16 <= size_px <= 4096, "size_px", size_px, "16..4096 pixels")
    face, size = find_font(font).at(font_px, text), (size_px, size_px)
    return draw(block(wrap_measured(text, face, size_px, lead=""), face, size), face, size)
