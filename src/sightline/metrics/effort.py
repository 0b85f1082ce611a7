"""Success by attack budget: curves over budget levels, their area, cost per success.

Success is ASR, or targeted ASR by a judge that scores the attacker's goal.

A curve holds the levels of one entry of a study in one setting. Curves are compared at equal cost: in the
same setting, in the same budgeted quantity, with the same further limits. The area under a curve is the mean
of its success over the logarithm of the budget, from the largest of the compared curves' first levels to the
smallest of their last; between two levels success is taken as a straight line (trapezoids).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sightline.errors import require
from sightline.metrics._columns import Columns, asked
from sightline.metrics.cells import CellId, limits_of
from sightline.metrics.intervals import SPARSE_GROUPS, Floats, score_interval
from sightline.metrics.rates import MEASURES, OUTCOMES, Measure


class Area(NamedTuple):
    """The mean success over log budget from `first` to `last`, with its 95 % interval (clustered)."""

    point: float
    low: float
    high: float
    first: float
    last: float


class Level(NamedTuple):
    """A budget level of a curve, and its cell."""

    amount: float
    cell: CellId


class Price(NamedTuple):
    """Cost of crafting: passes, operations, seconds, calls, tokens. Each may be a mean, not a whole number.

    Calls are those to the target, to helpers (the image source included) and to the in-loop judge.
    """

    forwards: float
    backwards: float
    flops: float
    seconds: float
    calls_target: float = 0
    calls_aux: float = 0
    calls_judge: float = 0
    tokens: float = 0

    @property
    def calls(self) -> float:
        """Of all three kinds."""
        return self.calls_target + self.calls_aux + self.calls_judge

    @property
    def computes(self) -> bool:
        """Whether it has passes of its own through a model."""
        return bool(self.forwards or self.backwards)

    def per(self, successes: float) -> Price | None:
        """The price of one success; None if nothing succeeded."""
        return Price(*(each / successes for each in self)) if successes > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The success of an attack at several budgets of `quantity`, with the limits `besides` at all of them.

    `area` is None if the compared curves have no range of budgets in common, one of a single budget included,
    or if nothing was scored.
    """

    series: str
    quantity: str
    besides: tuple[tuple[str, float], ...]
    levels: tuple[Level, ...]
    area: Area | None = None

    @property
    def compared(self) -> tuple[object, ...]:
        """What must be the same for two curves to be compared."""
        cell = self.levels[0].cell
        return (*cell.setting, cell.oracle, self.quantity, self.besides)

    @property
    def success(self) -> str:
        """See `CellId.success`."""
        return self.levels[0].cell.success

    @property
    def seen(self) -> str:
        """See `CellId.seen`."""
        return self.levels[0].cell.seen


def area_weights(levels: Sequence[float], first: float, last: float) -> Floats:
    """What each level's ASR counts in the mean over log budget from `first` to `last`; they sum to 1.

    Raises:
        UsageError: if the levels do not ascend, or the range is not within them.
    """
    require(all(a < b for a, b in itertools.pairwise(levels)), "levels", levels, "ascending")
    require(levels[0] <= first <= last <= levels[-1], "range", (first, last), "within the levels")
    x = np.log(np.asarray(levels, dtype=np.float64))
    low, high = np.log(first), np.log(last)
    nodes = np.array([low, *x[(x > low) & (x < high)], high])
    hats = np.array([np.interp(nodes, x, unit) for unit in np.eye(len(x))])
    if high == low:
        return np.asarray(hats[:, 0], dtype=np.float64)
    whole: Floats = (hats[:, 1:] + hats[:, :-1]) @ np.diff(nodes) / (2 * (high - low))
    return whole


def area_under(
    levels: Sequence[float],
    successes: ArrayLike,
    rows: ArrayLike,
    *,
    first: float | None = None,
    last: float | None = None,
) -> Area | None:
    """The area under a curve, given successes and scored rows per cluster (clusters x levels).

    The interval is that of a single share (see `intervals`); its variance is that of what each cluster adds
    to the area over all levels. None if a level has no scored row.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    start, end = levels[0] if first is None else first, levels[-1] if last is None else last
    weights = area_weights(levels, start, end)
    if not len(n) or not n.sum(0).all():
        return None
    shares = k.sum(0) / n.sum(0)
    point = float(np.clip(weights @ shares, 0.0, 1.0))
    influence = ((k - shares * n) / n.sum(0)) @ weights
    own = (k / np.maximum(n, 1)) @ weights
    _, alike = np.unique(own.round(9), return_counts=True)
    sparse = len(n) - int(alike.max()) < SPARSE_GROUPS
    low, high, _ = score_interval(point, influence, n.sum(1), sparse=sparse)
    return Area(point, low, high, start, end)


def curves(columns: Columns, ids: Sequence[CellId]) -> list[Curve]:
    """The curves of a table: series with several levels of one quantity, each with its area."""
    found = _unmeasured(ids)
    numbers = {cell: number for number, cell in enumerate(ids)}
    ranges: dict[tuple[object, ...], tuple[float, float]] = {}
    for curve in found:
        first, last = ranges.get(curve.compared, (0.0, np.inf))
        ends = curve.levels[0].amount, curve.levels[-1].amount
        ranges[curve.compared] = max(first, ends[0]), min(last, ends[1])
    measured = []
    for curve in found:
        first, last = ranges[curve.compared]
        if first < last:
            cells = [numbers[level.cell] for level in curve.levels]
            k, n = _clusters(columns, cells, MEASURES[curve.success])
            amounts = [level.amount for level in curve.levels]
            curve = replace(curve, area=area_under(amounts, k, n, first=first, last=last))
        measured.append(curve)
    return measured


def _unmeasured(ids: Sequence[CellId]) -> list[Curve]:
    """The curves without areas: cells that differ in one limit of their budget alone."""
    together: dict[CellId, list[CellId]] = {}
    for cell in sorted(ids, key=lambda cell: cell.place):
        if cell.budget:
            together.setdefault(replace(cell, budget="", attack=""), []).append(cell)
    found = []
    for one, members in together.items():
        limits = [dict(limits_of(cell.budget)) for cell in members]
        names = list(dict.fromkeys(name for each in limits for name in each))
        varying = [name for name in names if len({each.get(name) for each in limits}) > 1]
        if len(varying) != 1 or any(varying[0] not in each for each in limits):
            continue
        levels = sorted(
            (Level(each[varying[0]], cell) for each, cell in zip(limits, members, strict=True)),
            key=lambda level: level.amount,
        )
        besides = tuple(pair for pair in limits_of(members[0].budget) if pair[0] != varying[0])
        found.append(Curve(series=one.series, quantity=varying[0], besides=besides, levels=tuple(levels)))
    return found


def _clusters(columns: Columns, cells: Sequence[int], measure: Measure) -> tuple[Floats, Floats]:
    """Successes and scored samples of the cases that the measure is about, clusters x cells."""
    size = len(columns.group.texts)
    k, n = np.zeros((size, len(cells))), np.zeros((size, len(cells)))
    for place, cell in enumerate(cells):
        keys, counts = columns.counted(columns.rows(cell), columns.expected, columns.group.codes)
        chosen = asked(measure, keys[:, 0])
        for total, outcomes in ((k, measure.counted), (n, measure.of)):
            columns_of = [OUTCOMES.index(outcome) for outcome in outcomes]
            np.add.at(total[:, place], keys[chosen, 1], counts[chosen][:, columns_of].sum(axis=1))
    some = n.any(axis=1)
    return k[some], n[some]
