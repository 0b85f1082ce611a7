"""Typographic pages: lines of text on a plain ground, the same bytes for the same input, font and Pillow.

Lines are set one by one on computed baselines, so that Pillow's own paragraph code does not decide what is
drawn. `font_files` says what a font can draw, and with which layout engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

from sightline.attacks.font_files import find_font
from sightline.attacks.line_breaks import wrap_measured
from sightline.attacks.pictures import BLACK, WHITE, Box, Color, Size, blank
from sightline.attacks.scripts import Direction, direction_of
from sightline.errors import require
from sightline.records import Pixels


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, its left end and its baseline in pixels from the page's top left corner.

    `direction` is that of its paragraph, '' unless letters have to be arranged (see `directed`).
    """

    text: str
    x: int
    baseline: int
    direction: Direction = ""


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


def centered(text: str, face: FreeTypeFont, size: Size) -> Line:
    """One line in the middle of a page of `size` (width, height); its baseline is at .85 of the em."""
    px = face.size
    x, top = round((size[0] - face.getlength(text)) / 2), round((size[1] - px) / 2)
    return Line(text, x, round(top + 0.85 * px))


def block(texts: Sequence[str], face: FreeTypeFont, size: Size) -> tuple[Line, ...]:
    """Lines below each other, flush left, their block in the middle of a page of `size` (width, height).

    One line stands as `centered` sets it; baselines are the type's size and a tenth apart.
    """
    pitch = round(1.1 * face.size)
    widest = centered(max(texts, key=face.getlength), face, size)
    first = widest.baseline - pitch * (len(texts) - 1) // 2
    lines = [Line(text, widest.x, first + row * pitch) for row, text in enumerate(texts)]
    return directed(lines, " ".join(texts), face, widest.x + round(face.getlength(widest.text)))


def directed(lines: Sequence[Line], text: str, face: FreeTypeFont, right_px: int) -> tuple[Line, ...]:
    """Lines of a text in its direction: those of one from right to left end at `right_px`."""
    direction = direction_of(text)
    if direction == "rtl":
        ends = [right_px - round(face.getlength(line.text)) for line in lines]
        lines = [replace(line, x=x) for line, x in zip(lines, ends, strict=True)]
    return tuple(replace(line, direction=direction) for line in lines) if direction else tuple(lines)


def ink_box(line: Line, face: FreeTypeFont) -> Box | None:
    """Where a line leaves ink on the page; None if nowhere."""
    mask, (left, top) = face.getmask2(line.text, mode="L", direction=line.direction or None, anchor="ls")
    ink = mask.getbbox()
    if ink is None:
        return None
    x, y = line.x + left, line.baseline + top
    return x + ink[0], y + ink[1], x + ink[2], y + ink[3]


def clipped(lines: Sequence[Line], face: FreeTypeFont, size: Size) -> int:
    """How many lines have ink outside a page of `size` (width, height)."""
    return sum(not _holds(line, face, size) for line in lines)


def _holds(line: Line, face: FreeTypeFont, size: Size) -> bool:
    left, top, right, bottom = face.getbbox(line.text, direction=line.direction or None, anchor="ls")
    x, y = line.x, line.baseline
    if _inside((x + left, y + top, x + right, y + bottom), size):
        return True  # what is around its letters holds their ink, which is only known once it is drawn
    box = ink_box(line, face)
    return box is None or _inside(box, size)


def _inside(box: tuple[float, float, float, float], size: Size) -> bool:
    return min(box) >= 0 and box[2] <= size[0] and box[3] <= size[1]


def draw(
    lines: Sequence[Line],
    face: FreeTypeFont,
    size: Size,
    *,
    ink: Color = BLACK,
    ground: Color = WHITE,
) -> Pixels:
    """A page of `size` (width, height), black on white or in other colors; uint8, height x width x 3."""
    if len(set(ink)) == len(set(ground)) == 1:  # one channel is drawn in a third of the time
        page = Image.new("L", size, ground[0])
        _set(page, lines, face, ink[0])
        made, gray = np.empty((size[1], size[0], 3), dtype=np.uint8), np.asarray(page)
        for channel in range(3):  # faster than by broadcasting, or than Pillow's own conversion
            made[:, :, channel] = gray
        return made
    return write(blank(size, ground), lines, face, ink=ink)


def write(picture: Pixels, lines: Sequence[Line], face: FreeTypeFont, *, ink: Color = BLACK) -> Pixels:
    """The picture with lines on it."""
    page = Image.fromarray(picture, "RGB")
    _set(page, lines, face, ink)
    return np.array(page, dtype=np.uint8)


def _set(page: Image.Image, lines: Sequence[Line], face: FreeTypeFont, ink: Color | int) -> None:
    pen = ImageDraw.Draw(page)
    for line in lines:
        place = (line.x, line.baseline)
        pen.text(place, line.text, font=face, fill=ink, direction=line.direction or None, anchor="ls")


def square_page(text: str, size_px: int, font: str, font_px: int) -> Pixels:
    """A square white page with the text, wrapped, in its middle; see `square_note`.

    Raises:
        UsageError: if the font cannot draw it.
    """
    lines, face = _square(text, size_px, font, font_px)
    return draw(lines, face, (size_px, size_px))


def square_note(text: str, size_px: int, font: str, font_px: int) -> str:
    """What is to be known of `square_page`: font, lines, what fell off."""
    lines, face = _square(text, size_px, font, font_px)
    lost = clipped(lines, face, (size_px, size_px))
    note = f"{find_font(font).note(text)}, {font_px} px; {len(lines)} lines"
    return f"{note}, {lost} of them cut off" if lost else note


def _square(text: str, size_px: int, font: str, font_px: int) -> tuple[tuple[Line, ...], FreeTypeFont]:
    require(16 <= size_px <= 4096, "size_px", size_px, "16..4096 pixels")
    face = find_font(font).at(font_px, text)
    return block(wrap_measured(text, face, size_px, lead=""), face, (size_px, size_px)), face
