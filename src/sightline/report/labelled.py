"""People's labels on the rows of a run: which row of which cell each stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.errors import UsageError
from sightline.human_labels import AGAIN, LABELS, HumanLabels, labels_of
from sightline.metrics._columns import Columns, asked
from sightline.metrics.agreement import Ints, Share
from sightline.metrics.cells import CellId
from sightline.metrics.intervals import Floats, cluster_sums, ratio_interval
from sightline.metrics.rates import MEASURES, OUTCOMES, Measure
from sightline.records import SCORED, Outcome
from sightline.report.label_contents import still_so
from sightline.report.results import Results
from sightline.report.standing import PeopleSaid

UNDECIDED = -1
_COUNTED = np.array([outcome in SCORED for outcome in OUTCOMES])
_PLACE = (
    "benchmark, release, target, attack_params, coalesce(crafted_on, ''), defense, series,"
    " coalesce(budget, ''), craft_seed::varchar, case_id, epoch"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Labels by row of the result columns.

    Attributes:
        outcome: position in `OUTCOMES` by people, `UNDECIDED` where they could not decide; by row.
        known: whether people labelled the row.
        chance: with which it was drawn; 1 elsewhere.
        labels: of answers that are still the same, as the file says; `changed` others are left out.
    """

    outcome: Ints
    known: NDArray[np.bool_]
    chance: Floats
    labels: HumanLabels
    changed: int = 0

    def truth(self, rows: NDArray[np.int64], measure: Measure) -> Floats:
        """By row: 1 for an outcome that the measure counts, 0 else, 0.5 undecided, NaN not labelled."""
        counted = np.array([outcome in measure.counted for outcome in OUTCOMES], dtype=np.float64)
        said = self.outcome[rows]
        values = np.where(said == UNDECIDED, 0.5, counted[said])
        found: Floats = np.where(self.known[rows], values, np.nan)
        return found


def labelled(run: Path, results: Results, columns: Columns, ids: Sequence[CellId]) -> Labelled | None:
    """The labels of a run; None if it has none.

    Raises:
        UsageError: for a file that cannot be read, or a label of a sample that the run does not have.
    """
    labels = labels_of(run)
    if labels is None or not labels.labels:
        return None
    rows = results.rows(
        f"select distinct sample, {_PLACE} from results"  # noqa: S608  (names of columns)
        " where sample in (select unnest(?::varchar[]))",
        [[each.sample for each in labels.labels]],
    )
    places = {str(sample): where for sample, *where in rows}
    for number, each in enumerate(labels.labels, start=2):
        if each.sample not in places:
            raise UsageError(
                f"{run / LABELS}:{number}: sample {each.sample} is not in the results of this run; {AGAIN}"
            )
    labels, changed = still_so(run, labels)
    known = np.zeros(len(columns.outcome), dtype=bool)
    outcome = np.zeros(len(known), dtype=np.int64)
    chance = np.ones(len(known))
    cells = _cells(ids)
    finders: dict[int, _Finder] = {}
    for each in labels.labels:
        *place, seed, case, epoch = places[each.sample]
        code = OUTCOMES.index(each.outcome) if each.decided else UNDECIDED
        for number in cells.get(tuple(map(str, place)), ()):
            finder = finders.setdefault(number, _Finder(columns, number))
            row = finder.row(str(seed), str(case), int(epoch))
            if row is not None:
                known[row], outcome[row], chance[row] = True, code, each.prob
    return Labelled(outcome=outcome, known=known, chance=chance, labels=labels, changed=changed)


def changed_lines(found: Labelled | None) -> tuple[str, ...]:
    """What to say of labels that are left out."""
    if found is None or not found.changed:
        return ()
    return (
        f"{found.changed:,} of {found.changed + len(found.labels.labels):,} labels of people are of answers "
        "that have changed since: they are left out",
    )


