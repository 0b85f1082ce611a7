"""Differences of many pairs of cells on the same samples: one join of rows a measure, not one a pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.metrics._columns import Columns, Ints, asked, combine
from sightline.metrics.batches import Differences, paired_differences, ranges
from sightline.metrics.cells import CellId
from sightline.metrics.contrast import Contrast, Kind
from sightline.metrics.intervals import mcnemar
from sightline.metrics.rates import FLIP_RATE, MEASURES, OUTCOMES, Measure, Rate, rates
from sightline.records import WITHHELD

_BY_CASE = ("asr", "disclosure", "over_refusal", "utility", "accuracy")
_BY_ATTACKER = ("attacker_goal",)
_FLIPPED = frozenset({"asr", "disclosure"})
_WITHHELD = np.array([outcome in WITHHELD for outcome in OUTCOMES])
_MOST_ROWS = 1 << 20
"""Rows that are joined at once, so that memory does not grow with the pairs."""


class Ask(NamedTuple):
    """Which two cells to compare, by their numbers, and by which measure."""

    kind: Kind
    measure: str
    number: int
    base: int


class _Joined(NamedTuple):
    """Outcomes of the same samples in both cells, sample by sample; `owner` is the pair of cells."""

    owner: Ints
    group: Ints
    first: Ints
    second: Ints


class Pairs:
    """The rows of each cell that each measure is about, joined in pairs of cells."""

    def __init__(self, columns: Columns, ids: Sequence[CellId]) -> None:
        self.columns = columns
        self.ids = ids
        self._rows: dict[str, tuple[Ints, Ints]] = {}
        self._sizes = {name: np.diff(self._of(name)[1]).tolist() for name in (*_BY_CASE, *_BY_ATTACKER)}

    def _of(self, measure: str) -> tuple[Ints, Ints]:
        """Positions of the rows that a measure is about, and where those of each cell start."""
        if measure not in self._rows:
            rows = np.flatnonzero(asked(MEASURES[measure], self.columns.expected))
            self._rows[measure] = rows, np.searchsorted(rows, self.columns.starts)
        return self._rows[measure]

    def measures(self, cell: int) -> list[str]:
        """The measures of a cell that are about any of its rows."""
        known = _BY_ATTACKER if self.ids[cell].scores == "attacker_goal" else _BY_CASE
        return [name for name in known if self._sizes[name][cell]]

    def compared(self, asks: Sequence[Ask]) -> list[Contrast | None]:
        """The differences, p not adjusted, in the order of `asks`; None for two cells that share no case."""
        found: list[Contrast | None] = [None] * len(asks)
        places: dict[str, list[int]] = defaultdict(list)
        for place, ask in enumerate(asks):
            places[ask.measure].append(place)
        for measure, each in places.items():
            for part in self._parts(measure, asks, each):
                made = self._differences(MEASURES[measure], [asks[place] for place in part])
                for place, one in zip(part, made, strict=True):
                    found[place] = one
        return found

    def _parts(self, measure: str, asks: Sequence[Ask], places: Sequence[int]) -> Iterator[list[int]]:
        """The places of some asks in portions that are joined at once."""
        part: list[int] = []
        rows, sizes = 0, self._sizes[measure]
        for place in places:
            size = sizes[asks[place].number] + sizes[asks[place].base]
            if part and rows + size > _MOST_ROWS:
                yield part
                part, rows = [], 0
            part.append(place)
            rows += size
        yield part

    def _joined(self, measure: Measure, mine: Ints, base: Ints) -> _Joined:
        """Rows with the row of the base on the same sample; of the same seed where the base has several."""
        columns = self.columns
        rows, starts = self._of(measure.name)
        sizes, codes = np.diff(starts), columns.seed.codes
        here, there = (rows[ranges(starts[side], sizes[side])] for side in (mine, base))
        owner, others = (np.repeat(np.arange(len(side)), sizes[side]) for side in (mine, base))
        several = np.zeros(len(base), dtype=bool)
        some = sizes[base] > 0
        ends = starts[:-1][base[some]], starts[1:][base[some]] - 1
        several[some] = codes[rows[ends[0]]] != codes[rows[ends[1]]]  # sorted within a cell
        seeds, samples = len(columns.seed.texts), int(columns.sample.max()) + 1

        def keys(of: Ints, at: Ints) -> Ints:
            found: Ints = (of * seeds + np.where(several[of], codes[at], 0)) * samples + columns.sample[at]
            return found

        wanted, known = keys(owner, here), keys(others, there)
        if not len(known):
            owner, here = owner[:0], here[:0]
            return _Joined(owner, columns.group.codes[here], columns.outcome[here], columns.outcome[here])
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        met = known[place] == wanted
        here, there = here[met], there[place[met]]
        return _Joined(owner[met], columns.group.codes[here], columns.outcome[here], columns.outcome[there])

    def _differences(self, measure: Measure, asks: Sequence[Ask]) -> list[Contrast | None]:
        mine, base = np.array([(ask.number, ask.base) for ask in asks], dtype=np.int64).T
        joined, n = self._joined(measure, mine, base), len(asks)
        counted, of = _sets(measure)
        both = of[joined.first] & of[joined.second]
        owner, a, b = joined.owner[both], counted[joined.first[both]], counted[joined.second[both]]
        cluster, keys = combine([owner, joined.group[both]])
        starts = np.searchsorted(keys[:, 0], np.arange(n + 1))
        first, second, pairs = (
            np.bincount(cluster, weights=each, minlength=len(keys)).astype(np.float64)
            for each in (a, b, np.ones(len(owner)))
        )
        difference = paired_differences(first, second, pairs, starts)
        tallies = (
            np.bincount(each, minlength=n).tolist()
            for each in (joined.owner, owner, owner[a], owner[b], owner[a & ~b], owner[b & ~a])
        )
        cells = [(ask.kind, ask.measure, self.ids[ask.number], self.ids[ask.base]) for ask in asks]
        return _told(cells, difference, np.diff(starts), [*tallies], self._flips(measure, asks, joined))

    def _flips(self, measure: Measure, asks: Sequence[Ask], joined: _Joined) -> list[Rate | None]:
        """Of what the base withheld, the share that is given now: of attacks, by ASR and disclosure."""
        found: list[Rate | None] = [None] * len(asks)
        flipping = np.array([a.kind == "attack" and measure.name in _FLIPPED for a in asks])
        if not flipping.any():
            return found
        kept = flipping[joined.owner] & _WITHHELD[joined.second]
        owner = (np.cumsum(flipping) - 1)[joined.owner[kept]]
        cluster, keys = combine([owner, joined.group[kept]])
        width = len(OUTCOMES)
        counts = np.bincount(cluster * width + joined.first[kept], minlength=len(keys) * width)
        places = np.flatnonzero(flipping).tolist()
        starts = np.searchsorted(keys[:, 0], np.arange(len(places) + 1))
        judges = [self.ids[asks[place].number].judge for place in places]
        made = rates(FLIP_RATE, counts.reshape(len(keys), width), starts, judges)
        for place, one in zip(places, made, strict=True):
            found[place] = one
        return found


@cache
def _sets(measure: Measure) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each outcome, whether the measure counts it, and whether it is a share of it."""
    counted = np.array([outcome in measure.counted for outcome in OUTCOMES])
    return counted, np.array([outcome in measure.of for outcome in OUTCOMES])


