"""Text as a part of a picture: strips, captions, numbers on tiles, a word cut into parts.

A `TextStyle` says in which font, size and colors; what its font cannot draw raises UsageError. Whatever is
made here holds all of its text: nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from PIL import ImageFont

from sightline.attacks.font_files import FontFile
from sightline.attacks.line_breaks import clusters, wrap_measured
from sightline.attacks.pictures import BLACK, WHITE, Color, Size, blank, cropped, pasted, size_of, stacked
from sightline.attacks.rendering import Line, draw, ink_box
from sightline.attacks.scripts import direction_of, is_shaped
from sightline.errors import UsageError, require
from sightline.records import Pixels

SMALLEST_FONT_PX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStyle:
    """How text is drawn: font (of `font_files.find_font`), pixels per em, color of the letters, of the rest.

    `padding_px` stays free on all sides.
    """

    font: FontFile
    font_px: int
    ink: Color = BLACK
    ground: Color = WHITE
    padding_px: int = 0

    def face(self, text: str) -> ImageFont.FreeTypeFont:
        """The face to draw a text in. Raises UsageError as `FontFile.at`, and for no text."""
        if not text.strip():
            raise UsageError("there is no text to draw")
        return self.font.at(self.font_px, text)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Placed lines, and the size of the strip that holds their ink and padding."""

    lines: tuple[Line, ...]
    face: ImageFont.FreeTypeFont
    size: Size


def text_strip(
    text: str, style: TextStyle, width_px: int, align: Literal["left", "center"] = "left"
) -> Pixels:
    """A text in a strip of a given width, wrapped, as high as its lines take; "left" is right for Arabic.

    Raises:
        UsageError: if the font cannot draw it, or one character is wider than the strip.
    """
    laid = _layout(text, style, width_px, align)
    if laid is None:
        raise UsageError(
            f"a strip of {width_px} px is too narrow for text of {style.font_px} px: make it wider"
        )
    return draw(laid.lines, laid.face, laid.size, ink=style.ink, ground=style.ground)


def _layout(text: str, style: TextStyle, width_px: int, align: Literal["left", "center"]) -> _Layout | None:
    """Lines with all their ink inside the padding; None if a character is too wide.

    Letters may stick out beyond their advance: then the lines are wrapped a little narrower.
    """
    face, most = style.face(text), width_px - 2 * style.padding_px
    direction = direction_of(text)
    pitch, ascent = sum(face.getmetrics()), face.getmetrics()[0]
    for room in range(most + 1, max(1, most - round(face.size)), -1):
        broken = [Line(part, 0, ascent + row * pitch) for row, part in enumerate(_broken(text, face, room))]
        boxes = [ink_box(line, face) or (0, line.baseline, 0, line.baseline) for line in broken]
        left, right = min(0, *(box[0] for box in boxes)), max(box[2] for box in boxes)
        if right - left <= most:
            break
    else:
        return None
    top = min(0, *(box[1] for box in boxes))
    height = max(pitch * len(broken), *(box[3] for box in boxes)) - top
    x, y = style.padding_px - left, style.padding_px - top
    share = 0.5 if align == "center" else direction == "rtl"
    indents = [int((most - (box[2] - left)) * share) for box in boxes]
    lines = tuple(
        replace(line, x=x + indent, baseline=y + line.baseline)
        for line, indent in zip(broken, indents, strict=True)
    )
    return _Layout(lines, face, (width_px, height + 2 * style.padding_px))


def _broken(text: str, face: ImageFont.FreeTypeFont, room: int) -> list[str]:
    paragraphs = [part for part in text.split("\n") if part.strip()]
    return [line for part in paragraphs for line in wrap_measured(part, face, room, "", break_words=True)]


def text_line(text: str, style: TextStyle) -> Pixels:
    """A text on one line, as wide as it is.

    Raises:
        UsageError: if the font cannot draw it.
    """
    return _joined_line((text,), style)[0]


def _joined_line(texts: Sequence[str], style: TextStyle) -> tuple[Pixels, list[int]]:
    """Texts drawn as one line, and where each begins and the last ends."""
    whole = "".join(texts)
    if "\n" in whole:
        raise UsageError(f"the text {whole!r} is more than one line")
    face = style.face(whole)
    pitch, ascent = sum(face.getmetrics()), face.getmetrics()[0]
    line = Line(whole, 0, ascent, direction_of(whole))
    left, top, right, bottom = ink_box(line, face) or (0, 0, 0, 0)
    x, y = style.padding_px - min(left, 0), style.padding_px - min(top, 0)
    stops = [x + round(face.getlength("".join(texts[:end]))) for end in range(len(texts) + 1)]
    width = max(x + right, stops[-1]) + style.padding_px
    height = y + max(bottom, pitch) + style.padding_px
    placed = replace(line, x=x, baseline=y + line.baseline)
    return draw([placed], face, (width, height), ink=style.ink, ground=style.ground), stops


