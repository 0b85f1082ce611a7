"""From drawn samples to tensors: token rows in groups of like length, pictures as a frozen tower sees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sightline.testbed.families import Family
from sightline.testbed.families._pieces import PIXEL_MEAN, PIXEL_STD
from sightline.testbed.render import Picture
from sightline.testbed.tokenizer import PAD, encode, vocabulary
from sightline.testbed.world import COLORS, SHAPES
from sightline_testbed.training import pictures
from sightline_testbed.training.samples import IGNORED, Sample

#: tokens that one more forward pass costs as much as
_PASS_TOKENS = 250
#: how many of a picture's words are kept in reading order
READ_SLOTS = 32


class Rows(NamedTuple):
    """Some samples of a batch, padded on the right: ids, labels, mask (n, t); which pictures they show."""

    ids: Tensor
    labels: Tensor
    mask: Tensor
    shown: Tensor


class Seen(NamedTuple):
    """Pictures as a frozen tower sees them, and what stands on them.

    Attributes:
        features: (m, 65, width).
        pieces: (m, 64), the word piece under the right half of each patch; 0 is none.
        reading: (m, 32), the word pieces in reading order, then color and shape; 0 is none.
    """

    features: Tensor
    pieces: Tensor
    reading: Tensor


def collate(samples: Sequence[Sample], family: Family, groups: int = 3) -> list[Rows]:
    """Pad token rows to equal length, in up to `groups` groups such that little is padding."""
    ids, first = family.picture_tokens(), family.picture_first
    rows = [sample.tokens(ids, picture_first=first) for sample in samples]
    picture = np.cumsum([sample.picture is not None for sample in samples]) - 1
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    cuts = _cuts([len(rows[i][0]) for i in order], groups)
    return [
        _padded([rows[i] for i in some], [int(picture[i]) for i in some if samples[i].picture is not None])
        for some in (order[start:stop] for start, stop in itertools.pairwise(cuts))
    ]


def _cuts(lengths: Sequence[int], groups: int) -> tuple[int, ...]:
    """Return where to cut ascending lengths for the least tokens, padding and passes counted."""
    n = len(lengths)
    options = (
        [(0, *inner, n) for k in range(min(groups, n)) for inner in itertools.combinations(range(1, n), k)]
        if n <= 40
        else [(0, *inner, n) for k in range(groups) for inner in itertools.combinations(range(4, n, 4), k)]
    )
    return min(
        options,
        key=lambda cuts: sum(
            lengths[stop - 1] * (stop - start) + _PASS_TOKENS for start, stop in itertools.pairwise(cuts)
        ),
    )


def _padded(rows: Sequence[tuple[list[int], list[int]]], shown: Sequence[int]) -> Rows:
    length = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), length), vocabulary()[PAD])
    labels = torch.full((len(rows), length), IGNORED)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for row, (tokens, wanted) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, : len(wanted)] = torch.tensor(wanted)
        mask[row, : len(tokens)] = 1
    return Rows(ids, labels, mask, torch.tensor(shown, dtype=torch.long))


def picture_tensors(drawn: Sequence[Picture]) -> tuple[Tensor, Tensor]:
    """Return pixels, `uint8` (n, h, w, 3), and dense labels, (n, 64, 6)."""
    pixels = torch.from_numpy(np.stack([picture.pixels for picture in drawn]))
    labels = torch.from_numpy(np.stack([pictures.dense_labels(picture) for picture in drawn]))
    return pixels, labels


def reading_order(picture: Picture) -> list[int]:
    """Return the word pieces of a picture in reading order, then its color and shape; padded with 0."""
    words = [glyph.word for glyph in picture.glyphs if glyph.place == 0]
    if picture.scene is not None:
        words += [picture.scene.color, picture.scene.shape]
    found = [piece for word in words for piece in encode(word)][:READ_SLOTS]
    return found + [0] * (READ_SLOTS - len(found))


def see(look: Callable[[Tensor], Tensor], drawn: Sequence[Picture], *, shapes: bool = False) -> Seen:
    """Return what a frozen tower, a function of normalized pixels, sees of pictures, and their labels.

    With `shapes`, a patch that shows a shape and no text is labeled too: with the word for its color if its
    number is odd, else with the word for its shape.
    """
    pixels, labels = picture_tensors(drawn)
    with torch.no_grad():
        features = look(normalize(pixels))
    reading = torch.tensor([reading_order(picture) for picture in drawn])
    return Seen(features, _with_shapes(labels) if shapes else labels[..., 3], reading)


def _with_shapes(labels: Tensor) -> Tensor:
    """Return the pieces of dense labels (m, 64, 6), (m, 64), filled up with words for shapes and colors."""
    ids = vocabulary()
    words = [torch.tensor([0, *(ids[word] for word in group)]) for group in (SHAPES, COLORS)]
    named = words[0][labels[..., 4]]
    named[:, 1::2] = words[1][labels[:, 1::2, 5]]
    return torch.where(labels[..., 3] > 0, labels[..., 3], named)


def normalize(pixels: Tensor) -> Tensor:
    """Turn `uint8` (n, h, w, 3) into the vision tower's `float32` (n, 3, h, w)."""
    return ((pixels.to(torch.float32) / 255 - PIXEL_MEAN) / PIXEL_STD).permute(0, 3, 1, 2).contiguous()
