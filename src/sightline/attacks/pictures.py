"""Pictures put together without any text: resized, turned, cut, laid out, mixed. Pure functions of pixels.

A size is (width, height); a box is (left, top, right, bottom), right and bottom excluded. Nothing is
resized by the way: what does not fit is an error that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from sightline.errors import UsageError, require
from sightline.records import Pixels

Color: TypeAlias = tuple[int, int, int]
Size: TypeAlias = tuple[int, int]
Box: TypeAlias = tuple[int, int, int, int]

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)
RED: Color = (255, 0, 0)
BLUE: Color = (0, 0, 255)


def size_of(picture: Pixels) -> Size:
    """Width and height."""
    return picture.shape[1], picture.shape[0]


def blank(size: Size, color: Color = WHITE) -> Pixels:
    """A picture of one color; read-only."""
    page = np.full((size[1], size[0], 3), color, dtype=np.uint8)
    page.setflags(write=False)
    return page


def resized(picture: Pixels, size: Size) -> Pixels:
    """The picture at another size, whatever becomes of its shape (bicubic)."""
    if size == size_of(picture):
        return picture
    return np.asarray(Image.fromarray(picture, "RGB").resize(size, Image.Resampling.BICUBIC))


def fitted(picture: Pixels, size: Size, color: Color = WHITE) -> Pixels:
    """The picture as large as it fits into `size` with its shape kept, in the middle; the rest is `color`."""
    width, height = size_of(picture)
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    at = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    return pasted(blank(size, color), resized(picture, inner), at)


def pasted(picture: Pixels, piece: Pixels, at: tuple[int, int]) -> Pixels:
    """The picture with a smaller one on it, whose top left corner is `at`.

    Raises:
        UsageError: if the smaller one does not lie inside.
    """
    (x, y), (width, height) = at, size_of(piece)
    _inside((x, y, x + width, y + height), picture)
    made = picture.copy()
    made[y : y + height, x : x + width] = piece
    return made


def cropped(picture: Pixels, box: Box) -> Pixels:
    """A part of the picture. Raises UsageError if it does not lie inside."""
    left, top, right, bottom = _inside(box, picture)
    return picture[top:bottom, left:right].copy()


def _inside(box: Box, picture: Pixels) -> Box:
    width, height = size_of(picture)
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UsageError(f"the box {box} does not lie inside a picture of {width}x{height} pixels")
    return box


def mirrored(picture: Pixels, axis: Literal["left_right", "top_bottom"] = "left_right") -> Pixels:
    """The mirror image; mirrored twice it is the picture again."""
    return np.ascontiguousarray(picture[:, ::-1] if axis == "left_right" else picture[::-1])


def rotated(picture: Pixels, degrees: float, color: Color = WHITE) -> Pixels:
    """The picture turned counterclockwise; by quarters nothing is resampled.

    By other angles the page grows until all of the picture is on it, and the corners are `color`.
    """
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(picture, round(degrees / 90) % 4))
    turned = Image.fromarray(picture, "RGB").rotate(
        degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=color
    )
    return np.asarray(turned)


def stacked(
    pictures: Sequence[Pixels], color: Color = BLACK, align: Literal["left", "center"] = "left"
) -> Pixels:
    """Pictures below each other, none resized: as wide as the widest, what is left over is `color`."""
    require(len(pictures) > 0, "pictures", 0, "1 or more")
    width = max(picture.shape[1] for picture in pictures)
    made = np.full((sum(picture.shape[0] for picture in pictures), width, 3), color, dtype=np.uint8)
    top = 0
    for picture in pictures:
        left = (width - picture.shape[1]) // 2 if align == "center" else 0
        made[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        top += picture.shape[0]
    return made


def side_by_side(pictures: Sequence[Pixels], color: Color = BLACK) -> Pixels:
    """Pictures from left to right, none resized, flush at the top: as high as the highest."""
    turned = stacked([picture.swapaxes(0, 1) for picture in pictures], color)
    return np.ascontiguousarray(turned.swapaxes(0, 1))


def grid(tiles: Sequence[Pixels], columns: int, color: Color = WHITE) -> Pixels:
    """Tiles of one size row by row; places without a tile in the last row are `color`.

    Raises:
        UsageError: for no tiles, or tiles of different sizes.
    """
    require(columns >= 1, "columns", columns, "1 or more")
    sizes = sorted({size_of(tile) for tile in tiles})
    if len(sizes) != 1:
        raise UsageError(f"a grid needs tiles of one size, not of {sizes or 'none'}; use `fitted`")
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    lack = [blank(sizes[0], color)] * (columns * len(rows) - len(tiles))
    return stacked([side_by_side([*row, *(lack if row is rows[-1] else ())]) for row in rows])


def patches(picture: Pixels, rows: int, columns: int) -> tuple[Pixels, ...]:
    """The picture cut into equal patches, row by row.

    Raises:
        UsageError: if its sides are no multiples of `rows` and `columns`.
    """
    width, height = size_of(picture)
    require(rows >= 1 and height % rows == 0, "rows", rows, f"a divisor of the height, {height} pixels")
    require(columns >= 1 and width % columns == 0, "columns", columns, f"a divisor of the width, {width}")
    bands = np.split(picture, rows)
    return tuple(patch.copy() for band in bands for patch in np.split(band, columns, axis=1))


def rearranged(picture: Pixels, rows: int, columns: int, order: Sequence[int]) -> Pixels:
    """The picture with its patches in another order: at place i stands patch `order[i]`.

    Raises:
        UsageError: as `patches`; if `order` is no permutation of their numbers.
    """
    pieces = patches(picture, rows, columns)
    if sorted(order) != list(range(len(pieces))):
        raise UsageError(f"order={list(order)}: expected each number from 0 to {len(pieces) - 1} once")
    return grid([pieces[number] for number in order], columns)


def blended(first: Pixels, second: Pixels, share: float) -> Pixels:
    """Both pictures in one, pixel by pixel: `share` of the first, 1 - `share` of the second (mixup).

    Raises:
        UsageError: for pictures of different sizes, or a share outside 0 to 1.
    """
    require(0 <= share <= 1, "share", share, "0..1")
    _alike(first, second)
    return np.rint(first * share + second * (1 - share)).astype(np.uint8)


def cut_mixed(picture: Pixels, other: Pixels, box: Box) -> Pixels:
    """The picture with what `other` shows in a box (CutMix). Raises UsageError as `blended`, `cropped`."""
    _alike(picture, other)
    return pasted(picture, cropped(other, box), box[:2])


def cut_mix_box(size: Size, share: float, rng: np.random.Generator) -> Box:
    """A box of the picture's shape that covers about `share` of its area, at a random place inside it."""
    require(0 < share <= 1, "share", share, "more than 0, at most 1")
    width, height = (min(side, max(1, round(side * share**0.5))) for side in size)
    left, top = int(rng.integers(size[0] - width + 1)), int(rng.integers(size[1] - height + 1))
    return left, top, left + width, top + height


def _alike(first: Pixels, second: Pixels) -> None:
    if first.shape != second.shape:
        (a, b), (c, d) = size_of(first), size_of(second)
        raise UsageError(f"pictures of {a}x{b} and {c}x{d} pixels cannot be mixed; use `resized` or `fitted`")
