"""95 % intervals and tests for shares whose rows come in clusters.

Wilson (1927) for independent rows. For rows that share a behavior or picture: percentile bootstrap of a
ratio of sums, resampling whole clusters. Only the distinct pairs (successes, rows) of the clusters matter,
so a replicate is one multinomial draw over those pairs: the same law as drawing clusters one by one, at a
cost that does not grow with the rows. Rows themselves are never resampled.

A percentile bootstrap is blind where nearly all clusters agree (0 of n gives [0, 0]). There the interval is
widened to hold Wilson's (for differences: Newcombe's hybrid, 1998) with clusters counted as rows. Below 30
clusters its coverage falls short of 95 %; rates carry a flag for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
REPLICATES = 2000
FEW_GROUPS = 30
SPARSE_GROUPS = 5
"""With fewer clusters than this off the unanimous value, a bootstrap interval is widened (see above)."""

Floats = NDArray[np.float64]
_CHUNK = 2_000_000  # weights drawn at once: 16 MB
_EXACT_SUM = 10_000


class Interval(NamedTuple):
    """A 95 % interval and how it was made."""

    low: float
    high: float
    method: str


class Difference(NamedTuple):
    """First minus second share on the same rows, its interval, and the p-value of "no difference"."""

    point: float
    low: float
    high: float
    p: float
    method: str


def wilson(k: float, n: float) -> Interval:
    """Wilson's score interval of `k` successes in `n` independent rows; [0, 1] for no rows."""
    if n <= 0:
        return Interval(0.0, 1.0, "none")
    share, square = k / n, Z95**2
    center = (share + square / (2 * n)) / (1 + square / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if k <= 0 else max(0.0, float(center - half))
    high = 1.0 if k >= n else min(1.0, float(center + half))
    return Interval(low, high, "wilson")


def cluster_sums(groups: Sequence[object] | NDArray[np.integer], *values: ArrayLike) -> tuple[Floats, ...]:
    """Sums of each of `values` (one per row) over the rows of each group, in order of first appearance."""
    if isinstance(groups, np.ndarray) and np.issubdtype(groups.dtype, np.integer):
        _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
        codes = np.argsort(np.argsort(first))[codes]
        size = len(first)
    else:
        seen: dict[object, int] = {}
        codes = np.fromiter((seen.setdefault(group, len(seen)) for group in groups), np.int64, len(groups))
        size = len(seen)
    sums = (np.bincount(codes, weights=np.asarray(value, np.float64), minlength=size) for value in values)
    return tuple(total.astype(np.float64) for total in sums)


def resampled_sums(clusters: Floats, *, replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """Column sums of `clusters` (n x c) in each of `replicates` bootstrap samples of n clusters.

    Returns:
        replicates x c.
    """
    total = len(clusters)
    distinct, counts = np.unique(clusters, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    sums = np.empty((replicates, clusters.shape[1]))
    if 4 * len(distinct) > total:  # nearly all differ: drawing clusters one by one is cheaper
        ordered = np.repeat(distinct, counts, axis=0)  # so that the order of clusters does not matter
        step = max(1, _CHUNK // total)
        for start in range(0, replicates, step):
            drawn = rng.integers(0, total, size=(min(step, replicates - start), total), dtype=np.int32)
            for column in range(clusters.shape[1]):
                sums[start : start + len(drawn), column] = ordered[:, column][drawn].sum(axis=1)
        return sums
    step = max(1, _CHUNK // len(distinct))
    for start in range(0, replicates, step):
        weights = rng.multinomial(total, counts / total, size=min(step, replicates - start))
        sums[start : start + len(weights)] = weights @ distinct
    return sums


def _percentiles(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def ratio_interval(
    successes: ArrayLike, rows: ArrayLike, *, replicates: int = REPLICATES, seed: int = 0
) -> Interval:
    """95 % interval of sum(successes) / sum(rows), given both per cluster (0 <= successes <= rows).

    One row per cluster: Wilson. Else the cluster bootstrap, widened where clusters are nearly unanimous.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    k, n = k[n > 0], n[n > 0]
    if not len(n):
        return wilson(0, 0)
    if n.max() <= 1:
        return wilson(float(k.sum()), float(n.sum()))
    share = k.sum() / n.sum()
    sums = resampled_sums(np.column_stack([k, n]), replicates=replicates, seed=seed)
    low, high = _percentiles(sums[:, 0] / sums[:, 1])
    odd = min(np.count_nonzero(k > 0), np.count_nonzero(k < n))
    if odd >= SPARSE_GROUPS and high - low > 1e-9:
        return Interval(min(low, float(share)), max(high, float(share)), "cluster bootstrap")
    floor = wilson(float(share) * len(n), len(n))
    return Interval(min(low, floor.low), max(high, floor.high), "cluster bootstrap, Wilson by cluster")


def macro_interval(
    successes: ArrayLike,
    rows: ArrayLike,
    strata: ArrayLike,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Interval:
    """95 % interval of the unweighted mean of the strata's shares; clusters are drawn within strata.

    A unanimous stratum would add no variance; its replicates are drawn from the Jeffreys posterior with
    clusters counted as rows instead.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    codes = np.unique(np.asarray(strata), return_inverse=True)[1][n > 0]
    k, n = k[n > 0], n[n > 0]
    if not len(n):
        return wilson(0, 0)
    present = np.unique(codes)
    draws, points = np.zeros(replicates), []
    for number, code in enumerate(present):
        k_here, n_here = k[codes == code], n[codes == code]
        share = float(k_here.sum() / n_here.sum())
        points.append(share)
        if len(np.unique(k_here / n_here)) == 1:
            size = len(n_here)
            rng = np.random.default_rng((seed, number))
            draws += rng.beta(share * size + 0.5, (1 - share) * size + 0.5, size=replicates)
        else:
            sums = resampled_sums(
                np.column_stack([k_here, n_here]), replicates=replicates, seed=seed + number
            )
            draws += sums[:, 0] / sums[:, 1]
    low, high = _percentiles(draws / len(present))
    point = float(np.mean(points))
    return Interval(min(low, point), max(high, point), "cluster bootstrap within strata")


def paired_difference(
    first: ArrayLike, second: ArrayLike, pairs: ArrayLike, *, replicates: int = REPLICATES, seed: int = 0
) -> Difference:
    """First minus second share on the same rows, given successes and pairs per cluster.

    The interval is a paired cluster bootstrap (both sides drawn together). `p` is the two-sided sign-flip
    test on cluster differences, which for one pair per cluster is McNemar's exact test.
    """
    a, b, n = (np.asarray(value, dtype=np.float64) for value in (first, second, pairs))
    a, b, n = a[n > 0], b[n > 0], n[n > 0]
    if not len(n):
        return Difference(0.0, -1.0, 1.0, 1.0, "none")
    point = float((a.sum() - b.sum()) / n.sum())
    p = sign_flip_p(np.rint(a - b).astype(np.int64), seed=seed)
    sums = resampled_sums(np.column_stack([a - b, n]), replicates=replicates, seed=seed)
    low, high = _percentiles(sums[:, 0] / sums[:, 1])
    shares, counts = np.unique((a - b) / n, return_counts=True)
    if len(n) - counts.max() >= SPARSE_GROUPS and len(shares) > 1:
        return Difference(point, min(low, point), max(high, point), p, "paired cluster bootstrap")
    floor = newcombe(float(a.sum() / n.sum()), float(b.sum() / n.sum()), len(n))
    method = "paired cluster bootstrap, Newcombe by cluster"
    return Difference(point, min(low, floor.low), max(high, floor.high), p, method)


def newcombe(first: float, second: float, n: int) -> Interval:
    """Newcombe's hybrid of two Wilson intervals for a difference of shares of `n` rows each.

    Correlation is taken as zero, which is wide for pairs that agree.
    """
    a, b = wilson(first * n, n), wilson(second * n, n)
    low = first - second - np.hypot(first - a.low, b.high - second)
    high = first - second + np.hypot(a.high - first, second - b.low)
    return Interval(max(-1.0, float(low)), min(1.0, float(high)), "newcombe")


def _half_binomial(n: int) -> Floats:
    """Probabilities of 0..n heads in n fair throws."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1, dtype=np.float64)))])
    found: Floats = np.exp(logs[n] - logs - logs[::-1] - n * np.log(2.0))
    return found


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test from the two counts of pairs that disagree."""
    return sign_flip_p(np.repeat([1, -1], [only_first, only_second]))


def sign_flip_p(differences: ArrayLike, *, seed: int = 0, draws: int = 20_000) -> float:
    """Two-sided p-value of "each cluster's difference may as well have the other sign".

    `differences` are integers. Exact by convolution for small sums, else Monte Carlo with (1 + hits) /
    (1 + draws), so never zero.
    """
    sizes = np.abs(np.asarray(differences, dtype=np.int64))
    observed = abs(int(np.sum(differences)))
    total = int(sizes.sum())
    if total == 0:
        return 1.0
    distinct, counts = np.unique(sizes[sizes > 0], return_counts=True)
    if len(distinct) == 1 or total <= _EXACT_SUM:
        chances = np.ones(1)
        unit = int(np.gcd.reduce(distinct))
        for size, count in zip(distinct // unit, counts, strict=True):
            step = np.zeros(int(size * count) + 1)
            step[:: int(size)] = _half_binomial(int(count))
            chances = np.convolve(chances, step)
        sums = np.abs(2 * np.arange(len(chances)) - (len(chances) - 1))
        return min(1.0, float(chances[sums >= observed // unit].sum()))
    rng = np.random.default_rng(seed)
    hits, step_size = 0, max(1, _CHUNK // len(distinct))
    for start in range(0, draws, step_size):
        heads = rng.binomial(counts, 0.5, size=(min(step_size, draws - start), len(distinct)))
        hits += int(np.count_nonzero(np.abs((2 * heads - counts) @ distinct) >= observed))
    return (1 + hits) / (1 + draws)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (family-wise error), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]
