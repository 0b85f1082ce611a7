"""Where the lines of text stand on a page, and what each looks like to the recognizer.

What differs from the page's commonest brightness is ink; rows with ink that touch make a line, thin ones
(dots, accents) join the line below them. Where a line stands is decided, not computed smoothly: gradients
reach the pixels of the lines found, not the choice of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sightline.testbed.smol.eyes.recognizer import HEIGHT

FAINT, SHARE = 0.1, 0.4
"""Contrast below which a page is blank, and share of the greatest contrast from which on a pixel is ink."""
LEAST_PX, THIN = 4, 0.35
"""Height of the smallest line; a run of rows thinner than this share of the next one belongs to it."""
MARGIN = 0.18
"""Of a line's height, left around it on every side."""
NARROWEST, WIDEST, STEP = 96, 1280, 64
"""Pixels of a line's width once it is `HEIGHT` high."""


class Box(NamedTuple):
    """Rows and columns of ink: from, up to (not included)."""

    top: int
    bottom: int
    left: int
    right: int


def find(page: Tensor) -> list[Box]:
    """Lines of ink of a page (3, h, w) in [0, 1], from top to bottom."""
    gray = page.detach().mean(0)
    paper = torch.histc(gray, 16, 0, 1).argmax() / 16 + 1 / 32
    contrast = (gray - paper).abs()
    most = float(contrast.max())
    if most < FAINT:
        return []
    ink = contrast > SHARE * most
    bands = _joined(_runs(ink.any(1)))
    found = []
    for top, bottom in bands:
        if bottom - top >= LEAST_PX:
            columns = ink[top:bottom].any(0).nonzero().flatten()
            found.append(Box(top, bottom, int(columns[0]), int(columns[-1]) + 1))
    return found


def _runs(marked: Tensor) -> list[tuple[int, int]]:
    """Where marked rows begin and end."""
    edges = torch.diff(functional.pad(marked.to(torch.int8), (1, 1))).nonzero().flatten().tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs of rows; a thin one and the one below it, if that is near, are one."""
    found: list[tuple[int, int]] = []
    for top, bottom in runs:
        if found:
            above, end = found[-1]
            height = bottom - top
            if end - above < THIN * height and top - end < THIN * height:
                found[-1] = (above, bottom)
                continue
        found.append((top, bottom))
    return found


def cut(page: Tensor, box: Box) -> Tensor:
    """A line (1, 3, HEIGHT, w) as the recognizer takes it: BGR in [-1, 1], `w` a multiple of `STEP`.

    Ratios of sides are kept unless the line is very long; what is left to the right is mid gray.
    """
    rim = max(2, round(MARGIN * (box.bottom - box.top)))
    padded = functional.pad(page[None], (rim, rim, rim, rim), mode="replicate")
    part = padded[:, :, box.top : box.bottom + 2 * rim, box.left : box.right + 2 * rim]
    height, width = part.shape[2:]
    wide = min(WIDEST, max(8, round(HEIGHT * width / height)))
    sized = functional.interpolate(part, (HEIGHT, wide), mode="bilinear", align_corners=False)
    room = max(NARROWEST, -(-wide // STEP) * STEP)
    return functional.pad(sized.flip(1) * 2 - 1, (0, room - wide))
