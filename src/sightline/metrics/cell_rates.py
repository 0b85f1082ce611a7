"""The rates of all cells of a table, each kind of them from one grouping of its rows, not one a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.metrics._columns import Codes, Columns, Ints, asked, combine
from sightline.metrics.batches import ranges
from sightline.metrics.cells import CellId
from sightline.metrics.rates import MEASURES, Counts, Measure, Rate, any_of_k_rate, macro_rates, rates

_SLICED = ("asr", "over_refusal", "attacker_goal")


class Utility(NamedTuple):
    """The utility that stands beside a cell, and the benchmarks whose questions it is of."""

    rate: Rate | None
    benchmarks: tuple[str, ...]


class _Segments(NamedTuple):
    """Clusters in segments: `heads` (segments x columns) say of what, `starts` where; `counts` by outcome."""

    heads: Ints
    starts: Ints
    counts: Counts
    clusters: Ints

    def where(self, kept: NDArray[np.bool_]) -> _Segments:
        """Those segments alone."""
        sizes = np.diff(self.starts)
        rows = np.repeat(kept, sizes)
        starts = np.concatenate([[0], np.cumsum(sizes[kept])])
        return _Segments(self.heads[kept], starts, self.counts[rows], self.clusters[rows])


class CellRates:
    """Rates of the cells of a table. `kinds` is what is expected of each row's case, as far as judges tell.

    A judge that scores the attacker's goal tells no kinds apart: all its rows are of the first.
    """

    def __init__(self, columns: Columns, ids: Sequence[CellId]) -> None:
        self.columns = columns
        self.ids = ids
        self.by_case = np.array([cell.scores == "case" for cell in ids])
        self.kinds = np.where(self.by_case[columns.cell], columns.expected, 0)
        self._judges = [cell.judge for cell in ids]
        self._clusters = self._segments(None, self.kinds)

    def _segments(self, kept: NDArray[np.bool_] | None, *by: Ints) -> _Segments:
        """Clusters by group within cell and the columns `by`, of all rows or some."""
        columns = self.columns
        chosen = slice(None) if kept is None else kept
        keys, counts = columns.counted(chosen, columns.cell, *by, columns.group.codes)
        heads = keys[:, :-1]
        first = np.ones(len(heads), dtype=bool)
        first[1:] = (heads[1:] != heads[:-1]).any(axis=1)
        starts = np.flatnonzero(first)
        return _Segments(heads[starts], np.append(starts, len(heads)), counts, keys[:, -1])

    def _about(self, measure: Measure, segments: _Segments, kind: int) -> _Segments:
        """The segments that a measure is about; column `kind` of their heads says what is expected."""
        mine = self.by_case[segments.heads[:, 0]] == (measure.scores == "case")
        return segments.where(mine & asked(measure, segments.heads[:, kind]))

    def _of(self, measure: Measure, segments: _Segments) -> Iterator[tuple[list[int], Rate]]:
        """The rate of each segment, with its head."""
        heads = segments.heads.tolist()
        judges = [self._judges[head[0]] for head in heads]
        yield from zip(heads, rates(measure, segments.counts, segments.starts, judges), strict=True)

    def all(self) -> list[dict[str, Rate]]:
        """The rates of each cell by measure, of those that any of its cases is about."""
        found: list[dict[str, Rate]] = [{} for _ in self.ids]
        for name, measure in MEASURES.items():
            for (cell, _), one in self._of(measure, self._about(measure, self._clusters, 1)):
                found[cell][name] = one
        return found

    def macros(self) -> dict[int, Rate]:
        """The mean success over the categories of each cell that has several."""
        found: dict[int, Rate] = {}
        by_category = self._segments(None, self.kinds, self.columns.category.codes)
        for measure in (MEASURES["asr"], MEASURES["attacker_goal"]):
            strata = self._about(measure, by_category, 1)
            cells, first, size = np.unique(strata.heads[:, 0], return_index=True, return_counts=True)
            several = np.zeros(len(self.ids), dtype=bool)
            several[cells[size > 1]] = True
            strata = strata.where(several[strata.heads[:, 0]])
            cells, first = np.unique(strata.heads[:, 0], return_index=True)
            starts = np.append(first, len(strata.heads))
            judges = [self._judges[cell] for cell in cells.tolist()]
            made = macro_rates(measure, strata.counts, strata.starts, starts, judges)
            found.update(zip(cells.tolist(), made, strict=True))
        return found

    def _seeded(self) -> Ints:
        """How many seeds each cell has."""
        columns = self.columns
        fresh = np.ones(len(columns.cell), dtype=np.int64)
        codes = columns.seed.codes  # sorted within a cell
        fresh[1:] = (codes[1:] != codes[:-1]) | (columns.cell[1:] != columns.cell[:-1])
        return np.add.reduceat(fresh, columns.starts[:-1])

    def seeds(self) -> dict[int, list[tuple[str, Rate]]]:
        """Success seed by seed, of the cells that have several."""
        found: dict[int, list[tuple[str, Rate]]] = defaultdict(list)
        several = self._seeded() > 1
        if not several.any():
            return found
        codes, texts = self.columns.seed
        parts = self._segments(several[self.columns.cell], codes, self.kinds)
        for measure in (MEASURES["asr"], MEASURES["attacker_goal"]):
            for (cell, seed, _), one in self._of(measure, self._about(measure, parts, 2)):
                found[cell].append((texts[seed], one))
        return {cell: sorted(each, key=lambda pair: (len(pair[0]), pair[0])) for cell, each in found.items()}

    def within_tries(self) -> dict[int, Rate]:
        """Success within all tries of a case, those with every seed, of cells with more than one try."""
        columns = self.columns
        tries = (np.maximum.reduceat(columns.epoch, columns.starts[:-1]) + 1) * self._seeded()
        several = (tries > 1)[columns.cell]
        if not several.any():
            return {}
        by = (columns.cell, self.kinds, columns.group.codes, columns.case.codes)
        keys, counts = columns.counted(several, *by)
        ends = np.searchsorted(keys[:, 0], np.arange(len(self.ids) + 1)).tolist()
        found = {}
        for cell in np.flatnonzero(tries > 1).tolist():
            measure, here = MEASURES[self.ids[cell].success], slice(ends[cell], ends[cell + 1])
            about = asked(measure, keys[here, 1])
            if about.any():
                groups, k = keys[here, 2][about].tolist(), int(tries[cell])
                found[cell] = any_of_k_rate(measure, counts[here][about], groups, k, self._judges[cell])
        return found

    def utilities(self) -> list[Utility]:
        """Utility of each cell's target and defense without attack: from its own benchmark, else from all.

        Judges that score the attacker's goal have no right answers: their cells have none.
        """
        answers = self._about(MEASURES["utility"], self._clusters, 1)
        place = {head[0]: number for number, head in enumerate(answers.heads.tolist())}
        own: dict[tuple[str, ...], list[int]] = defaultdict(list)
        anywhere: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, cell in enumerate(self.ids):
            if number in place and cell.role == "plain":  # of a judge that scores the case
                own[cell.setting].append(number)
                anywhere[cell.target, cell.defense, cell.judge].append(number)
        sources = [
            tuple(own.get(cell.setting, ()) or anywhere.get((cell.target, cell.defense, cell.judge), ()))
            for cell in self.ids
        ]
        wanted = [each for each in dict.fromkeys(sources) if each]
        made: dict[tuple[int, ...], Utility] = {(): Utility(None, ())}
        if not wanted:
            return [made[()]] * len(sources)
        pooled = _pooled(answers, [[place[number] for number in each] for each in wanted])
        judges = [self._judges[each[0]] for each in wanted]
        known = rates(MEASURES["utility"], pooled.counts, pooled.starts, judges)
        for each, one in zip(wanted, known, strict=True):
            made[each] = Utility(one, tuple(dict.fromkeys(self.ids[number].benchmark for number in each)))
        return [made[each] for each in sources]

    def slices(self, values: Codes, cells: NDArray[np.bool_]) -> dict[int, dict[str, dict[str, Rate]]]:
        """ASR and over-refusal, or targeted ASR, of some cells by the values of a column, in their order."""
        found: dict[int, dict[int, dict[str, Rate]]] = defaultdict(lambda: defaultdict(dict))
        parts = self._segments(None, values.codes, self.kinds)
        parts = parts.where(cells[parts.heads[:, 0]])
        named = np.array([bool(text) for text in values.texts])
        parts = parts.where(named[parts.heads[:, 1]])
        for name in _SLICED:
            for (cell, value, _), one in self._of(MEASURES[name], self._about(MEASURES[name], parts, 2)):
                found[cell][value][name] = one
        return {
            cell: {values.texts[value]: pair for value, pair in sorted(each.items())}
            for cell, each in found.items()
        }


def _pooled(segments: _Segments, sets: Sequence[Sequence[int]]) -> _Segments:
    """The clusters of several segments as those of one, set by set."""
    sizes = np.diff(segments.starts)
    members = [number for each in sets for number in each]
    owner = np.repeat(np.repeat(np.arange(len(sets)), [len(each) for each in sets]), sizes[members])
    rows = ranges(segments.starts[members], sizes[members])
    places, keys = combine([owner, segments.clusters[rows]])
    counts = np.zeros((len(keys), segments.counts.shape[1]), dtype=np.int64)
    np.add.at(counts, places, segments.counts[rows])
    starts = np.searchsorted(keys[:, 0], np.arange(len(sets) + 1))
    return _Segments(np.arange(len(sets))[:, None], starts, counts, keys[:, 1])
