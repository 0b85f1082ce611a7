"""Does a yes or no go with a number? The slope of a logistic regression, with a clustered interval.

log(p / (1 - p)) = a + b x, by maximum likelihood (Newton's steps). The variance is the sandwich
A^-1 B A^-1 with A the information and B the sum over clusters of the outer products of their scores, times
G / (G - 1) x (N - 1) / (N - 2) (Liang and Zeger 1986, as statsmodels' `cov_type="cluster"` has it); the
interval is Student's with G - 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sightline.errors import UsageError
from sightline.metrics.confusion import FEWEST, Estimate
from sightline.metrics.intervals import cluster_sums, t95

FEW_OF_A_KIND = 5
"""Least number of yes, and of no, for a slope."""
STEPS = 50
FAR = 30.0
"""Log-odds beyond which a fit is taken for running away: x separates yes from no."""


def logit_slope(yes: ArrayLike, x: ArrayLike, groups: Sequence[Hashable] | None = None) -> Estimate:
    """By how much the log-odds of yes rise with x by 1; exp of it is the odds ratio.

    Args:
        yes: 0 or 1 per row.
        x: a number per row.
        groups: the cluster of each row; by default each is its own.

    Returns:
        No point where there are fewer than 5 of either kind, x is the same throughout or separates them; no
        interval with fewer than 10 clusters.

    Raises:
        UsageError: for columns of different lengths, or values that are no number.
    """
    y, given = np.asarray(yes, dtype=np.float64), np.asarray(x, dtype=np.float64)
    names = list(range(len(y))) if groups is None else list(groups)
    if not len(y) == len(given) == len(names):
        raise UsageError(f"{len(y)} answers, {len(given)} numbers, {len(names)} groups: not the same rows")
    if not (np.isfinite(given).all() and np.isin(y, (0.0, 1.0)).all()):
        raise UsageError("a slope needs 0 or 1 and a finite number in every row")
    nothing = Estimate(point=None, low=None, high=None)
    if min(y.sum(), (1 - y).sum()) < FEW_OF_A_KIND or np.ptp(given) == 0:
        return nothing
    center, scale = given.mean(), given.std()
    rows = np.column_stack([np.ones(len(y)), (given - center) / scale])
    found = np.array([np.log(y.mean() / (1 - y.mean())), 0.0])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(rows @ found, -FAR, FAR)))
        information = rows.T @ (rows * (p * (1 - p))[:, None])
        if np.linalg.cond(information) > 1e12 or np.abs(found).max() > FAR:
            return nothing
        step = np.linalg.solve(information, rows.T @ (y - p))
        found = found + step
        if np.abs(step).max() < 1e-10:
            break
    else:
        return nothing
    scores = np.stack(cluster_sums(names, *(rows * (y - p)[:, None]).T), axis=1)
    count = len(scores)
    if count < FEWEST:
        return Estimate(point=float(found[1] / scale), low=None, high=None)
    bread = np.linalg.inv(information)
    variance = bread @ (scores.T @ scores) @ bread * count / (count - 1) * (len(y) - 1) / (len(y) - 2)
    half = t95(count - 1) * float(np.sqrt(variance[1, 1]))
    low, high = (float((found[1] + sign * half) / scale) for sign in (-1, 1))
    return Estimate(point=float(found[1] / scale), low=low, high=high)
