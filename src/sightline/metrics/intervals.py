"""95 % intervals and tests for shares whose rows come in clusters: closed forms, without a draw or a seed.

A rate has Wilson's interval (1927), in which rows count for what they are worth: those of one cluster (a
behavior, a topic, a picture) rise and fall together. The design effect, the variance of the share between
clusters over that of independent rows, divides their number, and Student's t takes the place of the normal
quantile. Clusters of unequal size count as Kish's effective number, (sum of rows)^2 / (sum of squared rows),
to the nearest whole; t has one degree of freedom less than that. Where fewer than `SPARSE_GROUPS` clusters
differ from the unanimous value a variance cannot be estimated: there, clusters are counted as rows.

A difference has the t interval of the clusters' differences, widened where they are sparse to hold Newcombe's
(1998, method 10) with clusters counted as rows, and the p-value of flipping the clusters' signs.

Simulated coverage: `python benchmarks/metrics.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from math import atan, cos, pi, sin, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
FEW_GROUPS = 30
ALPHA = 0.05
SPARSE_GROUPS = 6
"""The fewest clusters with which flipping signs can give p < .05: 2 / 2^6 = .031, while 2 / 2^5 = .063."""

Floats = NDArray[np.float64]
_EXACT_SUM = 10_000
_FEW_ROWS, _FEW_GROUPS = 4096, 256
"""Rows and clusters up to which what was computed is kept and looked up."""
_MANY = 100


class Interval(NamedTuple):
    """A 95 % interval and how it was made."""

    low: float
    high: float
    method: str


class Difference(NamedTuple):
    """First minus second share on the same rows, its interval, and the p-value of "no difference".

    `discordant` clusters are those whose two shares differ: only they say anything to the test.
    """

    point: float
    low: float
    high: float
    p: float
    method: str
    discordant: int


def wilson(k: float, n: float) -> Interval:
    """Wilson's score interval of `k` successes in `n` independent rows; [0, 1] for no rows."""
    if n <= 0:
        return Interval(0.0, 1.0, "none")
    return _score(k / n, n, Z95, "wilson")


def _score(share: float, n: float, quantile: float, method: str) -> Interval:
    """The score interval of a share of `n` rows with `quantile` in place of the normal one."""
    square = quantile**2
    center = (share + square / (2 * n)) / (1 + square / n)
    half = quantile * sqrt(max(0.0, share * (1 - share)) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if share <= 0 else max(0.0, center - half)
    high = 1.0 if share >= 1 else min(1.0, center + half)
    return Interval(low, high, method)


@cache
def t95(freedom: int) -> float:
    """The .975 quantile of Student's t.

    Up to 100 degrees of freedom the distribution function is a finite sum (Abramowitz and Stegun, 26.7.3-4),
    solved by bisection; beyond, the expansion about the normal quantile (26.7.5) is exact to 1e-9.
    """
    if freedom > _MANY:
        z, v = Z95, float(freedom)
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return z + sum(term / v**power for power, term in enumerate(terms, start=1))
    low, high = Z95, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _between(middle, freedom) < 1 - ALPHA else (low, middle)
    return (low + high) / 2


def _between(t: float, freedom: int) -> float:
    """The chance that |T| < t."""
    angle = atan(t / sqrt(freedom))
    total, term = 0.0, cos(angle) if freedom % 2 else 1.0
    for number in range(freedom % 2 + 2, freedom + 1, 2):
        total += term
        term *= cos(angle) ** 2 * (number - 1) / number
    return 2 / pi * (angle + sin(angle) * total) if freedom % 2 else sin(angle) * total


def effective_groups(rows: Floats) -> int:
    """Kish's effective number of clusters of these sizes, to the nearest whole; their number if equal."""
    return max(1, round(float(rows.sum() ** 2 / (rows**2).sum())))


Groups = Sequence[object] | NDArray[np.integer]


def cluster_codes(groups: Groups) -> tuple[NDArray[np.int64], int]:
    """The number of each row's group, in order of first appearance, and how many groups there are."""
    if isinstance(groups, np.ndarray) and groups.dtype == np.int64:
        return _few_codes(groups.tobytes()) if len(groups) <= _FEW_ROWS else _codes(groups)
    if isinstance(groups, np.ndarray) and np.issubdtype(groups.dtype, np.integer):
        return _codes(groups)
    seen: dict[object, int] = {}
    codes = np.fromiter((seen.setdefault(group, len(seen)) for group in groups), np.int64, len(groups))
    return codes, len(seen)


def _codes(groups: NDArray[np.integer]) -> tuple[NDArray[np.int64], int]:
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes], len(first)