def _told(
    cells: Sequence[tuple[Kind, str, CellId, CellId]],
    difference: Differences,
    groups: Ints,
    tallies: Sequence[list[int]],
    flips: Sequence[Rate | None],
) -> list[Contrast | None]:
    """The numbers of each pair of cells; None if they share no row."""
    numbers = (each.tolist() for each in (difference.point, difference.low, difference.high, difference.p))
    rest = (difference.method, difference.discordant.tolist(), groups.tolist(), flips)
    return [
        Contrast(
            kind=kind,
            measure=measure,
            cell=cell,
            base=base,
            point=point,
            low=low,
            high=high,
            method=method,
            cell_share=hits / scored if scored else 0.0,
            base_share=base_hits / scored if scored else 0.0,
            pairs=scored,
            unscored_pairs=shared - scored,
            groups=clusters,
            discordant=discordant,
            only_cell=only_cell,
            only_base=only_base,
            p=p,
            p_mcnemar=mcnemar(only_cell, only_base),
            flip_rate=flip,
        )
        if shared
        else None
        for (kind, measure, cell, base), point, low, high, p, method, discordant, clusters, flip, *(
            shared,
            scored,
            hits,
            base_hits,
            only_cell,
            only_base,
        ) in zip(cells, *numbers, *rest, *tallies, strict=True)
    ]
