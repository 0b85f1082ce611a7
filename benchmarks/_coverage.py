"""How often 95 % intervals hold the truth, simulated; what `python benchmarks/metrics.py` prints as a table.

A cluster's chance of success is drawn from a beta law with the mean p and the intra-cluster correlation of
the setting; its rows are independent given that chance. For differences both sides have chances of their own,
and the two rows of a pair share their random number four times in five. Beside our interval of a rate stand
the percentile bootstrap over clusters (1,000 samples, widened to Wilson's where fewer than 5 clusters differ:
what this project used before) and Wilson's interval over rows that ignores clusters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from sightline.metrics.effort import area_under
from sightline.metrics.intervals import (
    macro_interval,
    paired_difference,
    ratio_interval,
    wilson,
)

GROUPS = (6, 12, 24, 48, 96)
CORRELATIONS = (0.0, 0.2, 0.6)
SHARES = (0.02, 0.1, 0.3, 0.5, 0.9)
PAIRS = ((0.05, 0.05), (0.3, 0.1), (0.5, 0.5), (0.9, 0.05))
SIZES: dict[str, Callable[[int], Any]] = {
    "3 rows each": lambda groups: np.full(groups, 3),
    "10 rows each": lambda groups: np.full(groups, 10),
    "4 rows or 1": lambda groups: np.where(np.arange(groups) % 3 == 0, 4, 1),
    "skewed": lambda groups: np.maximum(1, np.round(2 * ((np.arange(groups) + 0.5) / groups) ** -0.8)),
}
"""Skewed: the largest of 24 clusters holds 28 % of all rows, half of the clusters 2 or 3 rows each."""
SHARED = 0.8
ENOUGH = 200
"""With fewer runs the least of many settings is chance, and is not told."""


class Tally(NamedTuple):
    """One setting and one interval: the share of runs in which it held the truth, and its mean width."""

    what: str
    sizes: str
    groups: int
    held: float
    width: float
    runs: int


def chances(rng: Any, share: float, correlation: float, shape: tuple[int, ...]) -> Any:
    """A chance of success per cluster, with a mean and an intra-cluster correlation."""
    if correlation == 0:
        return np.full(shape, share)
    total = 1 / correlation - 1
    return rng.beta(share * total, (1 - share) * total, size=shape)


def bootstrap(rng: Any, k: Any, n: Any, samples: int = 1000) -> tuple[float, float]:
    """The percentile bootstrap over clusters, widened to Wilson's where fewer than 5 clusters differ."""
    drawn = rng.multinomial(len(n), np.full(len(n), 1 / len(n)), size=samples)
    low, high = np.quantile((drawn @ k) / (drawn @ n), (0.025, 0.975))
    if min(np.count_nonzero(k > 0), np.count_nonzero(k < n)) < 5:
        floor = wilson(float(k.sum() / n.sum()) * len(n), len(n))
        low, high = min(low, floor.low), max(high, floor.high)
    return float(low), float(high)


def _tally(what: str, sizes: str, groups: int, truth: float, found: list[Any]) -> Tally:
    limits = np.array([each[:2] for each in found])
    held = (limits[:, 0] <= truth + 1e-12) & (limits[:, 1] >= truth - 1e-12)
    return Tally(
        what, sizes, groups, float(held.mean()), float((limits[:, 1] - limits[:, 0]).mean()), len(found)
    )


def rates(runs: int, slow_runs: int) -> Iterator[Tally]:
    """Rates: ours over `runs` simulated cells of every setting, the bootstrap over the first `slow_runs`."""
    rng = np.random.default_rng(0)
    for (name, size), groups in itertools.product(SIZES.items(), GROUPS):
        n = size(groups).astype(float)
        for correlation, share in itertools.product(CORRELATIONS, SHARES):
            k = rng.binomial(n.astype(int), chances(rng, share, correlation, (runs, groups)))
            ours = [ratio_interval(each, n) for each in k]
            yield _tally("ours", name, groups, share, ours)
            plain = [wilson(float(each.sum()), float(n.sum())) for each in k]
            yield _tally("rows", name, groups, share, plain)
            some = k[:slow_runs].astype(float)
            yield _tally("bootstrap", name, groups, share, [bootstrap(rng, each, n) for each in some])
            yield _tally("ours, same runs", name, groups, share, ours[:slow_runs])


