"""How alike texts are, by their runs of three letters, and how unlike a set of answers is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import sqrt

import numpy as np

FLOOR = 0.01
"""Added to each likeness before rows become distributions: answers without a common run stay comparable."""


def trigrams(text: str) -> Counter[str]:
    """Counts of a text's runs of three letters, without case, a space before and behind it."""
    plain = f" {' '.join(text.casefold().split())} "
    return Counter(plain[at : at + 3] for at in range(len(plain) - 2))


def likeness(one: Counter[str], other: Counter[str]) -> float:
    """Cosine of two counts, in [0, 1]; two empty ones are alike."""
    if not one or not other:
        return float(one == other)
    shared = sum(count * other[run] for run, count in one.items())
    lengths = sum(count * count for count in one.values()) * sum(count * count for count in other.values())
    return min(1.0, shared / sqrt(lengths))


def divergence(texts: Sequence[str]) -> float:
    """The largest Kullback-Leibler divergence, in nats, between two texts' distributions of likeness.

    Of each text, its likeness to all of them and `FLOOR`, divided by their sum.
    """
    counts = [trigrams(text) for text in texts]
    alike = np.array([[likeness(one, other) for other in counts] for one in counts])
    rows = (alike + FLOOR) / (alike + FLOOR).sum(axis=1, keepdims=True)
    logs = np.log(rows)
    found = (rows[:, None, :] * (logs[:, None, :] - logs[None, :, :])).sum(axis=2)
    return max(0.0, float(found.max()))
