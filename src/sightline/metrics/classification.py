"""Scores of items with one right class: accuracy, balanced accuracy, macro-F1, AUROC, average precision.

Truths and answers are class names; an answer of None could not be read and counts as wrong, never as left
out. Definitions are scikit-learn's where both are defined (compared in tests/metrics/test_classification.py),
except that an undefined value is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import UsageError
from sightline.metrics.means import mean, same_length


class ClassScore(NamedTuple):
    """How one class was found: a share with nothing to divide by is 0, `items` is how many it has."""

    name: str
    items: int
    precision: float
    recall: float
    f1: float


class MacroF1(NamedTuple):
    """The unweighted mean of the classes' F1 (None without classes), the classes, and those without items."""

    value: float | None
    classes: tuple[ClassScore, ...]
    without_items: tuple[str, ...]


def accuracy(truths: Sequence[str], answers: Sequence[str | None]) -> float | None:
    """Right answers / items, in [0, 1]; an unparsed answer (None) is wrong; None without items.

    Raises:
        UsageError: if the columns differ in length.
    """
    same_length("truths and answers", truths, answers)
    return mean(truth == answer for truth, answer in zip(truths, answers, strict=True)).value


def class_scores(
    truths: Sequence[str], answers: Sequence[str | None], classes: Sequence[str] | None = None
) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 = 2 TP / (2 TP + FP + FN) of each class, each in [0, 1]; 0 / 0 counts as 0.

    `classes` are those of the task; by default all that occur among truths and answers, sorted.

    Raises:
        UsageError: if the columns differ in length, or for a truth that is not in `classes` (with its row).
            An answer outside `classes` is wrong for its truth and no class of its own.
    """
    same_length("truths and answers", truths, answers)
    if classes is None:
        names = sorted({*truths, *(answer for answer in answers if answer is not None)})
    else:
        names = list(dict.fromkeys(classes))
    known = set(names)
    for row, truth in enumerate(truths):
        if truth not in known:
            raise UsageError(f"row {row}: truth {truth!r} is not among the classes {', '.join(names)}")
    rows = list(zip(truths, answers, strict=True))
    scores = []
    for name in names:
        items = sum(truth == name for truth, _ in rows)
        said = sum(answer == name for _, answer in rows)
        hits = sum(truth == answer == name for truth, answer in rows)
        scores.append(
            ClassScore(
                name,
                items,
                precision=hits / said if said else 0.0,
                recall=hits / items if items else 0.0,
                f1=2 * hits / (items + said) if items + said else 0.0,
            )
        )
    return tuple(scores)


def balanced_accuracy(truths: Sequence[str], answers: Sequence[str | None]) -> float | None:
    """Mean recall over the classes that have items, in [0, 1]; None without items.

    Raises:
        UsageError: if the columns differ in length.
    """
    return mean(score.recall for score in class_scores(truths, answers) if score.items).value


def macro_f1(
    truths: Sequence[str], answers: Sequence[str | None], classes: Sequence[str] | None = None
) -> MacroF1:
    """Unweighted mean of the F1 of all classes, in [0, 1]; official for GOAT-Bench's tasks.

    A class that was answered (or that `classes` names) but has no item counts with F1 0, as in scikit-learn
    with `zero_division=0`; the result names it.

    Raises:
        UsageError: as `class_scores`.
    """
    scores = class_scores(truths, answers, classes)
    without = tuple(score.name for score in scores if not score.items)
    return MacroF1(mean(score.f1 for score in scores).value, scores, without)


def _sorted(
    scores: Sequence[float], positive: Sequence[bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positives and negatives at each distinct score, the highest first."""
    same_length("scores and labels", scores, positive)
    for row, score in enumerate(scores):
        if not math.isfinite(score):
            raise UsageError(f"row {row}: score {score} is no number; leave the item out and say so")
    flags = np.asarray(positive, dtype=bool)
    distinct, place = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True)
    hits = np.bincount(place[flags], minlength=len(distinct)).astype(np.float64)
    return hits, np.bincount(place[~flags], minlength=len(distinct)).astype(np.float64)


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Chance that a positive item has the higher score than a negative one, a tie counting a half; in [0, 1].

    Mann-Whitney's U / (positives x negatives). None unless both classes have items.

    Raises:
        UsageError: if the columns differ in length, or for a score that is not finite (with its row).
    """
    hits, misses = _sorted(scores, positive)
    pairs = hits.sum() * misses.sum()
    if not pairs:
        return None
    below = misses.sum() - np.cumsum(misses)
    return float((hits * (below + misses / 2)).sum() / pairs)


def average_precision(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Sum over the distinct scores, from the highest, of (recall gained) x (precision so far); in (0, 1].

    Without interpolation, as scikit-learn's `average_precision_score`. None without positive items.

    Raises:
        UsageError: as `auroc`.
    """
    hits, misses = _sorted(scores, positive)
    if not hits.sum():
        return None
    precision = np.cumsum(hits) / np.cumsum(hits + misses)
    return float((hits * precision).sum() / hits.sum())
