"""Seeds derived from keys: the same row gets the same randomness on any worker, in any order."""

from __future__ import annotations

import numpy as np

from sightline.digests import digest


def seed_of(*key: object, bits: int = 63) -> int:
    """A non-negative integer below 2**bits, determined by `key` alone."""
    return int(digest(*key), 16) % (1 << bits)


def numpy_rng(*key: object) -> np.random.Generator:
    """NumPy generator determined by `key`."""
    return np.random.default_rng(seed_of(*key))