def split_evenly(text: str, parts: int, least: int = 2) -> tuple[str, ...]:
    """A word in parts that differ by one character at most, the longer ones first.

    Raises:
        UsageError: if a part would have fewer than `least` characters.
    """
    require(parts >= 1, "parts", parts, "1 or more")
    signs = clusters(text)
    if len(signs) < parts * least:
        raise UsageError(
            f"{text!r} has {len(signs)} characters: too few for {parts} parts of {least} or more"
        )
    size, longer = divmod(len(signs), parts)
    starts = [part * size + min(part, longer) for part in range(parts + 1)]
    return tuple("".join(signs[a:b]) for a, b in pairwise(starts))


def cut_strip(parts: Sequence[str], style: TextStyle) -> tuple[Pixels, ...]:
    """The parts of a text drawn as one line and cut between them, as FigStep-Pro cuts a phrase.

    Side by side they are the line again.

    Raises:
        UsageError: if the font cannot draw the text, or it is not written from left to right.
    """
    text = "".join(parts)
    if is_shaped(text):
        raise UsageError(f"{text!r} has joined letters or runs right to left: it cannot be cut into parts")
    line, stops = _joined_line(parts, style)
    width, height = size_of(line)
    cuts = [0, *stops[1:-1], width]
    return tuple(cropped(line, (a, 0, b, height)) for a, b in pairwise(cuts))


def fit(text: str, style: TextStyle, size: Size) -> TextStyle:
    """The style in the largest type, at most its own, in which a text fits into `size` when it is wrapped.

    Raises:
        UsageError: if it does not fit at 8 pixels, or the font cannot draw it.
    """
    style.face(text)
    for px in range(style.font_px, SMALLEST_FONT_PX - 1, -1):
        smaller = replace(style, font_px=px)
        laid = _layout(text, smaller, size[0], "left")
        if laid is not None and laid.size[1] <= size[1]:
            return smaller
    raise UsageError(
        f"a text of {len(text)} characters does not fit into {size[0]}x{size[1]} pixels even at "
        f"{SMALLEST_FONT_PX} px: give it more room"
    )


def text_page(text: str, style: TextStyle, size: Size, align: Literal["left", "center"] = "center") -> Pixels:
    """A page of `size` with a text, wrapped, its block in the middle of the height.

    Raises:
        UsageError: if it does not fit (see `fit`), or the font cannot draw it.
    """
    strip = text_strip(text, style, size[0], align)
    if strip.shape[0] > size[1]:
        raise UsageError(
            f"a text of {len(text)} characters does not fit into {size[0]}x{size[1]} pixels at "
            f"{style.font_px} px: set the type smaller"
        )
    return pasted(blank(size, style.ground), strip, (0, (size[1] - strip.shape[0]) // 2))


def caption(
    size: Size, line: str, style: TextStyle, heading: str = "", bold: TextStyle | None = None
) -> Pixels:
    """A strip of `size` with a line such as `key: value`, below a heading in the style `bold` (else `style`).

    Both are set smaller than their styles say where they do not fit.

    Raises:
        UsageError: if they do not fit at 8 pixels, or the font cannot draw them.
    """
    if not heading:
        return text_page(line, fit(line, style, size), size, "left")
    upper = size[0], size[1] // 2
    lower = size[0], size[1] - upper[1]
    head = text_page(heading, fit(heading, bold or style, upper), upper, "left")
    return stacked([head, text_page(line, fit(line, style, lower), lower, "left")])


def captioned(picture: Pixels, strip: Pixels, side: Literal["below", "above"] = "below") -> Pixels:
    """The picture with a strip below or above it; white where one is wider."""
    return stacked([picture, strip] if side == "below" else [strip, picture], WHITE)


def numbered(tiles: Sequence[Pixels], style: TextStyle, first: int = 1) -> tuple[Pixels, ...]:
    """The tiles, each with its number in its top left corner on the style's ground.

    Raises:
        UsageError: if a tile is smaller than its number.
    """
    return tuple(
        pasted(tile, text_line(str(number), style), (0, 0)) for number, tile in enumerate(tiles, first)
    )
