"""Pictures that look the same: a 64-bit difference hash finds pairs, a small gray picture confirms them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 3
"""Bits in which the hashes of two pictures that look the same may differ."""
MOST_LEVELS = 12
"""Levels of 255 by which each pixel of their miniatures may differ."""
_SMALL = 2_048
"""A bucket of so many hashes is compared pair by pair; a larger one is divided again."""
_DIVISIONS = 3
"""How often a bucket is divided; after that its pairs are compared in blocks."""

Places = NDArray[np.intp]


def alike(hashes: Sequence[int], miniatures: Sequence[bytes]) -> list[list[int]]:
    """Groups of pictures that look the same, as places in the two lists; each of two or more.

    Of two hashes that differ in at most three bits, one of four parts of 16 bits is equal: only those with
    an equal part are compared, so that 10^5 pictures do not make 5 * 10^9 pairs.
    """
    if not hashes:
        return []
    small = np.frombuffer(b"".join(miniatures), dtype=np.uint8).reshape(len(hashes), -1).astype(np.int16)
    values, first, same = np.unique(np.array(hashes, dtype=np.uint64), return_index=True, return_inverse=True)
    order = np.lexsort((small.mean(axis=1), same))  # those of one hash side by side, by brightness
    equal = same[order[1:]] == same[order[:-1]]
    parent = np.arange(len(hashes))
    for left, right in [(order[:-1][equal], order[1:][equal]), *_pairs(values, first, 64)]:
        close = np.abs(small[left] - small[right]).max(axis=1, initial=0) <= MOST_LEVELS
        for one, two in zip(left[close].tolist(), right[close].tolist(), strict=True):
            parent[_root(parent, one)] = _root(parent, two)
    groups: dict[int, list[int]] = {}
    for place in range(len(hashes)):
        groups.setdefault(_root(parent, place), []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def _root(parent: NDArray[np.intp], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = int(parent[place])
    return place


def _pairs(
    values: NDArray[np.uint64], places: Places, bits: int, divisions: int = 0
) -> Iterator[tuple[Places, Places]]:
    """Pairs of places whose values differ in at most `MOST_BITS` of `bits`; some more than once."""
    width = bits // (MOST_BITS + 1)
    for part in range(MOST_BITS + 1):
        low = part * width
        size = width if part < MOST_BITS else bits - low
        keys = (values >> np.uint64(low)) & np.uint64((1 << size) - 1)
        order = np.argsort(keys, kind="stable")
        ends = [*(np.flatnonzero(np.diff(keys[order])) + 1).tolist(), len(order)]
        for start, end in zip([0, *ends], ends, strict=False):
            bucket = order[start:end]
            if len(bucket) <= _SMALL or divisions == _DIVISIONS:
                yield from _compared(values[bucket], places[bucket])
                continue
            high = low + size  # all are equal from `low` up to here: look on in the other bits
            upper = values[bucket] >> np.uint64(high) << np.uint64(low) if high < 64 else np.uint64(0)
            lower = values[bucket] & np.uint64((1 << low) - 1)
            yield from _pairs(upper | lower, places[bucket], bits - size, divisions + 1)


def _compared(values: NDArray[np.uint64], places: Places) -> Iterator[tuple[Places, Places]]:
    """Pairs of one bucket, in blocks."""
    for start in range(0, len(values) - 1, _SMALL):
        block = values[start : start + _SMALL, None] ^ values[None, start:]
        left, right = np.nonzero(np.triu(np.bitwise_count(block) <= MOST_BITS, 1))
        if len(left):
            yield places[start + left], places[start + right]
