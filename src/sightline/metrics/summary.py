"""The summary of a run: cells with closed counts, rates, utility, cost and controls; paired differences.

One pass over `results.parquet` reduces rows to outcome counts per cluster; everything else works on those.
The cells of a benchmark must hold the same samples: a missing one is an error here, never a smaller n.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sightline.metrics._columns import CELL, COSTS, EXPECTED, Columns, read_columns
from sightline.metrics.agreement import JudgeCard
from sightline.metrics.cell_rates import CellRates
from sightline.metrics.cells import PLAIN, CellId, is_control_of
from sightline.metrics.comparisons import contrasts, judge_cards
from sightline.metrics.complete import check_complete
from sightline.metrics.contrast import Contrast
from sightline.metrics.effort import Curve, curves
from sightline.metrics.rates import OUTCOMES, Counts, Rate, closed

By = Literal["category", "hazard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanCost:
    """Means per sample: of the reply, its share of crafting, and this judge."""

    calls_target: float
    calls_aux: float
    calls_judge: float
    tokens_in: float
    tokens_out: float
    flops: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A control of an attack: what the same requests do without what the attack adds.

    `rate` is its `success`.
    """

    attack: str
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRate:
    """The success of what was crafted with one seed."""

    seed: str
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSummary:
    """One cell read by one judge. A rate is None if the cell has no case of its kind.

    `counts` are all samples by outcome and sum to `n_expected`; `outcomes` are the same by expectation.
    `utility` is that of the same target and defense without attack, from the benchmark(s) `utility_from`.
    By a judge that scores the case, `success` is ASR and `rates` are those of each kind of case; by one that
    scores the attacker's goal, `attacker_goal` is the only rate: over all cases, plain ones and controls too.
    `success_macro` is its mean over categories, `success_any` success within all tries of a case: the answers
    to each of its artifacts (epochs), the artifacts of all seeds; None for a single try. All else is about
    single tries, the mean over all of them (ASR@1).
    `is_control` and `is_plain` tell controls and the unattacked cell. A cell holds the samples of all seeds
    that its attack was crafted with; `seeds` are their rates one by one, if there are several.
    """

    id: CellId
    n_expected: int
    counts: Mapping[str, int]
    outcomes: Mapping[str, Mapping[str, int]]
    rates: Mapping[str, Rate]
    success_macro: Rate | None
    success_any: Rate | None
    utility: Rate | None
    utility_from: tuple[str, ...]
    cost: MeanCost
    is_plain: bool
    is_control: bool
    controls: tuple[Control, ...] = ()
    seeds: tuple[SeedRate, ...] = ()

    @property
    def asr(self) -> Rate | None:
        """ASR: restricted requests complied with."""
        return self.rates.get("asr")

    @property
    def success(self) -> Rate | None:
        """Success of an attack: ASR, or targeted ASR."""
        return self.rates.get(self.id.success)

    @property
    def robust_utility(self) -> Rate | None:
        """Questions answered right under this attack or control; None for plain cells."""
        return None if self.is_plain else self.rates.get("utility")

    @property
    def over_refusal(self) -> Rate | None:
        """Benign requests refused or blocked."""
        return self.rates.get("over_refusal")

    @property
    def accuracy(self) -> Rate | None:
        """Items classified correctly; items are only shown plainly, so cells with an attack have none."""
        return self.rates.get("accuracy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """ASR and over-refusal, or targeted ASR, of a cell within one category or hazard."""

    id: CellId
    by: By
    value: str
    asr: Rate | None = None
    over_refusal: Rate | None = None
    attacker_goal: Rate | None = None

    @property
    def success(self) -> Rate | None:
        """See `CellSummary.success`."""
        return self.attacker_goal if self.id.scores == "attacker_goal" else self.asr


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Everything that may be printed of a run."""

    cells: tuple[CellSummary, ...]
    slices: tuple[Slice, ...]
    contrasts: tuple[Contrast, ...]
    judge_cards: tuple[JudgeCard, ...]
    curves: tuple[Curve, ...] = ()

    @property
    def judges(self) -> tuple[str, ...]:
        """Ids of the judges, in the order of the cells."""
        return tuple(dict.fromkeys(cell.id.judge for cell in self.cells))


def summarize(
    results: Any,
    *,
    undefended: Collection[str] = (PLAIN,),
    truth: str = "testbed_policy",
    sliced: Collection[str] | None = None,
) -> Summary:
    """Summarize a run folder, a Parquet file of results, a pyarrow table, or what `read_columns` made of one.

    `undefended` are the labels of the bare target among the defenses; `truth` is the judge (its id, or the
    name that its id begins with) to which the other judges are compared, if it is there. `sliced` are the
    defenses whose cells are looked at by category and hazard; None: all.

    Raises:
        UsageError: if the table cannot be read or lacks a column.
        ContractError: if a cell lacks samples that other cells of its benchmark have, holds a sample twice,
            or has an outcome outside the closed set.
    """
    columns = results if isinstance(results, Columns) else read_columns(results)
    ids = [CellId(**dict(zip(CELL, cell, strict=True))) for cell in columns.cells]
    check_complete(columns, ids)
    order = sorted(range(len(ids)), key=lambda number: ids[number].place)
    made = CellRates(columns, ids)
    wanted = np.array([sliced is None or cell.defense in sliced for cell in ids])
    by_category, by_hazard = (made.slices(each, wanted) for each in (columns.category, columns.hazard))
    slices: tuple[tuple[By, Mapping[int, Mapping[str, Mapping[str, Rate]]]], ...]
    slices = (("category", by_category), ("hazard", by_hazard))
    return Summary(
        cells=tuple(_cells(columns, made, order)),
        slices=tuple(
            Slice(id=ids[number], by=by, value=value, **pair)
            for number in order
            for by, found in slices
            for value, pair in found.get(number, {}).items()
        ),
        contrasts=tuple(contrasts(columns, ids, frozenset(undefended))),
        judge_cards=tuple(judge_cards(columns, ids, truth)),
        curves=tuple(curves(columns, ids)),
    )


def _costs(columns: Columns) -> list[MeanCost]:
    """Mean costs of each cell."""
    sizes = np.diff(columns.starts)
    means = (np.add.reduceat(columns.costs[name], columns.starts[:-1]) / sizes for name in COSTS)
    return [MeanCost(**dict(zip(COSTS, each, strict=True))) for each in np.column_stack([*means]).tolist()]


def _outcomes(columns: Columns) -> Counts:
    """Samples by cell, by what is expected, and by outcome."""
    shape = (len(columns.cells), len(EXPECTED), len(OUTCOMES))
    flat = (columns.cell * shape[1] + columns.expected) * shape[2] + columns.outcome
    return np.bincount(flat, minlength=shape[0] * shape[1] * shape[2]).reshape(shape).astype(np.int64)


def _cells(columns: Columns, made: CellRates, order: Sequence[int]) -> Iterator[CellSummary]:
    """The cells in this order."""
    ids, rates, utilities, costs = made.ids, made.all(), made.utilities(), _costs(columns)
    macros, tries, seeds = made.macros(), made.within_tries(), made.seeds()
    sizes, outcomes = np.diff(columns.starts).tolist(), _outcomes(columns)
    roles = [cell.role for cell in ids]
    controls: dict[tuple[str, ...], list[tuple[CellId, Rate]]] = {}
    for number in order:
        success = rates[number].get(ids[number].success)
        if roles[number] == "control" and success is not None:
            controls.setdefault(ids[number].setting, []).append((ids[number], success))
    for number in order:
        cell = ids[number]
        yield CellSummary(
            id=cell,
            n_expected=sizes[number],
            counts=closed(outcomes[number], sizes[number], f"cell {cell.name}, judge {cell.judge}"),
            outcomes={
                kind.value: {outcome.value: n for outcome, n in zip(OUTCOMES, row, strict=True) if n}
                for kind, row in zip(EXPECTED, outcomes[number].tolist(), strict=True)
                if any(row)
            },
            rates=rates[number],
            success_macro=macros.get(number),
            success_any=tries.get(number),
            utility=utilities[number].rate,
            utility_from=utilities[number].benchmarks,
            cost=costs[number],
            is_plain=roles[number] == "plain",
            is_control=roles[number] == "control",
            controls=_controls(cell, controls.get(cell.setting, ())) if roles[number] == "attack" else (),
            seeds=tuple(SeedRate(seed=seed, rate=one) for seed, one in seeds.get(number, ())),
        )


def _controls(cell: CellId, controls: Sequence[tuple[CellId, Rate]]) -> tuple[Control, ...]:
    """Of the controls in its setting, those of an attack."""
    return tuple(
        Control(attack=other.attack, rate=success)
        for other, success in controls
        if other.seen in ("", cell.seen) and is_control_of(other.attack_params, cell.attack_params)
    )
