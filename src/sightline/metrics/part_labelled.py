"""The corrected rate of a cell: the judge read every row, people a part drawn with known chances.

With f the judge's flags of all N rows, y people's labels, and bars over labelled rows weighted by the
inverse of their chances, the PPI++ estimate is

    theta = y_w - lam (f_w - f_all),

in which lam makes the variance least: group g moves y_w by a_g and f_w - f_all by b_g, lam = sum a b / sum
b^2 cut to [0, 2], and the variance is sum (a - lam b)^2, each square with the factor of CR2. Groups may be
labelled whole, in part or not at all, rows with chances that depend on the verdict (a stratified draw);
where whole groups of one size are labelled this is `calibration.ppi`. Intervals are Wilson's with this
variance and Student's t. With fewer than `FEW_LABELLED` labels of either kind it is the labels alone.
Coverage: `python benchmarks/calibration.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import UsageError
from sightline.metrics.calibration import FEW_LABELLED, Corrected, too_few
from sightline.metrics.intervals import (
    Floats,
    cluster_sums,
    effective_groups,
    ratio_interval,
    t95,
    variance,
    worth_interval,
)

MOST_WEIGHT = 2.0
"""Of the judge: above 1 where its errors shrink the differences between groups."""
Groups_ = Sequence[object] | NDArray[np.int64]


class _Facts(TypedDict):
    labelled: int
    labelled_groups: int


def corrected_cell(
    flags: ArrayLike, groups: Groups_, labels: ArrayLike, chances: ArrayLike | None = None
) -> Corrected:
    """The true share of a cell's rows.

    Args:
        flags: of the judge, one per row: 1 for the counted outcome, 0 else; any number in [0, 1] for a row
            that it could not score.
        groups: the cluster of each row.
        labels: the same quantity by people; NaN where a row was not labelled, 0.5 where they could not
            decide.
        chances: with which each labelled row was drawn; None if it is the same for all.

    Raises:
        UsageError: for columns of different lengths, flags that are no numbers, or chances outside (0, 1].
    """
    f, y = np.asarray(flags, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    chance = np.ones(len(f)) if chances is None else np.asarray(chances, dtype=np.float64)
    if not len(f) == len(y) == len(groups) == len(chance):
        raise UsageError(f"{len(f)} flags, {len(y)} labels, {len(groups)} groups: not the same rows")
    known = np.isfinite(y)
    if not np.isfinite(f).all() or not ((chance[known] > 0) & (chance[known] <= 1)).all():
        raise UsageError(
            "every row needs a flag, and a labelled one a chance of being drawn above 0, up to 1"
        )
    if not known.any():
        return Corrected(point=None, low=0.0, high=1.0, method="none", note="no row was labelled")
    w = np.where(known, 1 / np.where(known, chance, 1.0), 0.0)
    truth = np.where(known, y, 0.0)
    rows, flagged, weights, w_flags, w_labels = cluster_sums(groups, np.ones(len(f)), f, w, w * f, w * truth)
    asked = weights > 0
    positives, negatives = int((truth[known] > 0.5).sum()), int((truth[known] < 0.5).sum())
    facts = _Facts(labelled=int(known.sum()), labelled_groups=int(asked.sum()))
    if min(positives, negatives) < FEW_LABELLED or facts["labelled_groups"] < 2:
        few = too_few(positives, negatives)
        return _alone(w_labels[asked], weights[asked], float((w**2).sum()), few, facts)
    total = weights.sum()
    y_mean, f_mean, f_all = w_labels.sum() / total, w_flags.sum() / total, flagged.sum() / rows.sum()
    a = (w_labels - y_mean * weights) / total
    b = (w_flags - f_mean * weights) / total - (flagged - f_all * rows) / rows.sum()
    spread = float((b**2).sum())
    lam = float(np.clip((a * b).sum() / spread, 0.0, MOST_WEIGHT)) if spread > 1e-18 else 0.0
    moved: Floats = a - lam * b
    between = variance(moved[asked], weights[asked]) + float((moved[~asked] ** 2).sum())
    raw = float(y_mean - lam * (f_mean - f_all))
    point, count = min(1.0, max(0.0, raw)), max(2, effective_groups(weights[asked]))
    half = t95(count - 1) * sqrt(between)
    low, high = max(0.0, point - half), min(1.0, point + half)
    if 0 < raw < 1:
        low, high, _ = worth_interval(raw, between, float(rows.sum()), count)
    return Corrected(point=point, low=low, high=high, method="ppi++ over groups", lam=lam, **facts)


def _alone(k: Floats, n: Floats, squares: float, note: str, facts: _Facts) -> Corrected:
    """The weighted share of the labelled rows, which count as their effective number (Kish)."""
    worth = float(n.sum()) / squares
    found = ratio_interval(k * worth, n * worth)
    return Corrected(
        point=float(k.sum() / n.sum()),
        low=found.low,
        high=found.high,
        method=f"labels only, {found.method}",
        note=note,
        **facts,
    )
