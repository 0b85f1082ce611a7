"""From columns of scores to soft spellings of pieces: CTC, read off smoothly.

A column begins a sign as far as the sign is likely in it and was not in the column before (the rule of CTC:
what repeats is one sign). Summed up, these beginnings count the signs so far, and say in which place of the
line's spelling a column's sign belongs; between two whole numbers it is shared out. For certain scores the
spelling is exact, and everywhere it follows the scores smoothly.

Pieces are cut as the tokenizer cuts: between letters, digits and marks, and at spaces. Where to cut is
decided by the likeliest signs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sightline.testbed.smol.eyes.recognizer import CHARACTERS

PLACES = 64
"""Signs of a line that are read."""
PRESENT = 0.5
"""Sum of probabilities from which on a place holds a sign."""
SPACE = len(CHARACTERS)


class Piece(NamedTuple):
    """A soft spelling (length, signs), its likeliest text, and whether a space is before it."""

    signs: Tensor
    text: str
    spaced: bool


def spelled(scores: Tensor) -> Tensor:
    """The soft spelling (PLACES, signs and space) of a line, from log-probabilities (columns, classes)."""
    likely = scores.exp()
    before = functional.pad(likely[:-1], (0, 0, 1, 0))
    begins = (likely * (1 - before))[:, 1:]  # without the blank
    total = begins.sum(1)
    at = total.cumsum(0) - total / 2 - 0.5  # the middle of what the column adds
    places = torch.arange(PLACES, device=scores.device, dtype=scores.dtype)
    shares = (1 - (at[:, None] - places).abs()).clamp(min=0)
    return shares.T @ begins


def pieces(spelling: Tensor, *, first: bool) -> list[Piece]:
    """The pieces of a line's spelling. `first`: nothing stands before the line."""
    likeliest = spelling.detach().argmax(1).tolist()
    there = (spelling.detach().sum(1) > PRESENT).tolist()
    found: list[Piece] = []
    begun: list[int] = []
    spaced = not first
    for place, sign in [*enumerate(likeliest), (PLACES, SPACE)]:
        if place < PLACES and not there[place]:
            continue
        if begun and (sign == SPACE or _kind(sign) != _kind(likeliest[begun[-1]]) or _kind(sign) == "digit"):
            text = "".join(CHARACTERS[likeliest[each]] for each in begun)
            found.append(Piece(spelling[begun, :SPACE], text, spaced))
            begun, spaced = [], False
        if sign == SPACE:
            spaced = True
        else:
            begun.append(place)
    return found


def _kind(sign: int) -> str:
    """Signs of one kind stand in one piece, digits each in their own."""
    if sign == SPACE:
        return "space"
    character = CHARACTERS[sign]
    return "letter" if character.isalpha() else "digit" if character.isdigit() else "mark"
