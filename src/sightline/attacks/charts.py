"""Flow charts: steps in boxes, joined by arrows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from sightline.attacks.pictures import BLACK, WHITE, Box, Color, Size
from sightline.attacks.strips import TextStyle, fit, text_page
from sightline.errors import UsageError, require
from sightline.records import Pixels

Layout = Literal["vertical", "horizontal", "s_shaped"]


class FlowChart(NamedTuple):
    """A drawn chart and where its boxes are, in the order of the steps."""

    picture: Pixels
    boxes: tuple[Box, ...]


def places(count: int, layout: Layout, columns: int = 3) -> tuple[tuple[int, int], ...]:
    """Column and row of each step; `s_shaped`: rows of `columns`, every other one from right to left."""
    if layout == "vertical":
        return tuple((0, step) for step in range(count))
    if layout == "horizontal":
        return tuple((step, 0) for step in range(count))
    rows = (divmod(step, columns) for step in range(count))
    return tuple((columns - 1 - place if row % 2 else place, row) for row, place in rows)


def flow_chart(
    steps: Sequence[str],
    style: TextStyle,
    layout: Layout = "vertical",
    *,
    box: Size = (320, 120),
    gap_px: int = 60,
    margin_px: int = 30,
    columns: int = 3,
    line_px: int = 3,
    frame: Color = BLACK,
    ground: Color = WHITE,
) -> FlowChart:
    """Steps in boxes of one size, an arrow from each to the next; text is set smaller where it must be.

    Args:
        steps: texts, one per box.
        style: of the texts; its ground fills the boxes.
        layout: where the boxes stand, see `places`.
        box: width and height of a box, with its frame.
        gap_px: between boxes, for the arrows.
        margin_px: around the chart.
        columns: of the `s_shaped` layout.
        line_px: width of frames and arrows.
        frame: color of frames and arrows.
        ground: of the page.

    Raises:
        UsageError: for no steps; if a text does not fit into its box at 8 pixels, or the font cannot draw it.
    """
    require(len(steps) > 0, "steps", 0, "1 or more")
    require(columns >= 1, "columns", columns, "1 or more")
    require(gap_px >= 4 * line_px, "gap_px", gap_px, f"{4 * line_px} or more, so that an arrow has room")
    width, height = box
    inner = width - 4 * line_px, height - 4 * line_px
    if min(inner) < 1:
        raise UsageError(f"a box of {width}x{height} pixels has no room within a frame of {line_px}")
    at = places(len(steps), layout, columns)
    boxes = tuple(_box(place, box, gap_px, margin_px) for place in at)
    page_size = max(each[2] for each in boxes) + margin_px, max(each[3] for each in boxes) + margin_px
    page = Image.new("RGB", page_size, ground)
    pen = ImageDraw.Draw(page)
    smallest = min((fit(text, style, inner) for text in steps), key=lambda fitted: fitted.font_px)
    for text, each in zip(steps, boxes, strict=True):
        left, top, right, bottom = each
        pen.rectangle((left, top, right - 1, bottom - 1), fill=style.ground, outline=frame, width=line_px)
        written = text_page(text, fit(text, smallest, inner), inner)
        page.paste(Image.fromarray(written, "RGB"), (left + 2 * line_px, top + 2 * line_px))
    for first, second in pairwise(boxes):
        _arrow(pen, first, second, line_px, frame)
    return FlowChart(np.array(page, dtype=np.uint8), boxes)


def _box(place: tuple[int, int], box: Size, gap_px: int, margin_px: int) -> Box:
    left, top = (margin_px + step * (side + gap_px) for step, side in zip(place, box, strict=True))
    return left, top, left + box[0], top + box[1]


def _arrow(pen: ImageDraw.ImageDraw, first: Box, second: Box, line_px: int, color: Color) -> None:
    """An arrow from a box to its neighbor: to the side if they stand in one row, else downwards."""
    long, half = 3 * line_px, 2 * line_px
    if first[1] == second[1]:
        rightwards = first[0] < second[0]
        start, tip = (first[2], second[0]) if rightwards else (first[0], second[2])
        y, back = (first[1] + first[3]) // 2, long if rightwards else -long
        pen.line([(start, y), (tip - back, y)], fill=color, width=line_px)
        pen.polygon([(tip, y), (tip - back, y - half), (tip - back, y + half)], fill=color)
    else:
        x, tip = (first[0] + first[2]) // 2, second[1]
        pen.line([(x, first[3]), (x, tip - long)], fill=color, width=line_px)
        pen.polygon([(x, tip), (x - half, tip - long), (x + half, tip - long)], fill=color)
