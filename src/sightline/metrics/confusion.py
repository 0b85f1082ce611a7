"""A judge's yes and no against people's, per cluster: kappa, Gwet's AC1 and bias with clustered intervals.

With a, b, c, d the shares of (judge yes, people yes), (yes, no), (no, yes), (no, no):

* kappa (Cohen 1960): (po - pe) / (1 - pe), po = a + d, pe = (a+b)(a+c) + (c+d)(b+d);
* AC1 (Gwet 2008): the same with pe = 2 q (1 - q), q the mean of (a+b) and (a+c); it keeps its meaning where
  one answer is rare;
* bias: (a+b) - (a+c) = b - c, how much more often the judge says yes.

Intervals are 95 % percentiles of a bootstrap over clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import UsageError
from sightline.metrics.intervals import cluster_sums

Floats = NDArray[np.float64]
DRAWS = 2000
MANY = 2000
"""Clusters above which a bootstrap draws kinds of them."""
FEWEST = 10
"""Clusters below which a bootstrap gives no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval; None where it is undefined or where there are too few clusters."""

    point: float | None
    low: float | None
    high: float | None


def confusion(judged: Sequence[bool], people: Sequence[bool], groups: Sequence[object]) -> Floats:
    """Counts per cluster, in the order a, b, c, d (see above): an array of clusters x 4.

    Raises:
        UsageError: if the three are not about the same rows.
    """
    if not len(judged) == len(people) == len(groups):
        raise UsageError(
            f"{len(judged)} verdicts, {len(people)} labels, {len(groups)} groups: not the same rows"
        )
    yes, true = np.asarray(judged, dtype=bool), np.asarray(people, dtype=bool)
    cells = (yes & true, yes & ~true, ~yes & true, ~yes & ~true)
    return np.stack(cluster_sums(groups, *cells), axis=1)


def kappa(counts: ArrayLike) -> Floats:
    """Cohen's kappa of tables in the last axis; NaN where undefined."""
    a, b, c, d = _shares(counts)
    return _above_chance(a + d, (a + b) * (a + c) + (c + d) * (b + d))


def ac1(counts: ArrayLike) -> Floats:
    """Gwet's AC1 of tables in the last axis; NaN without rows."""
    a, b, c, d = _shares(counts)
    mean = (2 * a + b + c) / 2
    return _above_chance(a + d, 2 * mean * (1 - mean))


def bias(counts: ArrayLike) -> Floats:
    """How much more often the judge says yes, -1 to 1, of tables in the last axis; NaN without rows."""
    _, b, c, _ = _shares(counts)
    return b - c


STATISTICS = {"kappa": kappa, "ac1": ac1, "bias": bias}


def estimates(per_group: Floats, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Estimate]:
    """Kappa, AC1 and bias of all clusters together, with intervals."""
    whole = per_group.sum(axis=0)
    redrawn = None
    if len(per_group) >= FEWEST:
        rng = np.random.default_rng(seed)
        size = len(per_group)
        kinds, chances = per_group, np.full(size, 1 / size)
        if size > MANY:  # clusters with the same counts are drawn together, which is the same law
            kinds, times = np.unique(per_group, axis=0, return_counts=True)
            chances = times / size
        redrawn = rng.multinomial(size, chances, size=draws) @ kinds
    return {name: _estimate(of(whole), redrawn, of) for name, of in STATISTICS.items()}


def _estimate(point: Floats, redrawn: Floats | None, of: Callable[[ArrayLike], Floats]) -> Estimate:
    found = float(point)
    if np.isnan(found):
        return Estimate(point=None, low=None, high=None)
    if redrawn is None:
        return Estimate(point=found, low=None, high=None)
    values = of(redrawn)
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(point=found, low=float(low), high=float(high))


def _shares(counts: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    table = np.asarray(counts, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        table = table / table.sum(axis=-1, keepdims=True)
    return table[..., 0], table[..., 1], table[..., 2], table[..., 3]


def _above_chance(observed: Floats, chance: Floats) -> Floats:
    chance = np.where(np.isclose(chance, 1.0, rtol=0.0, atol=1e-12), np.nan, chance)
    found: Floats = (observed - chance) / (1 - chance)
    return found
