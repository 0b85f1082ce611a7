"""Judges side by side on the same answers: how often two agree, and whether they rank the cells alike.

* Agreement of two judges on one measure (ASR: complied or not): raw share, Cohen's kappa and Gwet's AC1, on
  the samples that both scored, with intervals clustered by group.
* Rankings: the rates of a benchmark's cells by either judge, on those samples. Kendall's tau-b is (C - D) /
  sqrt((P - T1)(P - T2)) over the P pairs of cells, of which C are ordered alike, D the other way round, and
  T1, T2 tied by either judge. `flips` is D / (C + D): of the pairs that both order, the share that they
  order the other way round. Intervals are 95 % percentiles over redrawn groups, the same groups in all cells
  and for both judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import UsageError
from sightline.metrics._columns import Columns, asked
from sightline.metrics.agreement import Ints, Share, share
from sightline.metrics.cells import CellId
from sightline.metrics.confusion import FEWEST, Estimate, Floats, confusion, estimates
from sightline.metrics.rates import MEASURES, OUTCOMES, Measure

DRAWS = 1000
MOST_SIGNS = 50_000_000
"""Signs of pairs that one ranking's replicates may take; with many cells there are fewer replicates."""
FEWEST_DRAWS = 100
FEWEST_CELLS = 3
"""Cells below which a ranking says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAgreement:
    """Two judges on the same answers; `unscored` by either."""

    first: str
    second: str
    n: int
    unscored: int
    agreement: Share
    kappa: Estimate
    ac1: Estimate
    bias: Estimate

    def of_ceiling(self, people: float | None) -> float | None:
        """The agreement as a share of that of two people (the human ceiling); None if that is unknown."""
        return share_of_ceiling(self.agreement.point, people)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Two judges' rankings of the cells of one benchmark.

    `pairs` of cells are ordered by both; `ordered_alike` and `flipped` of them.
    """

    first: str
    second: str
    benchmark: str
    cells: int
    groups: int
    pairs: int
    flipped: int
    tau: Estimate
    flips: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """All pairs of judges that score the case."""

    measure: str
    judges: tuple[str, ...]
    agreements: tuple[PairAgreement, ...]
    rankings: tuple[Ranking, ...]


def share_of_ceiling(agreement: float | None, people: float | None) -> float | None:
    """A judge's agreement (with people, or with a judge) divided by that of two people; None if undefined."""
    return None if agreement is None or not people else agreement / people


def kendall_tau_b(first: ArrayLike, second: ArrayLike) -> float | None:
    """Kendall's tau-b of two columns of numbers; None where one of them is constant, or too short.

    Raises:
        UsageError: if they are not of the same length.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise UsageError(f"{one.size} and {other.size} values: not of the same cells")
    return _orders(one, other).tau if len(one) > 1 else None


def flip_share(first: ArrayLike, second: ArrayLike) -> float | None:
    """Of the pairs that both columns order, the share that they order differently; None without any."""
    return _orders(np.asarray(first, np.float64), np.asarray(second, np.float64)).flips


class _Orders(NamedTuple):
    """How two judges order pairs of cells: alike, the other way round, and how many each of them orders."""

    alike: int
    apart: int
    first: int
    second: int

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b; None where a judge orders none."""
        return (
            (self.alike - self.apart) / sqrt(self.first * self.second) if self.first and self.second else None
        )

    @property
    def flips(self) -> float | None:
        """Of the pairs that both order, the share ordered differently; None without any."""
        both = self.alike + self.apart
        return self.apart / both if both else None


def _orders(first: Floats, second: Floats) -> _Orders:
    """Counts of pairs from the table of the two judges' distinct values: cells cost no squares.

    A cell without a value (NaN) is in no order.
    """
    known, other = ~np.isnan(first), ~np.isnan(second)
    both = known & other
    rows, columns = (np.unique(each[both], return_inverse=True)[1] for each in (first, second))
    if not len(rows):
        return _Orders(0, 0, _ordered(first[known]), _ordered(second[other]))
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    table = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    below = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)  # cells of lower rows, up to each column
    below[1:, 1:] = table.cumsum(axis=0)[:-1].cumsum(axis=1)
    alike = int((table * below[:, :-1]).sum())
    apart = int((table * (below[:, -1:] - below[:, 1:])).sum())
    return _Orders(alike, apart, _ordered(first[known]), _ordered(second[other]))


def _ordered(values: Floats) -> int:
    """Pairs of values that differ."""
    same = np.unique(values, return_counts=True)[1]
    return (len(values) ** 2 - int((same.astype(np.int64) ** 2).sum())) // 2


def pair_agreement(
    first: str, second: str, said: ArrayLike, other: ArrayLike, groups: ArrayLike, *, unscored: int = 0
) -> PairAgreement:
    """Two judges' yes and no on the same answers, one per answer that both scored.

    Raises:
        UsageError: if the columns are not about the same answers.
    """
    yes, no = np.asarray(said, dtype=bool), np.asarray(other, dtype=bool)
    clusters: Ints = np.asarray(groups, dtype=np.int64)
    figures = estimates(confusion(yes, no, clusters))  # type: ignore[arg-type]
    return PairAgreement(
        first=first,
        second=second,
        n=len(yes),
        unscored=unscored,
        agreement=share(clusters, yes == no, np.ones(len(yes))),
        kappa=figures["kappa"],
        ac1=figures["ac1"],
        bias=figures["bias"],
    )


