"""From spelled pieces to what a language model reads: attention over its own vocabulary, by spelling.

A piece is cut into tokens as the tokenizer cuts it (byte-pair merges, the lowest number first). For every
token, all entries of the vocabulary of that length are weighed by how likely the picture's signs spell them,
and their embeddings are averaged: for a clear picture that is one token's embedding, for an unclear one a
mixture. Nothing here is learnt, and gradients pass to every sign's probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sightline.testbed.smol.eyes.recognizer import CHARACTERS

LONGEST = 16
"""Signs of the longest entry that is known by its spelling."""
NONE, SPACED = 255, 254
"""In a row of `spellings`: no sign there, and (first place only) a space comes before."""
FLOOR = 1e-4
"""Probability that a sign has at least: an entry is never impossible because of one."""


class Cut(NamedTuple):
    """A token of a piece: whether a space belongs to it, and its signs from, up to."""

    spaced: bool
    start: int
    stop: int


def spelling_rows(texts: Sequence[str | None]) -> Tensor:
    """Entries of a vocabulary by number, (n, LONGEST + 1) uint8; all `NONE` for None and for other signs."""
    rows = torch.full((len(texts), LONGEST + 1), NONE, dtype=torch.uint8)
    for row, text in zip(rows, texts, strict=True):
        signs = (text or "").removeprefix(" ")
        if text and len(signs) <= LONGEST and all(sign in CHARACTERS for sign in signs):
            row[0] = SPACED if text.startswith(" ") else 0
            for place, sign in enumerate(signs, start=1):
                row[place] = CHARACTERS.index(sign)
    return rows


class Vocabulary(nn.Module):
    """`entries` spelled words and their embeddings, `width` wide; both are loaded."""

    spellings: Tensor
    values: Tensor

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.register_buffer("spellings", torch.full((entries, LONGEST + 1), NONE, dtype=torch.uint8))
        self.register_buffer("values", torch.zeros(entries, width))

    def forward(self, signs: Tensor, text: str, *, spaced: bool) -> Tensor:
        """The tokens (t, width) of a piece.

        Args:
            signs: probabilities (length, signs) of each of its places.
            text: its likeliest spelling, which decides where tokens are cut.
            spaced: whether a space is before it.
        """
        return torch.stack([self._mixture(signs, cut) for cut in self.cuts(text, spaced=spaced)])

    def _mixture(self, signs: Tensor, cut: Cut) -> Tensor:
        entries, keys = self._groups[cut.spaced, cut.stop - cut.start]
        scores = signs[cut.start : cut.stop].clamp(min=FLOOR).log()
        likely = scores.gather(1, keys.T).sum(0).softmax(0)
        return likely.to(self.values.dtype) @ self.values[entries]

    def cuts(self, text: str, *, spaced: bool) -> Iterator[Cut]:
        """The tokens of a piece, as the tokenizer's merges make them."""
        parts = [" "] * spaced + list(text)
        while len(parts) > 1:
            merged = [self._numbers.get(left + right) for left, right in pairwise(parts)]
            known = [(number, place) for place, number in enumerate(merged) if number is not None]
            if not known:
                break
            _, place = min(known)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        at = 0
        for part in parts:
            length = len(part.removeprefix(" "))
            yield Cut(part.startswith(" "), at, at + length)
            at += length

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        """Entries by text; smaller numbers were merged earlier."""
        found = {}
        for number, (first, *signs) in enumerate(self.spellings.tolist()):
            if first != NONE:
                word = "".join(CHARACTERS[sign] for sign in signs if sign != NONE)
                found[" " * (first == SPACED) + word] = number
        return found

    @cached_property
    def _groups(self) -> Mapping[tuple[bool, int], tuple[Tensor, Tensor]]:
        """Numbers (n,) and signs (n, length) of all entries with a space before or none, by length."""
        known = self.spellings[:, 0] != NONE
        spaced = self.spellings[:, 0] == SPACED
        length = (self.spellings[:, 1:] != NONE).sum(1)
        found = {}
        for flag in (False, True):
            for size in range(LONGEST + 1):
                entries = (known & (spaced == flag) & (length == size)).nonzero().flatten()
                if len(entries):
                    found[flag, size] = (entries, self.spellings[entries, 1 : size + 1].long())
        return found
