"""Shares of rows that were drawn with unequal chances, each counted with the inverse of its own.

A share is a ratio of two such sums (Hajek), its variance that between clusters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sightline.metrics.agreement import Share
from sightline.metrics.intervals import (
    SPARSE_GROUPS,
    Floats,
    cluster_sums,
    effective_groups,
    ratio_interval,
    score_interval,
    variance,
    worth_interval,
)


def weighted_share(
    groups: NDArray[np.int64], hits: NDArray[np.bool_], of: NDArray[np.bool_], weights: Floats
) -> Share:
    """The share of `hits` among `of`, rows weighted; `k` and `n` are rows as they were counted.

    With one weight for all, as `metrics.agreement.share`. Else rows are worth what Kish's formula says, and
    where few groups differ, groups count as rows.
    """
    k, n = int((hits & of).sum()), int(of.sum())
    if not n:
        return Share(k=0, n=0, point=None, low=0.0, high=1.0, groups=0)
    w = weights[of] / weights[of].mean()
    inside, hit = groups[of], hits[of]
    weighted_k, weighted_n = cluster_sums(inside, w * hit, w)
    point = float(weighted_k.sum() / weighted_n.sum())
    if np.allclose(w, 1.0):
        interval = ratio_interval(*cluster_sums(inside, hit, np.ones(n)))
    else:
        influence = (weighted_k - point * weighted_n) / weighted_n.sum()
        some, all_ = cluster_sums(inside, hit, ~hit)
        if min(int((some > 0).sum()), int((all_ > 0).sum())) < SPARSE_GROUPS:
            interval = score_interval(point, influence, weighted_n, sparse=True)
        else:
            worth = float(w.sum() ** 2 / (w**2).sum())
            count = max(2, effective_groups(weighted_n))
            interval = worth_interval(point, variance(influence, weighted_n), worth, count)
    return Share(k=k, n=n, point=point, low=interval.low, high=interval.high, groups=len(weighted_n))
