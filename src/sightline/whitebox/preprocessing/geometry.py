"""The sizes that picture processors resize, pad and tile to: whole-number rules, one per processor.

Read off `transformers` 5.23 (image_transforms.py, image_utils.py, image_processing_utils.py and the
families' image_processing_pil_*.py). Where a float is cut or rounded matters to a pixel, so the order of
operations is the library's. All pairs are (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sightline.errors import UsageError

LARGEST_IDEFICS3 = 4096  # pixels, whatever its settings say
MODULUS_YOLOS = 16  # pixels
MOST_UNEQUAL_QWEN = 200


class Size(NamedTuple):
    """Of a picture, in pixels; or of a canvas, in tiles."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


Rule = Mapping[str, int]  # a processor's `size`: some of height, width, shortest_edge, longest_edge, ...


def resized(old: Size, rule: Rule) -> Size:
    """By the rule that processors share, whichever keys it is given in.

    Raises:
        UsageError: for another set of keys.
    """
    if "shortest_edge" in rule and "longest_edge" in rule:
        return _between_edges(old, rule["shortest_edge"], rule["longest_edge"])
    if "shortest_edge" in rule:
        short, long = sorted(old)
        goal = rule["shortest_edge"]
        longer = int(goal * long / short)
        return Size(longer, goal) if old.width <= old.height else Size(goal, longer)
    if "max_height" in rule and "max_width" in rule:
        scale = min(rule["max_height"] / old.height, rule["max_width"] / old.width)
        return Size(int(old.height * scale), int(old.width * scale))
    return stated(rule)


def stated(rule: Rule) -> Size:
    """Height and width as the rule gives them.

    Raises:
        UsageError: if it does not.
    """
    if "height" not in rule or "width" not in rule:
        raise UsageError(
            f"the picture processor's size {dict(rule)} is not one that it can resize to; give height and "
            "width, or shortest_edge, in preprocessor_config.json"
        )
    return Size(rule["height"], rule["width"])


def _shorter(old: Size, shortest: int, longest: int) -> tuple[float, int]:
    """The shorter edge's new length: exact, and in whole pixels."""
    short, long = float(min(old)), float(max(old))
    if long / short * shortest > longest:
        exact = longest * short / long
        return exact, round(exact)
    return float(shortest), shortest


def _between_edges(old: Size, shortest: int, longest: int) -> Size:
    exact, whole = _shorter(old, shortest, longest)
    if min(old) == whole:
        return old
    if old.width < old.height:
        return Size(int(exact * old.height / old.width), whole)
    return Size(whole, int(exact * old.width / old.height))


def yolos(old: Size, rule: Rule) -> Size:
    """YOLOS: the shared rule, then down to whole multiples of 16."""
    if not {"shortest_edge", "longest_edge"} <= rule.keys():
        return resized(old, rule)
    exact, whole = _shorter(old, rule["shortest_edge"], rule["longest_edge"])
    if old.width < old.height:
        found = Size(int(exact * old.height / old.width), whole)
    else:
        found = old if old.height == whole else Size(whole, int(exact * old.width / old.height))
    return Size(found.height - found.height % MODULUS_YOLOS, found.width - found.width % MODULUS_YOLOS)


def inside(old: Size, canvas: Size) -> Size:
    """LLaVA-NeXT: as large as fits, in proportion, rounded up."""
    across, down = canvas.width / old.width, canvas.height / old.height
    if across < down:
        return Size(min(math.ceil(old.height * across), canvas.height), canvas.width)
    return Size(canvas.height, min(math.ceil(old.width * down), canvas.width))


def best_resolution(old: Size, options: Sequence[Size]) -> Size:
    """LLaVA-NeXT: the canvas that keeps most of the picture's pixels, then the one that wastes fewest."""

    def kept(canvas: Size) -> tuple[int, int]:
        scale = min(canvas.width / old.width, canvas.height / old.height)
        pixels = int(old.width * scale) * int(old.height * scale)
        effective = min(pixels, old.height * old.width)
        return effective, effective - canvas.height * canvas.width

    return max(options, key=kept)