def _cells(ids: Sequence[CellId]) -> Mapping[tuple[str, ...], list[int]]:
    """Numbers of cells (one for each judge, and split of the cases) by what a row says of itself."""
    found: dict[tuple[str, ...], list[int]] = {}
    for number, cell in enumerate(ids):
        place = (
            cell.benchmark,
            cell.release,
            cell.target,
            cell.attack_params,
            cell.crafted_on,
            cell.defense,
            cell.series,
            cell.budget,
        )
        found.setdefault(place, []).append(number)
    return found


class _Finder:
    """Rows of one cell by seed, case and epoch."""

    def __init__(self, columns: Columns, number: int) -> None:
        rows = columns.rows(number)
        self.columns, self.start = columns, rows.start
        self.codes = self._code(columns.seed.codes[rows], columns.case.codes[rows], columns.epoch[rows])
        self.order = np.argsort(self.codes)

    def _code(self, seed: Ints, case: Ints, epoch: Ints) -> Ints:
        width = int(self.columns.epoch.max()) + 1
        return (seed * len(self.columns.case.texts) + case) * width + epoch

    def row(self, seed: str, case: str, epoch: int) -> int | None:
        """The number of a row among all columns; None if the cell does not hold it."""
        seeds, cases = self.columns.seed.texts, self.columns.case.texts
        seed = seed if seed in seeds else ""
        if seed not in seeds or case not in cases:
            return None
        code = self._code(np.array([seeds.index(seed)]), np.array([_place(cases, case)]), np.array([epoch]))[
            0
        ]
        place = int(np.searchsorted(self.codes, code, sorter=self.order))
        if place == len(self.order) or self.codes[self.order[place]] != code:
            return None
        return int(self.start) + int(self.order[place])


def _place(texts: Sequence[str], text: str) -> int:
    """The position of a text in a sorted list."""
    from bisect import bisect_left

    return bisect_left(texts, text)


def people_said(found: Labelled, columns: Columns, ids: Sequence[CellId]) -> dict[str, PeopleSaid]:
    """By judge: how it agrees with people on restricted requests, weighted by the inverse chances."""
    measure = MEASURES["asr"]
    counted = np.array([outcome in measure.counted for outcome in OUTCOMES])
    usable = found.known & (found.outcome != UNDECIDED) & _COUNTED[columns.outcome]
    usable &= asked(measure, columns.expected)
    judges = np.array([cell.judge if cell.scores == "case" else "" for cell in ids], dtype=object)
    result = {}
    for judge in dict.fromkeys(judges.tolist()):
        rows = np.flatnonzero(usable & (judges[columns.cell] == judge))
        if not judge or not len(rows):
            continue
        benchmarks = sorted({cell.benchmark for cell in ids})
        apart = np.array([benchmarks.index(cell.benchmark) for cell in ids])[columns.cell[rows]]
        groups = columns.group.codes[rows] + apart * len(columns.group.texts)
        says, true = counted[columns.outcome[rows]], counted[found.outcome[rows]]
        weights = 1 / found.chance[rows]
        result[str(judge)] = PeopleSaid(
            agreement=_weighted(groups, says == true, np.ones(len(rows), dtype=bool), weights),
            sensitivity=_weighted(groups, says & true, true, weights),
            specificity=_weighted(groups, ~says & ~true, ~true, weights),
        )
    return result


def _weighted(groups: Ints, hits: NDArray[np.bool_], of: NDArray[np.bool_], weights: Floats) -> Share:
    """A share weighted by row; it counts as many rows as its weights are worth (Kish)."""
    k, n = cluster_sums(groups, hits * weights, of * weights)
    squares = float((of * weights**2).sum())
    worth = float(n.sum()) / squares if squares else 0.0
    interval = ratio_interval(k * worth, n * worth)
    return Share(
        k=int(np.count_nonzero(hits)),
        n=int(np.count_nonzero(of)),
        point=float(k.sum() / n.sum()) if squares else None,
        low=interval.low,
        high=interval.high,
        groups=int(np.count_nonzero(n)),
    )


def unread(outcomes: Ints) -> NDArray[np.bool_]:
    """Rows whose verdict could not be read; people can label them, unlike those that ended in an error."""
    found: NDArray[np.bool_] = outcomes == OUTCOMES.index(Outcome.unparsed)
    return found
