"""A classifier of texts from a folder: a sigmoid per label, over all windows of a long text.

The folder holds model.safetensors, config.json and tokenizer.json, and labels.json (a list) where the
configuration does not name the labels. Nothing is unpickled, downloaded or run from the folder.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from sightline.errors import UsageError
from sightline.targets.local.loading import load_config, load_weights, one_sentence

LONGEST_WINDOW = 512
OVERLAP = 64
"""Tokens that two windows share, at most; an eighth of a window if that is less."""
_BATCH = 8
_ROWS_BEFORE_TEXT = frozenset({"roberta", "xlm-roberta"})
"""Kinds of models whose first positions, up to that of the padding, are not for tokens."""


class WindowScores(NamedTuple):
    """Probabilities by window and label, each in [0, 1]."""

    labels: tuple[str, ...]
    windows: tuple[tuple[float, ...], ...]


class TextClassifier:
    """Opened by `text_classifier`; one text at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        config = load_config(folder)
        self.labels = _labels(folder, config)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UsageError(f"{folder}: no tokenizer.json there; save the model's fast tokenizer into it")
        with one_sentence(folder, "its tokenizer.json cannot be read"):
            self._tokenizer = Tokenizer.from_file(str(path))
            self._tokenizer.no_padding()
        kind, what = AutoModelForSequenceClassification, "a text classifier"
        self._pad = getattr(config, "pad_token_id", None) or 0
        self.window = _window(config, self._pad)
        self._model = load_weights(kind, folder, what, dtype="float32", device="cpu", config=config).eval()
        self._lock = threading.Lock()

    def scores(self, text: str) -> WindowScores:
        """The labels' probabilities for every window of a text, in order."""
        with self._lock, torch.inference_mode(), one_sentence(self._folder, "cannot read a text"):
            overlap = min(OVERLAP, self.window // 8)
            self._tokenizer.enable_truncation(max_length=self.window, stride=overlap)
            first = self._tokenizer.encode(text)
            rows = [window.ids for window in (first, *first.overflowing)]
            found: list[tuple[float, ...]] = []
            for start in range(0, len(rows), _BATCH):
                found.extend(self._run(rows[start : start + _BATCH]))
        return WindowScores(self.labels, tuple(found))

    def _run(self, rows: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[self._pad] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        logits = self._model(input_ids=ids, attention_mask=mask).logits
        return [tuple(row) for row in torch.sigmoid(logits.float()).tolist()]


@lru_cache(maxsize=2)
def text_classifier(folder: Path, digest: str) -> TextClassifier:
    """The classifier in a folder, loaded once for each content `digest` (`files.weights_digest`).

    Raises:
        UsageError: if the folder cannot be loaded as one.
    """
    del digest
    return TextClassifier(folder)


def _labels(folder: Path, config: Any) -> tuple[str, ...]:
    path = folder / "labels.json"
    count = config.num_labels
    names: Any = [config.id2label[number] for number in range(count)]
    if path.is_file():
        with one_sentence(folder, "its labels.json cannot be read"):
            names = orjson.loads(path.read_bytes())
    named = isinstance(names, list) and all(isinstance(each, str) and each for each in names)
    if not named or len(set(names)) != len(names) or len(names) != count:
        raise UsageError(
            f"{path}: {count} different labels are needed, as a list of texts; got {names!r:.100}"
        )
    if all(each.startswith("LABEL_") for each in names):
        raise UsageError(
            f"{folder}: its labels have no names (LABEL_0, ...); write them into labels.json, in order"
        )
    return tuple(each.lower() for each in names)


def _window(config: Any, pad: int) -> int:
    """Tokens that the model can read at once, up to the 512 that such classifiers are trained on."""
    positions = config.max_position_embeddings
    if config.model_type in _ROWS_BEFORE_TEXT:
        positions -= pad + 1
    return min(LONGEST_WINDOW, int(positions))