def differences(runs: int) -> Iterator[Tally]:
    """Paired differences."""
    rng = np.random.default_rng(1)
    for (name, size), groups in itertools.product(SIZES.items(), GROUPS):
        n = size(groups).astype(int)
        owner = np.repeat(np.arange(groups), n)
        ends = np.cumsum(n) - n
        for correlation, (first, second) in itertools.product(CORRELATIONS, PAIRS):
            p, q = (chances(rng, share, correlation, (runs, groups)) for share in (first, second))
            u, v = rng.random((2, runs, len(owner)))
            v = np.where(rng.random((runs, len(owner))) < SHARED, u, v)
            a = np.add.reduceat((u < p[:, owner]).astype(float), ends, axis=1)
            b = np.add.reduceat((v < q[:, owner]).astype(float), ends, axis=1)
            found = [paired_difference(*pair, n)[1:3] for pair in zip(a, b, strict=True)]
            yield _tally("differences", name, groups, first - second, found)


def means_and_areas(runs: int) -> Iterator[Tally]:
    """Means over four categories, and areas under curves of three levels, whose cases share their luck."""
    rng = np.random.default_rng(2)
    for groups, correlation in itertools.product(GROUPS, CORRELATIONS):
        n = np.full(groups, 4.0)
        for parts in ((0.02, 0.02, 0.02, 0.02), (0.1, 0.3, 0.5, 0.9)):
            strata = np.arange(groups) % 4
            of = np.stack([chances(rng, share, correlation, (runs, groups)) for share in parts])
            k = rng.binomial(4, np.take_along_axis(of, strata[None, None, :].repeat(runs, 1), 0)[0])
            found = [macro_interval(each, n, strata) for each in k]
            yield _tally("means over categories", "4 rows each", groups, float(np.mean(parts)), found)
        for levels in ((0.02, 0.1, 0.3), (0.1, 0.5, 0.9)):
            rows = np.full((groups, 3), 4)
            truth = float(np.dot(levels, (0.25, 0.5, 0.25)))
            base = chances(rng, 0.5, correlation, (runs, groups, 1))
            # 2 p c for p below one half, its mirror above: the mean over c is p
            low = np.minimum(levels, np.subtract(1, levels)) * 2
            chance = np.where(np.less_equal(levels, 0.5), base * low, 1 - (1 - base) * low)
            k = rng.binomial(4, chance)
            found = [area_under((1, 10, 100), each, rows)[1:3] for each in k]  # type: ignore[index]
            yield _tally("areas", "4 rows each", groups, truth, found)


def figures(tallies: list[Tally]) -> dict[str, float]:
    """Least and mean coverage of everything, apart for strongly skewed sizes; width over the bootstrap's."""
    found: dict[str, float] = {}
    names = dict.fromkeys(tally.what for tally in tallies if tally.what != "ours, same runs")
    for name, skewed in itertools.product(names, (False, True)):
        mine = [t for t in tallies if t.what == name and (t.sizes == "skewed") == skewed]
        held = [tally.held for tally in mine]
        if held:
            key = f"coverage_{name.replace(' ', '_')}" + ("_skewed" if skewed else "")
            if mine[0].runs >= ENOUGH:
                found[f"{key}_least"] = min(held)
            found |= {f"{key}_mean": float(np.mean(held)), f"{key}_settings": len(held)}
    wide = {
        name: np.mean([t.width for t in tallies if t.what == name and t.sizes != "skewed"])
        for name in ("ours, same runs", "bootstrap")
    }
    found["width_over_bootstrap"] = float(wide["ours, same runs"] / wide["bootstrap"])
    return found


def table(tallies: list[Tally]) -> str:
    """Least and mean coverage by interval, sizes and number of clusters."""
    names = dict.fromkeys(tally.what for tally in tallies if tally.what != "ours, same runs")
    lines = [f"{'interval':22s}{'clusters of':14s}" + "".join(f"{groups:>14d}" for groups in GROUPS)]
    for name in names:
        for sizes in dict.fromkeys(tally.sizes for tally in tallies if tally.what == name):
            cells = []
            for groups in GROUPS:
                mine = [t for t in tallies if (t.what, t.sizes, t.groups) == (name, sizes, groups)]
                held = [tally.held for tally in mine]
                least = f"{min(held):.3f} " if mine[0].runs >= ENOUGH else ""
                cells.append(f"{least}({np.mean(held):.3f})")
            lines.append(f"{name:22s}{sizes:14s}" + "".join(f"{cell:>14s}" for cell in cells))
    return "\n".join(lines)


def simulate(runs: int, slow_runs: int) -> list[Tally]:
    """All settings."""
    return [*rates(runs, slow_runs), *differences(runs), *means_and_areas(runs)]
