"""A bundled detector of swearing in English: five calibrated linear classifiers over TF-IDF of words.

The model is that of `alt-profanity-check` 1.9.1 (MIT; `profanity/LICENSE-alt-profanity-check.txt`), made
plain numbers by `benchmarks/profanity.py`, which also compares the two. Its vocabulary is full of slurs, so
words stand here as 64-bit hashes.

    x       counts of words of the vocabulary times idf, scaled to length 1
    s_k     w_k x + b_k, fold k of 5
    score   mean over k of 1 / (1 + exp(a_k s_k + c_k))
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOKEN = re.compile(r"(?u)\b\w\w+\b")
FOLDS = 5
ROW = [("token", "<u8"), ("idf", "<f4"), ("weights", "<f4", (FOLDS,))]
FILES = ("weights.npy", "model.json")


class Sworn(NamedTuple):
    """How likely a text swears, 0 to 1, and how many of its words the model knows."""

    score: float
    known: int


class _Model(NamedTuple):
    token: NDArray[np.uint64]
    idf: NDArray[np.float64]
    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]


def hashed(word: str) -> int:
    """The number under which a word stands in the table."""
    encoded = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def score(text: str) -> Sworn:
    """The probability of swearing; that of a text without a known word is the model's floor."""
    import numpy as np

    model = _model()
    counts = Counter(TOKEN.findall(text.lower()))
    tokens = np.array([hashed(word) for word in counts], dtype=np.uint64)
    at = np.searchsorted(model.token, tokens)
    known = (at < len(model.token)) & (model.token[np.minimum(at, len(model.token) - 1)] == tokens)
    at = at[known]
    x = np.array(list(counts.values()), dtype=np.float64)[known] * model.idf[at]
    length = np.sqrt(x @ x)
    along = (x / length) @ model.weights[at] if len(at) else np.zeros(FOLDS)
    inside = model.slopes * (along + model.intercepts) + model.offsets
    return Sworn(float(np.mean(1 / (1 + np.exp(inside)))), len(at))


@cache
def digest_of_files() -> str:
    """SHA-256 of the model's files."""
    found = hashlib.sha256()
    for name in FILES:
        found.update((files("sightline.judges") / "profanity" / name).read_bytes())
    return found.hexdigest()


@cache
def _model() -> _Model:
    import numpy as np

    folder = files("sightline.judges") / "profanity"
    table = np.load(io.BytesIO((folder / "weights.npy").read_bytes()), allow_pickle=False)
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    numbers = (np.array(facts[name]) for name in ("intercepts", "slopes", "offsets"))
    return _Model(table["token"], table["idf"].astype(float), table["weights"].astype(float), *numbers)
