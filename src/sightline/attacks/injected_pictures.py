"""A text put into a picture by somebody else: on it, beside it, on a board in it, on a page around it.

Nothing is clipped: a text that finds no room is an error. The picture itself stays as it is where no letter
stands (`strip`, `page` and `web` keep all of it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from sightline.attacks.font_files import FontFile
from sightline.attacks.pictures import BLACK, WHITE, Box, Color, blank, cropped, pasted, size_of, stacked
from sightline.attacks.strips import SMALLEST_FONT_PX, TextStyle, text_strip
from sightline.attacks.text_files import document
from sightline.errors import UsageError
from sightline.records import Pixels

Placement = Literal["strip", "overlay", "letters", "sign", "page", "web"]
Position = Literal["free", "top", "bottom", "center", "top_left", "top_right", "bottom_left", "bottom_right"]
GRAY: Color = (228, 228, 228)
WOOD: Color = (222, 196, 150)
FRAME: Color = (90, 62, 30)
PAGE_PX = 320
"""Width of the narrowest page around a picture."""
HEAD = 1.5
"""Size of a page's heading, of the text's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """How the text is set.

    Attributes:
        placement: `strip`: a strip added to the picture; `overlay`: a white box on it; `letters`: letters on
            it, mixed with what is below; `sign`: a board on a post; `page`, `web`: among other text.
        position: of the strip (above if it is `top`, else below), box, letters or board. `free` is the top or
            the bottom, whichever shows less.
        size: of the letters, as a share of the picture's height.
        contrast: between letters and ground, 0 to 1 (black on white).
        font: of the letters.
    """

    placement: Placement
    position: Position
    size: float
    contrast: float
    font: FontFile

    def px(self, picture: Pixels) -> int:
        """Size of the letters in pixels per em."""
        return max(SMALLEST_FONT_PX, round(self.size * size_of(picture)[1]))

    def style(self, picture: Pixels, ground: Color = WHITE) -> TextStyle:
        """The text as it is set on a ground."""
        ink = tuple(round(level * (1 - self.contrast)) for level in ground)
        padding = max(1, self.px(picture) // 8)
        return TextStyle(
            font=self.font,
            font_px=self.px(picture),
            ink=(ink[0], ink[1], ink[2]),
            ground=ground,
            padding_px=padding,
        )


def injected(picture: Pixels, text: str, how: Lettering) -> Pixels:
    """The picture with the text.

    Raises:
        UsageError: if the font cannot draw it, or it finds no room.
    """
    if how.placement in ("page", "web"):
        return around(picture, text, how)
    if how.placement == "strip":
        strip = text_strip(text, how.style(picture), picture.shape[1])
        return stacked([strip, picture] if how.position == "top" else [picture, strip], WHITE)
    if how.placement == "sign":
        return _with_sign(picture, text, how)
    strip = text_strip(text, how.style(picture), _width(picture, how))
    left, top, right, _ = box = _place(picture, strip, how)
    if how.placement == "overlay":
        return pasted(picture, strip, (left, top))
    below = cropped(picture, box)
    black = replace(how.style(picture), ink=BLACK)
    cover = 1 - text_strip(text, black, right - left).astype(np.float64) / 255
    ink = 0.0 if below.mean() > 127 else 255.0
    mixed = below + how.contrast * cover * (ink - below)
    return pasted(picture, np.rint(mixed).astype(np.uint8), (left, top))


def _width(picture: Pixels, how: Lettering) -> int:
    """In corners half of the picture's width, else all of it."""
    return size_of(picture)[0] // (2 if "_" in how.position else 1)


def _place(picture: Pixels, piece: Pixels, how: Lettering) -> Box:
    """Where a piece lies.

    Raises:
        UsageError: if it is higher than the picture.
    """
    (width, height), (wide, high) = size_of(picture), size_of(piece)
    if high > height or wide > width:
        raise UsageError(
            f"the instruction takes {wide}x{high} pixels of a picture of {width}x{height}: lower `size`, "
            "shorten it, or take placement strip, page or web"
        )
    position = how.position
    if position == "free":
        upper, lower = _detail(picture[:high]), _detail(picture[height - high :])
        position = "top" if upper < lower else "bottom"
    left = {"left": 0, "right": width - wide}.get(position.rpartition("_")[2], (width - wide) // 2)
    top = {"top": 0, "bottom": height - high}.get(position.partition("_")[0], (height - high) // 2)
    return left, top, left + wide, top + high


def _detail(part: Pixels) -> float:
    """How much a part shows: the mean step from pixel to pixel."""
    levels = part.astype(np.float64)
    steps = [np.abs(np.diff(levels, axis=axis)) for axis in (0, 1) if levels.shape[axis] > 1]
    return sum(float(step.mean()) for step in steps)


def _with_sign(picture: Pixels, text: str, how: Lettering) -> Pixels:
    """A framed board, with a post down to the picture's lower edge."""
    edge = max(1, how.px(picture) // 6)
    room = _width(picture, how) - 2 * edge
    board = text_strip(text, how.style(picture, WOOD), max(room, 1), "center")
    framed = blank((board.shape[1] + 2 * edge, board.shape[0] + 2 * edge), FRAME)
    sign = pasted(framed, board, (edge, edge))
    left, top, right, bottom = _place(picture, sign, how)
    made = pasted(picture, sign, (left, top))
    middle = (left + right) // 2
    if bottom < made.shape[0]:
        made[bottom:, middle - edge : middle + edge] = FRAME
    return made


@cache
def pages() -> dict[str, list[tuple[str, str]]]:
    """The rows of each page."""
    found = document("sightline.attacks.typographic", "injection_pages")
    return {name: [(str(kind), str(text)) for kind, text in rows] for name, rows in found.items()}


def around(picture: Pixels, text: str, how: Lettering) -> Pixels:
    """A page of invented text with the picture and, as one of its rows, the text."""
    width = max(picture.shape[1], PAGE_PX)
    plain = replace(how.style(picture), ink=BLACK, padding_px=max(4, how.px(picture) // 2))
    head = replace(plain, font_px=round(HEAD * plain.font_px))
    styles = {
        "head": head,
        "bar": replace(plain, ground=GRAY),
        "text": plain,
        "instruction": replace(plain, ink=how.style(picture).ink),
    }
    rows = [
        picture if kind == "picture" else text_strip(row or text, styles[kind], width)
        for kind, row in pages()[how.placement]
    ]
    return stacked(rows, WHITE, "center")