@lru_cache(maxsize=1024)
def _few_codes(groups: bytes) -> tuple[NDArray[np.int64], int]:
    """The same, found once: the cells of a benchmark hold the same requests."""
    return _codes(np.frombuffer(groups, dtype=np.int64))


def cluster_sums(groups: Groups, *values: ArrayLike) -> tuple[Floats, ...]:
    """Sums of each of `values` (one per row) over the rows of each group, in order of first appearance."""
    codes, size = cluster_codes(groups)
    sums = (np.bincount(codes, weights=np.asarray(value, np.float64), minlength=size) for value in values)
    return tuple(total.astype(np.float64) for total in sums)


def variance(influence: Floats, rows: Floats) -> float:
    """Variance of a share between clusters, given how far each of them moves it.

    Each square is divided by 1 - the cluster's part of all rows (CR2, Bell and McCaffrey 2002): for equal
    clusters that is the factor G / (G - 1), for unequal ones it corrects the large ones more.
    """
    return float((influence**2 / (1 - rows / rows.sum())).sum())


def score_interval(share: float, influence: Floats, rows: Floats, *, sparse: bool) -> Interval:
    """Wilson's interval of a share of clustered rows, with the design effect or with clusters as rows.

    Args:
        share: in [0, 1].
        influence: by how much each cluster moves the share; they sum to 0.
        rows: of each cluster.
        sparse: too few clusters differ to estimate a variance.
    """
    groups = effective_groups(rows)
    if sparse or groups < 2:
        return _score(share, groups, Z95, "wilson, clusters as rows")
    return worth_interval(share, variance(influence, rows), float(rows.sum()), groups)


def worth_interval(share: float, between: float, rows: float, groups: int) -> Interval:
    """Wilson's interval of a share with this variance: that of so many independent rows, at most `rows`.

    Args:
        share: in [0, 1].
        between: its variance between groups.
        rows: in all.
        groups: effective number of groups, which gives Student's t.
    """
    worth = rows if between <= 0 else min(rows, share * (1 - share) / between)
    return _score(share, worth, t95(groups - 1), "wilson, design effect and t")


def ratio_interval(successes: ArrayLike, rows: ArrayLike) -> Interval:
    """95 % interval of sum(successes) / sum(rows), given both per cluster (0 <= successes <= rows).

    One row per cluster: Wilson. Else Wilson with the design effect, or with clusters as rows if fewer than
    `SPARSE_GROUPS` of them hold a success, or a failure.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    k, n = k[n > 0], n[n > 0]
    if len(n) > _FEW_GROUPS:
        return _ratio_interval(k, n)
    return _few_ratio_interval(np.sort(k + 1j * n).tobytes())


@lru_cache(maxsize=1 << 14)
def _few_ratio_interval(pairs: bytes) -> Interval:
    """The interval of few clusters, sorted, found once: many cells of a run have the same counts."""
    both = np.frombuffer(pairs, dtype=np.complex128)
    return _ratio_interval(both.real, both.imag)


def _ratio_interval(k: Floats, n: Floats) -> Interval:
    if not len(n):
        return wilson(0, 0)
    if n.max() <= 1:
        return wilson(float(k.sum()), float(n.sum()))
    share = float(k.sum() / n.sum())
    odd = min(int(np.count_nonzero(k > 0)), int(np.count_nonzero(k < n)))
    return score_interval(share, (k - share * n) / n.sum(), n, sparse=odd < SPARSE_GROUPS)


def macro_interval(successes: ArrayLike, rows: ArrayLike, strata: ArrayLike) -> Interval:
    """95 % interval of the unweighted mean of the strata's shares; a cluster belongs to one stratum.

    The distances of each stratum's own limits from its share are added in squares (MOVER, Zou and Donner
    2008), so that a unanimous stratum adds what its interval says and not nothing.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    codes = np.unique(np.asarray(strata), return_inverse=True)[1][n > 0]
    k, n = k[n > 0], n[n > 0]
    if not len(n):
        return wilson(0, 0)
    present = np.unique(codes)
    parts = [(k[codes == code], n[codes == code]) for code in present]
    shares = np.array([part.sum() / of.sum() for part, of in parts])
    found = [ratio_interval(part, of) for part, of in parts]
    below = np.sqrt(((shares - [each.low for each in found]) ** 2).sum()) / len(present)
    above = np.sqrt((([each.high for each in found] - shares) ** 2).sum()) / len(present)
    point = float(shares.mean())
    return Interval(max(0.0, point - float(below)), min(1.0, point + float(above)), "mover over strata")


