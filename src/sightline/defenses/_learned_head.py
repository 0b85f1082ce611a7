"""A head that reads texts, learned from answers: logistic on hashed words and pairs, or on a model's states.

The loss of MLLM-Protector: for a safer answer s and a less safe one u to the same request, with scores r and
sigmoid(r) the chance that an answer is harmless,

    -log sigmoid(r_s - r_u) + 2 (BCE(r_s, 1) + BCE(r_u, 0))

(released code adds the second part twice); of answers without a partner the second part alone. Minimized by
full-batch Adam from zero, so that the same answers give the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sightline.defending import Floats

Doubles = NDArray[np.float64]
STEPS, RATE, DECAY = 400, 0.05, 1e-3
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Head:
    """Weights and bias of a score: above 0, an answer is rather harmless."""

    weights: Floats
    bias: float

    def chance(self, features: Floats) -> Floats:
        """Chances that answers are harmless, (n,), from their features (n, d)."""
        scores = np.clip(features @ self.weights + self.bias, -30, 30)
        found: Floats = (1 / (1 + np.exp(-scores))).astype(np.float32)
        return found


def hashed(texts: Sequence[str], buckets: int) -> Floats:
    """Which words and pairs of neighbouring words stand in texts, by hash: (n, buckets), rows of length 1."""
    found = np.zeros((len(texts), buckets), np.float32)
    for row, text in zip(found, texts, strict=True):
        words = _WORD.findall(text.casefold())
        for term in {*words, *map(" ".join, pairwise(words))}:
            row[int.from_bytes(blake2b(term.encode(), digest_size=8).digest(), "big") % buckets] = 1
        row /= max(1.0, float(np.linalg.norm(row)))
    return found


def learned(features: Floats, harmless: Sequence[bool], pairs: Sequence[tuple[int, int]]) -> Head:
    """The head that tells answers apart.

    Args:
        features: of answers, (n, d).
        harmless: of each.
        pairs: numbers of a safer and a less safe answer to the same request.
    """
    x, y = features.astype(np.float64), np.asarray(harmless, np.float64)
    safer, less = (np.array([pair[side] for pair in pairs], int) for side in (0, 1))
    share = np.where(y == 1, 0.5 / max(1.0, y.sum()), 0.5 / max(1.0, (1 - y).sum()))  # classes weigh alike
    theta = np.zeros(x.shape[1] + 1)
    mean, square = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, STEPS + 1):
        slope = _slope(theta, x, y, share, safer, less)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        theta -= RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return Head(theta[:-1].astype(np.float32), float(theta[-1]))


def loss(head: Head, features: Floats, harmless: Sequence[bool], pairs: Sequence[tuple[int, int]]) -> float:
    """What `learned` minimizes, its decay of weights not among it."""
    scores = features.astype(np.float64) @ head.weights.astype(np.float64) + head.bias
    y = np.asarray(harmless, np.float64)
    share = np.where(y == 1, 0.5 / max(1.0, y.sum()), 0.5 / max(1.0, (1 - y).sum()))
    cross = np.logaddexp(0, scores) - y * scores
    apart = [np.logaddexp(0, scores[less] - scores[safer]) for safer, less in pairs]
    return float(4 * (share * cross).sum() + (np.mean(apart) if apart else 0))


def _slope(
    theta: Doubles,
    x: Doubles,
    y: Doubles,
    share: Doubles,
    safer: NDArray[np.int_],
    less: NDArray[np.int_],
) -> Doubles:
    """The gradient of the loss with decay, weights and bias."""
    scores = x @ theta[:-1] + theta[-1]
    by_score = 4 * share * (1 / (1 + np.exp(-np.clip(scores, -30, 30))) - y)
    if len(safer):
        pull = 1 / (1 + np.exp(np.clip(scores[safer] - scores[less], -30, 30))) / len(safer)
        np.add.at(by_score, safer, -pull)
        np.add.at(by_score, less, pull)
    return np.append(x.T @ by_score + DECAY * theta[:-1], by_score.sum())
