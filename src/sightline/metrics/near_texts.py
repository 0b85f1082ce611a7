"""Texts that say nearly the same: cosine of TF-IDF weights of character 3- to 5-grams.

As scikit-learn's `TfidfVectorizer(analyzer="char", ngram_range=(3, 5))` weights them: lower case, runs of
white space as one space, smooth idf = ln((1 + n) / (1 + df)) + 1, rows of length 1. Pairs are found on hashed
weights and confirmed on the exact ones.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log, sqrt

import numpy as np

from sightline.errors import UsageError

LEAST = 0.9
MOST_TEXTS = 20_000
_SIZES = (3, 4, 5)
_COLUMNS, _BLOCK = 2048, 1024
_SLACK = 0.12
"""By how much a hashed cosine may be too low: five standard errors of 1 / sqrt(columns)."""


def weights_of(texts: Sequence[str]) -> list[dict[str, float]]:
    """The TF-IDF weights of each text, as a unit vector over its n-grams."""
    counts = [Counter(_grams(text)) for text in texts]
    seen = Counter(gram for each in counts for gram in each)
    idf = {gram: log((1 + len(texts)) / (1 + df)) + 1 for gram, df in seen.items()}
    found = []
    for each in counts:
        row = {gram: n * idf[gram] for gram, n in each.items()}
        length = sqrt(sum(value**2 for value in row.values())) or 1.0
        found.append({gram: value / length for gram, value in row.items()})
    return found


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Of two unit vectors."""
    small, large = sorted((one, other), key=len)
    return sum(value * large.get(gram, 0.0) for gram, value in small.items())


def near_texts(texts: Sequence[str], least: float = LEAST) -> list[tuple[int, int]]:
    """Pairs of places whose texts have a cosine of at least `least`; of equal texts each with the first.

    Raises:
        UsageError: for more than 20,000 different texts.
    """
    first: dict[str, int] = {}
    pairs = [(first.setdefault(text, place), place) for place, text in enumerate(texts)]
    pairs = [(one, other) for one, other in pairs if one != other]
    places = list(first.values())
    if len(places) > MOST_TEXTS:
        raise UsageError(
            f"{len(places):,} different texts: near ones are looked for among {MOST_TEXTS:,} at most"
        )
    rows = weights_of(list(first))
    hashed = np.zeros((len(rows), _COLUMNS), dtype=np.float32)
    for number, row in enumerate(rows):
        for gram, value in row.items():
            code = zlib.crc32(gram.encode("utf-8", "replace"))
            hashed[number, code % _COLUMNS] += value if code >> 31 else -value
    for start in range(0, len(rows), _BLOCK):
        close = np.triu(hashed[start : start + _BLOCK] @ hashed[start:].T >= least - _SLACK, 1)
        for left, right in zip(*(each.tolist() for each in np.nonzero(close)), strict=True):
            one, other = start + left, start + right
            if cosine(rows[one], rows[other]) >= least:
                pairs.append((places[one], places[other]))
    return pairs


def _grams(text: str) -> list[str]:
    plain = re.sub(r"\s\s+", " ", text.lower())
    return [plain[at : at + size] for size in _SIZES for at in range(len(plain) - size + 1)]