def paired_difference(first: ArrayLike, second: ArrayLike, pairs: ArrayLike) -> Difference:
    """First minus second share on the same rows, given successes and pairs per cluster.

    `p` is the two-sided sign-flip test on the clusters' differences, which for one pair per cluster is
    McNemar's exact test. The interval is that of Student's t on them. It is widened to Newcombe's, with
    clusters as rows, if fewer than `SPARSE_GROUPS` differ from zero, or from what most clusters say.
    """
    a, b, n = (np.asarray(value, dtype=np.float64) for value in (first, second, pairs))
    a, b, n = a[n > 0], b[n > 0], n[n > 0]
    if not len(n):
        return Difference(0.0, -1.0, 1.0, 1.0, "none", 0)
    total, groups = float(n.sum()), effective_groups(n)
    point = float((a.sum() - b.sum()) / total)
    p = sign_flip_p(np.rint(a - b).astype(np.int64))
    low, high, method = -1.0, 1.0, "t on cluster differences"
    if groups > 1:
        half = t95(groups - 1) * sqrt(variance((a - b - point * n) / total, n))
        low, high = point - half, point + half
    discordant = int(np.count_nonzero(a != b))
    _, alike = np.unique((a - b) / n, return_counts=True)
    if min(discordant, len(n) - int(alike.max())) < SPARSE_GROUPS:
        floor = newcombe(float(a.sum()) / total, float(b.sum()) / total, groups)
        low, high = (min(low, floor.low), max(high, floor.high)) if groups > 1 else floor[:2]
        method += ", widened to Newcombe with clusters as rows"
    return Difference(point, max(-1.0, low), min(1.0, high), p, method, discordant)


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


@lru_cache(maxsize=1 << 13)
def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test from the two counts of pairs that disagree."""
    return sign_flip_p(np.repeat([1, -1], [only_first, only_second]))


def smallest_p(discordant: int) -> float:
    """The smallest p-value that flipping the signs of so many clusters can give."""
    return min(1.0, 2.0 ** (1 - discordant))


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided p-value of "each cluster's difference may as well have the other sign".

    `differences` are integers. Exact: the law of the sum is built by convolution, for large sums from its
    characteristic function (to 1e-12, and never below the smallest p-value that there can be).
    """
    whole = np.asarray(differences, dtype=np.int64)
    sizes = np.abs(whole)
    return flip_p(np.sort(sizes[sizes > 0]).tobytes(), abs(int(whole.sum())))


def flip_p(ordered: bytes, observed: int) -> float:
    """The p-value of clusters whose differences have these sizes (int64, ascending, none 0).

    `observed` is the size of the sum of the differences.
    """
    return (_few_flips if len(ordered) <= 8 * _FEW_GROUPS else _flip_p)(ordered, observed)


@lru_cache(maxsize=1 << 13)
def _few_flips(ordered: bytes, observed: int) -> float:
    """The same of few clusters, found once: many pairs of cells differ alike."""
    return _flip_p(ordered, observed)


def _flip_p(ordered: bytes, observed: int) -> float:
    sizes = np.frombuffer(ordered, dtype=np.int64)
    if not len(sizes):
        return 1.0
    unit = int(np.gcd.reduce(sizes))
    distinct, counts = np.unique(sizes // unit, return_counts=True)
    observed, total = observed // unit, int((distinct * counts).sum())
    if len(distinct) == 1:
        chances = _half_binomial(int(counts[0]))
    elif total <= _EXACT_SUM:
        chances = np.ones(1)
        for size, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            step = np.zeros(size * count + 1)
            step[::size] = _half_binomial(count)
            chances = np.convolve(chances, step)
    else:
        chances = _by_fourier(distinct, counts, total)
    sums = np.abs(2 * np.arange(total + 1) - total)
    found = float(chances[sums >= observed].sum())
    return min(1.0, max(found, smallest_p(len(sizes))))


def _by_fourier(sizes: NDArray[np.int64], counts: NDArray[np.int64], total: int) -> Floats:
    """Probabilities of 0..total as the sum of clusters that each add their size or nothing."""
    length = 1 << total.bit_length()
    angles = 2 * np.pi * np.arange(length // 2 + 1) / length
    product = np.ones(len(angles), dtype=np.complex128)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        product *= ((1 + np.exp(-1j * angles * size)) / 2) ** count
    found: Floats = np.fft.irfft(product, length)[: total + 1]
    return np.maximum(found, 0.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (family-wise error), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    steps = np.minimum(1.0, (len(p) - np.arange(len(p))) * p[order])
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(value) for value in adjusted]


def bh(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's step-up adjustment (false discovery rate), in the order given.

    What is at most q (.10 for exploration) is found, with a share of at most q of false findings expected if
    tests are independent or rise and fall together; where many tests are looked at and none alone is
    claimed.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    steps = np.minimum(1.0, p[order] * len(p) / np.arange(1, len(p) + 1))
    adjusted[order] = np.minimum.accumulate(steps[::-1])[::-1]
    return [float(value) for value in adjusted]
