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
from dataclasses import dataclass, replace
from itertools import combinations

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
    value = float(_tau(*_signs(one, other))) if len(one) > 1 else float("nan")
    return None if np.isnan(value) else value


def flip_share(first: ArrayLike, second: ArrayLike) -> float | None:
    """Of the pairs that both columns order, the share that they order differently; None without any."""
    value = float(_flips(*_signs(np.asarray(first, np.float64), np.asarray(second, np.float64))))
    return None if np.isnan(value) else value


def _signs(first: Floats, second: Floats) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The order of every pair of cells (last axis) by either judge: -1, 0 (a tie) or 1."""
    here, there = np.triu_indices(first.shape[-1], 1)
    found = []
    for values in (first, second):
        with np.errstate(invalid="ignore"):
            found.append(np.nan_to_num(np.sign(values[..., here] - values[..., there])).astype(np.int8))
    return found[0], found[1]


def _tau(first: NDArray[np.int8], second: NDArray[np.int8]) -> Floats:
    alike = (first * second).sum(axis=-1, dtype=np.int64)
    ordered = [np.count_nonzero(each, axis=-1).astype(np.float64) for each in (first, second)]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = alike / np.sqrt(ordered[0] * ordered[1])
    return found


def _flips(first: NDArray[np.int8], second: NDArray[np.int8]) -> Floats:
    product = first * second
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.count_nonzero(product < 0, axis=-1) / np.count_nonzero(product, axis=-1)
    return found


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
    signs = _signs(k.sum(axis=0) / n.sum(axis=0), m.sum(axis=0) / n.sum(axis=0))
    product = signs[0] * signs[1]
    groups, cells = n.shape
    draws = max(FEWEST_DRAWS, min(draws, MOST_SIGNS // max(1, product.size)))
    taus, flips = np.empty(0), np.empty(0)
    if groups >= FEWEST:
        rng = np.random.default_rng(seed)
        step = max(1, 2_000_000 // max(1, product.size, groups))
        parts = []
        for start in range(0, draws, step):
            times = _redrawn(rng, groups, min(step, draws - start))
            with np.errstate(invalid="ignore", divide="ignore"):
                drawn = _signs((times @ k) / (times @ n), (times @ m) / (times @ n))
            parts.append((_tau(*drawn), _flips(*drawn)))
        taus, flips = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Ranking(
        first=first,
        second=second,
        benchmark=benchmark,
        cells=cells,
        groups=groups,
        pairs=int(np.count_nonzero(product)),
        flipped=int(np.count_nonzero(product < 0)),
        tau=_estimate(float(_tau(*signs)), taus),
        flips=_estimate(float(_flips(*signs)), flips),
    )


def _redrawn(rng: np.random.Generator, groups: int, draws: int) -> Floats:
    """How often each group stands in each of so many samples with replacement: draws x groups."""
    drawn = rng.integers(0, groups, (draws, groups)) + groups * np.arange(draws)[:, None]
    counts: Floats = np.bincount(drawn.ravel(), minlength=draws * groups).astype(np.float64)
    return counts.reshape(draws, groups)


def _estimate(point: float, redrawn: Floats) -> Estimate:
    if np.isnan(point):
        return Estimate(point=None, low=None, high=None)
    values = redrawn[~np.isnan(redrawn)]
    if not len(values):
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
    places: dict[str, dict[CellId, int]] = {judge: {} for judge in judges}
    for number, cell in enumerate(ids):
        if cell.judge in places and cell.scores == "case":
            places[cell.judge][replace(cell, judge="")] = number
    agreements, rankings = [], []
    for first, second in combinations(judges, 2):
        both = [
            (cell, number, places[second][cell])
            for cell, number in places[first].items()
            if cell in places[second]
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