def ranking(
    first: str,
    second: str,
    counted: Sequence[Floats],
    scored: Floats,
    *,
    benchmark: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> Ranking:
    """Two judges' rankings of cells.

    Args:
        first: name of a judge; `second` of the other one.
        counted: by either judge, groups x cells: how many samples it counts.
        scored: groups x cells: how many samples both scored.
        benchmark: of the cells.
        draws: replicates.
        seed: of the replicates.
    """
    kept = scored.sum(axis=0) > 0
    n, (k, m) = scored[:, kept], (each[:, kept] for each in counted)
    orders = _orders(k.sum(axis=0) / n.sum(axis=0), m.sum(axis=0) / n.sum(axis=0))
    groups, cells = n.shape
    pairs = cells * (cells - 1) // 2
    draws = max(FEWEST_DRAWS, min(draws, MOST_SIGNS // max(1, pairs)))
    drawn = []
    if groups >= FEWEST:
        times = _redrawn(np.random.default_rng(seed), groups, draws)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = [(times @ each) / (times @ n) for each in (k, m)]
        drawn = [_orders(one, other) for one, other in zip(*shares, strict=True)]
    return Ranking(
        first=first,
        second=second,
        benchmark=benchmark,
        cells=cells,
        groups=groups,
        pairs=orders.alike + orders.apart,
        flipped=orders.apart,
        tau=_estimate(orders.tau, [each.tau for each in drawn]),
        flips=_estimate(orders.flips, [each.flips for each in drawn]),
    )


def _redrawn(rng: np.random.Generator, groups: int, draws: int) -> Floats:
    """How often each group stands in each of so many samples with replacement: draws x groups."""
    drawn = rng.integers(0, groups, (draws, groups)) + groups * np.arange(draws)[:, None]
    counts: Floats = np.bincount(drawn.ravel(), minlength=draws * groups).astype(np.float64)
    return counts.reshape(draws, groups)


def _estimate(point: float | None, redrawn: Sequence[float | None]) -> Estimate:
    if point is None:
        return Estimate(point=None, low=None, high=None)
    values = [value for value in redrawn if value is not None]
    if not values:
        return Estimate(point=point, low=None, high=None)
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(point=point, low=float(low), high=float(high))


def side_by_side(
    columns: Columns,
    ids: Sequence[CellId],
    judges: Sequence[str],
    measure: Measure = MEASURES["asr"],
    *,
    draws: int = DRAWS,
) -> SideBySide:
    """All pairs of `judges` on the answers of a result table that the measure is about."""
    places: dict[str, dict[tuple[str, ...], int]] = {judge: {} for judge in judges}
    for number, cell in enumerate(ids):
        if cell.judge in places and cell.scores == "case":
            places[cell.judge][cell.condition] = number
    agreements, rankings = [], []
    for first, second in combinations(judges, 2):
        both = [
            (ids[number], number, places[second][condition])
            for condition, number in places[first].items()
            if condition in places[second]
        ]
        found = list(_read(columns, both, measure))
        if not found:
            continue
        joined = [
            np.concatenate([getattr(each, name) for each in found]) for name in ("one", "other", "group")
        ]
        lost = sum(each.unscored for each in found)
        agreements.append(pair_agreement(first, second, *joined, unscored=lost))
        for benchmark in dict.fromkeys(each.cell.benchmark for each in found):
            cells = [each for each in found if each.cell.benchmark == benchmark]
            if len(cells) >= FEWEST_CELLS:
                rankings.append(_ranked(first, second, benchmark, cells, draws))
    return SideBySide(
        measure=measure.name, judges=tuple(judges), agreements=tuple(agreements), rankings=tuple(rankings)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    """The samples of a cell that two judges scored: either's yes or no, and clusters over all benchmarks."""

    cell: CellId
    one: NDArray[np.bool_]
    other: NDArray[np.bool_]
    group: Ints
    unscored: int


def _read(columns: Columns, pairs: Sequence[tuple[CellId, int, int]], measure: Measure) -> Iterator[_Both]:
    counted = np.array([outcome in measure.counted for outcome in OUTCOMES])
    of = np.array([outcome in measure.of for outcome in OUTCOMES])
    benchmarks = sorted({cell.benchmark for cell, _, _ in pairs})
    for cell, mine, its in pairs:
        rows, others = columns.rows(mine), columns.rows(its)
        if not np.array_equal(columns.sample[rows], columns.sample[others]):
            continue  # a judge that was added later and has not read them all
        kept = asked(measure, columns.expected[rows])
        first, second = columns.outcome[rows][kept], columns.outcome[others][kept]
        scored = of[first] & of[second]
        apart = benchmarks.index(cell.benchmark) * len(columns.group.texts)
        if len(first):
            yield _Both(
                cell=cell,
                one=counted[first[scored]],
                other=counted[second[scored]],
                group=columns.group.codes[rows][kept][scored] + apart,
                unscored=int(len(scored) - scored.sum()),
            )


def _ranked(first: str, second: str, benchmark: str, cells: Sequence[_Both], draws: int) -> Ranking:
    names = np.unique(np.concatenate([each.group for each in cells]))
    tables = []
    for weights in ("one", "other", None):
        columns = [
            np.bincount(
                np.searchsorted(names, each.group),
                weights=None if weights is None else getattr(each, weights).astype(np.float64),
                minlength=len(names),
            )
            for each in cells
        ]
        tables.append(np.stack(columns, axis=1).astype(np.float64))
    return ranking(first, second, tables[:2], tables[2], benchmark=benchmark, draws=draws)
