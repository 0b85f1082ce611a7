"""Intervals of many rates and differences at once: the closed forms of `intervals` on whole arrays.

Clusters stand one after the other; a segment is those of one rate, and `starts` (segments + 1) says where
each begins and the last ends. More cells then mean longer arrays, not more calls.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.metrics.intervals import SPARSE_GROUPS, Z95, Floats, flip_p, t95

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
_METHODS = np.array(
    ["none", "wilson", "wilson, clusters as rows", "wilson, design effect and t"], dtype=object
)
_SPARSE = ", widened to Newcombe with clusters as rows"
_DIFFERENCES = np.array(
    ["none", "t on cluster differences", f"t on cluster differences{_SPARSE}"], dtype=object
)


class Limits(NamedTuple):
    """95 % intervals, one of each segment, and how they were made."""

    low: Floats
    high: Floats
    method: list[str]


class Differences(NamedTuple):
    """`Difference` of each segment."""

    point: Floats
    low: Floats
    high: Floats
    p: Floats
    method: list[str]
    discordant: Ints


def sums(values: NDArray[np.generic], starts: Ints) -> Floats:
    """The sum of each segment of `values` (along their first axis); 0 of an empty one."""
    return _reduced(np.add, np.asarray(values, dtype=np.float64), starts)


def largest(values: NDArray[np.generic], starts: Ints) -> Floats:
    """The largest of each segment of `values`, which are at least 0; 0 of an empty one."""
    return _reduced(np.maximum, np.asarray(values, dtype=np.float64), starts)


def _reduced(how: np.ufunc, values: Floats, starts: Ints) -> Floats:
    found = np.zeros((len(starts) - 1, *values.shape[1:]))
    some = starts[1:] > starts[:-1]
    if some.any():
        found[some] = how.reduceat(values, starts[:-1][some], axis=0)
    return found


def owners(starts: Ints) -> Ints:
    """The segment of each row."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def ranges(starts: Ints, sizes: Ints) -> Ints:
    """The numbers from each start on, as many as its size, one range after the other."""
    ends = np.cumsum(sizes)
    found: Ints = np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)
    return found


def chosen_starts(starts: Ints, kept: Flags) -> Ints:
    """Where the segments start among the rows that are kept."""
    found: Ints = np.concatenate([[0], np.cumsum(kept)])[starts]
    return found


def ratio_intervals(successes: Floats, rows: Floats, starts: Ints) -> Limits:
    """`ratio_interval` of every segment, given successes and rows per cluster."""
    kept = rows > 0
    starts, k, n = chosen_starts(starts, kept), successes[kept], rows[kept]
    place, hits, total = owners(starts), sums(k, starts), sums(n, starts)
    some = total > 0
    with np.errstate(divide="ignore", invalid="ignore"):  # where there is no row, or a single cluster
        share = hits / total
        groups = _effective(n, total, starts)
        single = largest(n, starts) <= 1
        odd = np.minimum(sums(k > 0, starts), sums(k < n, starts))
        sparse = (odd < SPARSE_GROUPS) | (groups < 2)
        influence = (k - share[place] * n) / total[place]
        between = _variances(influence, n, total, starts)
        worth = np.where(between > 0, np.minimum(total, share * (1 - share) / between), total)
        size = np.where(single, total, np.where(sparse, groups, worth))
        quantile = np.where(single | sparse, Z95, _t95(groups))
        low, high = _scores(share, size, quantile)
    method = np.where(single, 1, np.where(sparse, 2, 3)) * some
    return Limits(np.where(some, low, 0.0), np.where(some, high, 1.0), _METHODS[method].tolist())


def _effective(n: Floats, total: Floats, starts: Ints) -> Floats:
    """Kish's effective number of clusters of each segment, to the nearest whole."""
    return np.asarray(np.maximum(1, np.rint(total**2 / sums(n**2, starts))))


def _variances(influence: Floats, n: Floats, total: Floats, starts: Ints) -> Floats:
    """`variance` of each segment."""
    return sums(influence**2 / (1 - n / total[owners(starts)]), starts)


