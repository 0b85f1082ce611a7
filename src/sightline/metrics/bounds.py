"""Worst-case bounds of a rate: whatever unscored rows hide, and whatever errors a judge may make.

No law and no sampling is in them: with k of n scored rows counted and u unscored ones, the share of all n +
u rows lies in [k / (n + u), (k + u) / (n + u)]. Where the judge's sensitivity and specificity are known to
lie in intervals, the true share t of the scored rows solves p = t Se + (1 - t)(1 - Sp), p = k / n, so that
(Manski 2003)

    t = (p + Sp - 1) / (Se + Sp - 1), least at (highest Se, lowest Sp), most at (lowest Se, highest Sp),

cut to [0, 1]; a judge that may be no better than chance (lowest Se + lowest Sp <= 1) bounds nothing.
Unscored rows have no verdict to correct, and count as all out or all in.
"""

from __future__ import annotations

from typing import NamedTuple

from sightline.errors import require


class Bounds(NamedTuple):
    """The least and the largest share that the rows allow."""

    low: float
    high: float


CERTAIN = Bounds(1.0, 1.0)
"""Sensitivity or specificity of a judge that does not err."""


def bounds(
    k: float, n: float, unscored: float = 0, *, sensitivity: Bounds = CERTAIN, specificity: Bounds = CERTAIN
) -> Bounds:
    """The bounds of a share of `n` scored rows, `k` of them counted, and `unscored` others.

    Of no rows it is [0, 1].

    Raises:
        UsageError: for counts that cannot be, or limits that are no shares in order.
    """
    require(0 <= k <= n, "k", k, f"0..{n}")
    require(unscored >= 0, "unscored", unscored, "0 or more")
    for name, (low, high) in (("sensitivity", sensitivity), ("specificity", specificity)):
        require(0 <= low <= high <= 1, name, (low, high), "two shares, the lower one first")
    everyone = n + unscored
    if not everyone:
        return Bounds(0.0, 1.0)
    low, high = _scored(k / n, sensitivity, specificity) if n else Bounds(0.0, 1.0)
    return Bounds((n * low) / everyone, min(1.0, (n * high + unscored) / everyone))


def _scored(share: float, sensitivity: Bounds, specificity: Bounds) -> Bounds:
    """Bounds of the true share where the judge's is `share`."""
    if sensitivity.low + specificity.low <= 1:
        return Bounds(0.0, 1.0)
    return Bounds(
        _true(share, sensitivity.high, specificity.low), _true(share, sensitivity.low, specificity.high)
    )


def _true(share: float, sensitivity: float, specificity: float) -> float:
    found = (share + specificity - 1) / (sensitivity + specificity - 1)
    return min(1.0, max(0.0, found))