def idefics2(old: Size, rule: Rule) -> Size:
    """Idefics2: the longest edge comes down to its limit, then the shortest up to its own."""
    if "shortest_edge" not in rule or "longest_edge" not in rule:
        return stated(rule)
    height, width = _capped(old, rule["longest_edge"])
    return Size(max(height, rule["shortest_edge"]), max(width, rule["shortest_edge"]))


def _capped(old: Size, longest: int) -> Size:
    ratio = old.width / old.height
    if old.width >= old.height and old.width > longest:
        return Size(int(longest / ratio), longest)
    if old.height > old.width and old.height > longest:
        return Size(longest, int(longest * ratio))
    return old


def idefics3(old: Size, rule: Rule) -> Size:
    """Idefics3: the longest edge becomes the stated one, the other an even number; 4096 at most."""
    if "longest_edge" not in rule:
        return stated(rule)
    ratio, longest = old.width / old.height, rule["longest_edge"]
    if old.width >= old.height:
        height, width = int(longest / ratio), longest
        height += height % 2
    else:
        height, width = longest, int(longest * ratio)
        width += width % 2
    found = _capped(Size(max(height, 1), max(width, 1)), LARGEST_IDEFICS3)
    return Size(max(found.height, 1), max(found.width, 1))


def idefics3_tiled(old: Size, tile: int) -> Size:
    """Idefics3: both edges up to whole tiles; the shorter one starts from the longer one's new length."""
    ratio = old.width / old.height
    if old.width >= old.height:
        width = _up(old.width, tile)
        return Size(_up(int(width / ratio), tile), width)
    height = _up(old.height, tile)
    return Size(height, _up(int(height * ratio), tile))


def _up(length: int, tile: int) -> int:
    return math.ceil(length / tile) * tile


def arrangements(most: int) -> list[Size]:
    """Mllama: every grid of at most `most` tiles; a grid's place, counted from 1, is its id."""
    return [Size(a, b) for a in range(1, most + 1) for b in range(1, most + 1) if a * b <= most]


def mllama_grid(old: Size, most: int, tile: int) -> Size:
    """Mllama: the grid that enlarges the picture least, else shrinks it least; of several, the smallest."""

    def scale(grid: Size) -> float:
        return min(grid.height * tile / old.height, grid.width * tile / old.width)

    grids = arrangements(most)
    enlarging = [scale(grid) for grid in grids if scale(grid) >= 1]
    chosen = min(enlarging) if enlarging else max(map(scale, grids))
    return min((grid for grid in grids if scale(grid) == chosen), key=lambda grid: grid.height * grid.width)


def mllama_inside(old: Size, grid: Size, tile: int) -> Size:
    """Mllama: within the canvas, in proportion, rounded down; edges below a tile are enlarged to one."""
    height = min(max(old.height, tile), grid.height * tile)
    width = min(max(old.width, tile), grid.width * tile)
    down, across = height / old.height, width / old.width
    if across < down:
        return Size(min(math.floor(old.height * across) or 1, height), width)
    return Size(height, min(math.floor(old.width * down) or 1, width))


def qwen(old: Size, factor: int, least: int, most: int) -> Size:
    """Qwen2-VL: both edges multiples of `factor`, `least` to `most` pixels in all, nearly in proportion.

    Raises:
        UsageError: if one edge is more than 200 times the other.
    """
    if max(old) / min(old) > MOST_UNEQUAL_QWEN:
        raise UsageError(f"a picture of {old} pixels is too narrow: Qwen2-VL takes edges of at most 200 to 1")
    height, width = (round(length / factor) * factor for length in old)
    if height * width > most:
        shrink = math.sqrt(old.height * old.width / most)
        return Size(*(max(factor, math.floor(length / shrink / factor) * factor) for length in old))
    if height * width < least:
        grow = math.sqrt(least / (old.height * old.width))
        return Size(*(math.ceil(length * grow / factor) * factor for length in old))
    return Size(height, width)