def _t95(groups: Floats) -> Floats:
    """Student's quantile with one degree of freedom less than groups; the normal one of a single group."""
    known, place = np.unique(np.nan_to_num(groups, nan=1.0), return_inverse=True)
    return np.array([t95(int(each) - 1) if each > 1 else Z95 for each in known.tolist()])[place]


def _scores(share: Floats, n: Floats, quantile: Floats | float) -> tuple[Floats, Floats]:
    """Score intervals of shares of `n` rows with `quantile` in place of the normal one."""
    square = np.asarray(quantile, dtype=np.float64) ** 2
    center = (share + square / (2 * n)) / (1 + square / n)
    spread = np.maximum(0.0, share * (1 - share)) / n + square / (4 * n * n)
    half = quantile * np.sqrt(spread) / (1 + square / n)
    low = np.where(share <= 0, 0.0, np.maximum(0.0, center - half))
    return low, np.where(share >= 1, 1.0, np.minimum(1.0, center + half))


def paired_differences(first: Floats, second: Floats, pairs: Floats, starts: Ints) -> Differences:
    """`paired_difference` of every segment, given successes and pairs per cluster."""
    kept = pairs > 0
    starts, a, b, n = chosen_starts(starts, kept), first[kept], second[kept], pairs[kept]
    place, total = owners(starts), sums(n, starts)
    some = total > 0
    with np.errstate(divide="ignore", invalid="ignore"):  # where there is no pair, or a single cluster
        shares = sums(a, starts) / total, sums(b, starts) / total
        point = (sums(a, starts) - sums(b, starts)) / total
        groups = _effective(n, total, starts)
        influence = (a - b - point[place] * n) / total[place]
        half = _t95(groups) * np.sqrt(_variances(influence, n, total, starts))
        several = groups > 1
        low, high = np.where(several, point - half, -1.0), np.where(several, point + half, 1.0)
        floor = _newcombe(*shares, groups)
    discordant = sums(a != b, starts)
    sparse = np.minimum(discordant, np.diff(starts) - _most_alike((a - b) / n, starts)) < SPARSE_GROUPS
    low = np.where(sparse, np.where(several, np.minimum(low, floor[0]), floor[0]), low)
    high = np.where(sparse, np.where(several, np.maximum(high, floor[1]), floor[1]), high)
    return Differences(
        point=np.where(some, point, 0.0),
        low=np.where(some, np.maximum(-1.0, low), -1.0),
        high=np.where(some, np.minimum(1.0, high), 1.0),
        p=_flips(np.rint(a - b).astype(np.int64), starts),
        method=_DIFFERENCES[np.where(sparse, 2, 1) * some].tolist(),
        discordant=discordant.astype(np.int64),
    )


def _newcombe(first: Floats, second: Floats, n: Floats) -> tuple[Floats, Floats]:
    """`newcombe` of each pair of shares."""
    (a_low, a_high), (b_low, b_high) = _scores(first * n / n, n, Z95), _scores(second * n / n, n, Z95)
    low = first - second - np.hypot(first - a_low, b_high - second)
    high = first - second + np.hypot(a_high - first, second - b_low)
    return np.maximum(-1.0, low), np.minimum(1.0, high)


def _most_alike(values: Floats, starts: Ints) -> Floats:
    """How often the commonest value of each segment is there."""
    place = owners(starts)
    order = np.lexsort((values, place))
    ordered = values[order]
    fresh = np.ones(len(values), dtype=bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]) | (place[1:] != place[:-1])
    runs = np.flatnonzero(fresh)
    lengths = np.diff([*runs, len(values)])
    return largest(lengths, np.searchsorted(place[runs], np.arange(len(starts))))


def _flips(differences: Ints, starts: Ints) -> Floats:
    """`sign_flip_p` of each segment."""
    observed = np.abs(sums(differences, starts)).astype(np.int64)
    kept = differences != 0
    starts, sizes = chosen_starts(starts, kept), np.abs(differences[kept])
    sizes = np.ascontiguousarray(sizes[np.lexsort((sizes, owners(starts)))])
    ends = starts.tolist()
    return np.array(
        [
            flip_p(sizes[start:end].tobytes(), total)
            for start, end, total in zip(ends[:-1], ends[1:], observed.tolist(), strict=True)
        ]
    )
