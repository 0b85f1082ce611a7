"""Which rows people should label: a gold sample whose every row has a known chance of being drawn.

Rows of an evaluation lie in groups (a behavior, a topic) and in strata (say, cell family x the judge's
verdict; rows that no judge scored are a stratum of their own). A sample of n rows is drawn so that

* stratum h gives n_h rows, by Neyman's allocation n_h ~ N_h S_h with S_h the standard deviation of the label
  within it, at least `floor` and at most `cap` of all: labels are worth most where the judge is least sure;
* a group gives at most `per_group` rows, since its rows agree: first is drawn how many rows each group gives
  to each stratum, then which;
* every row has an exact chance pi of being drawn, so that sum(y / pi) / N is unbiased (Horvitz and Thompson).

The three hold at once by dependent rounding of the table of expected counts, groups x strata (`rounding`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import UsageError, require
from sightline.metrics.intervals import Floats
from sightline.metrics.rounding import CLOSE, rounded
from sightline.rng import numpy_rng

FLOOR, CAP, PER_GROUP = 10, 0.6, 2
WORST_SPREAD = 0.5
"""Standard deviation of a yes or no where nothing is known of it: that of a share of one half."""
ROUNDS = 200
Ints = NDArray[np.int64]


class Drawn(NamedTuple):
    """A row to label: its number, its chance of being drawn, and in which phase it was.

    `prob` of rows of a later phase, and of earlier rows after it, is the inverse of the row's weight; see
    `extend`.
    """

    row: int
    prob: float
    phase: int = 1


def expected_spread(prevalence_by_verdict: Mapping[object, float | None]) -> dict[object, float]:
    """The standard deviation sqrt(p (1 - p)) of each stratum's labels; where p is None, that of one half.

    Args:
        prevalence_by_verdict: by stratum, the share of rows that people would label as positive, from a pilot
            of 30 rows or from the judge's card (see `by_card`).

    Raises:
        UsageError: for a share outside [0, 1].
    """
    for name, share in prevalence_by_verdict.items():
        require(share is None or 0 <= share <= 1, f"prevalence of {name!r}", share, "a share in 0..1")
    return {
        name: WORST_SPREAD if share is None else sqrt(share * (1 - share))
        for name, share in prevalence_by_verdict.items()
    }


def by_card(prevalence: float, sensitivity: float, specificity: float) -> dict[bool | None, float | None]:
    """The share of positives among rows with verdict yes (PPV), no (1 - NPV), and none (unknown).

    Raises:
        UsageError: for a share outside [0, 1].
    """
    shares = {"prevalence": prevalence, "sensitivity": sensitivity, "specificity": specificity}
    for name, share in shares.items():
        require(0 <= share <= 1, name, share, "a share in 0..1")
    hit, miss = prevalence * sensitivity, prevalence * (1 - sensitivity)
    alarm, clear = (1 - prevalence) * (1 - specificity), (1 - prevalence) * specificity
    return {
        True: hit / (hit + alarm) if hit + alarm else None,
        False: miss / (miss + clear) if miss + clear else None,
        None: None,
    }


def allocate(
    sizes: Sequence[int], spreads: Sequence[float], n: int, *, floor: int = FLOOR, cap: float = CAP
) -> list[int]:
    """How many rows to draw of each stratum: Neyman's allocation between bounds.

    Args:
        sizes: rows of each stratum.
        spreads: standard deviation of the label in each; all alike gives shares by size.
        n: rows to draw in all; the result sums to it, or to all rows if there are fewer.
        floor: least number of a stratum (all of one that is smaller); where n is too small for it, less.
        cap: greatest part of n that one stratum gets, unless the others are too small.

    Raises:
        UsageError: for columns of different lengths, or numbers out of range.
    """
    if len(sizes) != len(spreads):
        raise UsageError(f"{len(sizes)} sizes and {len(spreads)} spreads: one of each per stratum")
    require(n >= 0, "n", n, "0 or more")
    require(floor >= 0, "floor", floor, "0 or more")
    require(0 < cap <= 1, "cap", cap, "above 0, up to 1")
    require(all(size >= 0 for size in sizes), "sizes", list(sizes), "0 or more")
    require(all(0 <= each < float("inf") for each in spreads), "spreads", list(spreads), "0 or more")
    size, spread = np.asarray(sizes, dtype=np.float64), np.asarray(spreads, dtype=np.float64)
    total = min(n, int(size.sum()))
    if not total:
        return [0] * len(sizes)
    low = np.minimum(floor, size)
    if low.sum() > total:
        low *= total / low.sum()
    high = np.maximum(np.minimum(size, np.floor(cap * total)), np.ceil(low))
    if high.sum() < total:
        high = size
    # A stratum without spread comes last, but comes. Relative to the greatest, that tiny ones stay numbers.
    weight = size * (np.maximum(spread / spread.max(), 1e-6) if spread.max() > 0 else 1.0)
    return _whole(_filled(weight, low, high, total), high, total)


def _filled(weight: Floats, low: Floats, high: Floats, total: int) -> Floats:
    """Shares of `total` by weight, between bounds, by halving the factor's range."""
    positive = weight[weight > 0]
    least, most = 0.0, 2.0 * float(high.max()) / float(positive.min())
    for _ in range(ROUNDS):
        factor = (least + most) / 2
        enough = float(np.clip(factor * weight, low, high).sum()) >= total
        least, most = (least, factor) if enough else (factor, most)
    found: Floats = np.clip(most * weight, low, high)
    return found


def _whole(shares: Floats, high: Floats, total: int) -> list[int]:
    """Whole numbers with that sum, by largest remainder; ties go to the first."""
    found = np.floor(shares + CLOSE).astype(np.int64)
    order = np.argsort(-(shares - found), kind="stable")
    while (missing := total - int(found.sum())) > 0:
        found[[number for number in order if found[number] < high[number]][:missing]] += 1
    return [int(each) for each in found]


def draw(
    groups: Sequence[Hashable],
    strata: Sequence[Hashable],
    n: int,
    *,
    spreads: Mapping[object, float] | None = None,
    per_group: int = PER_GROUP,
    floor: int = FLOOR,
    cap: float = CAP,
    seed: int,
    key: str,
) -> list[Drawn]:
    """A sample of n rows with the chance of each, in the order of the rows.

    Args:
        groups: the group of each row.
        strata: the stratum of each row; rows without a verdict need one of their own, such as None.
        n: rows to draw; fewer come where groups times `per_group` do not suffice.
        spreads: standard deviation of the labels by stratum (`expected_spread`); None, or a stratum without
            one, takes that of a share of one half.
        per_group: most rows of one group. Where groups are so few that a stratum cannot have its number, it
            gets less.
        floor: as in `allocate`; so is `cap`.
        seed: of the study; `key` names what is sampled. The same two give the same sample.

    Raises:
        UsageError: for columns of different lengths, numbers out of range, or n too small to reach every
            stratum.
    """
    rows = np.arange(len(groups), dtype=np.int64)
    chances, taken = _drawn(rows, groups, strata, n, (spreads, per_group, floor, cap), (seed, key, 1))
    return [Drawn(int(row), float(chances[row])) for row in taken]


def extend(
    drawn: Sequence[Drawn],
    groups: Sequence[Hashable],
    strata: Sequence[Hashable],
    n: int,
    *,
    spreads: Mapping[object, float] | None = None,
    per_group: int = PER_GROUP,
    floor: int = FLOOR,
    cap: float = CAP,
    seed: int,
    key: str,
) -> list[Drawn]:
    """An earlier sample and n more rows, with new weights: the earlier rows stay.

    The new rows are drawn among the rest, at most `per_group` more of a group. Both the earlier weights, and
    1 for an earlier row with 1 / chance for a new one, are unbiased; their mean is taken, by stratum, with
    weights N1 (N - n) and N n2 (Des Raj), so that plain random samples of n1 and n2 weigh N / n throughout.
    Unbiased exactly if `spreads` do not come from the labels of the earlier rows, and every stratum had its
    number; from a pilot, nearly.

    Raises:
        UsageError: as `draw`, or for an earlier sample of other rows.
    """
    if len({each.row for each in drawn}) != len(drawn):
        raise UsageError("the earlier sample has a row twice")
    if any(not 0 <= each.row < len(groups) or not 0 < each.prob <= 1 for each in drawn):
        raise UsageError(f"the earlier sample is not one of these {len(groups)} rows with chances in (0, 1]")
    phase = 1 + max((each.phase for each in drawn), default=0)
    if not drawn:
        return draw(
            groups, strata, n, spreads=spreads, per_group=per_group, floor=floor, cap=cap, seed=seed, key=key
        )
    rest = np.setdiff1d(np.arange(len(groups)), [each.row for each in drawn])
    how, names = (spreads, per_group, floor, cap), (seed, key, phase)
    chances, taken = _drawn(rest, groups, strata, n, how, names)
    sizes, before = _counted(strata), _counted([strata[each.row] for each in drawn])
    more = _counted([strata[row] for row in taken])
    late = {name: _late(sizes[name], before.get(name, 0), more.get(name, 0)) for name in sizes}
    if any(late[strata[row]] < chances[row] for row in taken):
        # Some rows would weigh less than 1: groups are exhausted, and are no longer spared.
        chances, taken = _drawn(rest, groups, strata, n, (spreads, len(groups), floor, cap), names)
        more = _counted([strata[row] for row in taken])
        late = {name: _late(sizes[name], before.get(name, 0), more.get(name, 0)) for name in sizes}
    kept = [
        Drawn(each.row, 1 / ((1 - late[strata[each.row]]) / each.prob + late[strata[each.row]]), each.phase)
        for each in drawn
    ]
    new = [Drawn(int(row), min(1.0, float(chances[row]) / late[strata[row]]), phase) for row in taken]
    return sorted(kept + new)


def _late(size: int, before: int, more: int) -> float:
    """The part of the later of two estimates of one stratum; all of it where every row is drawn by now."""
    if before + more == size:
        return 1.0
    return size * more / ((before + more) * (size - before)) if more else 0.0


def _counted(names: Sequence[Hashable]) -> dict[Hashable, int]:
    found: dict[Hashable, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


def estimated_share(drawn: Sequence[Drawn], labels: Sequence[float], rows: int) -> float:
    """The share of positives among `rows` rows from the labels of a sample, by Horvitz and Thompson.

    Raises:
        UsageError: unless there is one label per drawn row.
    """
    if len(drawn) != len(labels):
        raise UsageError(f"{len(drawn)} drawn rows and {len(labels)} labels: one per row")
    require(rows >= max(1, len(drawn)), "rows", rows, "as many as were drawn, or more")
    return sum(label / each.prob for each, label in zip(drawn, labels, strict=True)) / rows


def _drawn(
    rows: Ints,
    groups: Sequence[Hashable],
    strata: Sequence[Hashable],
    n: int,
    how: tuple[Mapping[object, float] | None, int, int, float],
    names: tuple[int, str, int],
) -> tuple[Floats, list[int]]:
    """The chance of every row (0 outside `rows`), and the rows that are drawn."""
    spreads, per_group, least, cap = how
    if len(groups) != len(strata):
        raise UsageError(f"{len(groups)} groups and {len(strata)} strata: one of each per row")
    require(per_group >= 1, "per_group", per_group, "1 or more")
    rng = numpy_rng("gold sample", *names)
    group, of_group = _numbered([groups[row] for row in rows])
    stratum, of_stratum = _numbered([strata[row] for row in rows])
    group = rng.permutation(len(of_group))[group] if len(rows) else group
    known = spreads or {}
    counts = np.bincount(stratum, minlength=len(of_stratum)).tolist()
    wanted = allocate(counts, [known.get(name, WORST_SPREAD) for name in of_stratum], n, floor=least, cap=cap)
    chances = np.zeros(len(groups))
    if not sum(wanted):
        return chances, []
    if 0 in wanted:
        lost = of_stratum[wanted.index(0)]
        raise UsageError(
            f"n={n}: no row of stratum {lost!r} would be drawn, and nothing could be said of it; draw more, "
            f"with a floor of 1 at least, or join strata (there are {len(wanted)})"
        )
    # A cell of the table: the rows of one group in one stratum, which have equal chances.
    cells, cell, size = np.unique(group * len(of_stratum) + stratum, return_inverse=True, return_counts=True)
    at_group, at_stratum = cells // len(of_stratum), cells % len(of_stratum)
    chance = _chances(at_group, at_stratum, size, np.asarray(wanted, dtype=np.float64), per_group)
    chances[rows] = chance[cell]
    table = (at_group.tolist(), at_stratum.tolist(), (chance * size).tolist())
    number = rounded(*table, lambda likely: bool(rng.random() < likely))
    by_cell = rows[np.argsort(cell, kind="stable")]
    start = np.cumsum(size) - size
    taken: list[int] = []
    for which in np.flatnonzero(number):
        inside = by_cell[start[which] : start[which] + size[which]]
        taken += rng.choice(inside, number[which], replace=False, shuffle=False).tolist()
    return chances, sorted(taken)


def _numbered(names: Sequence[Hashable]) -> tuple[Ints, list[Hashable]]:
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], dtype=np.int64), list(known)


def _chances(group: Ints, stratum: Ints, size: Ints, wanted: Floats, per_group: int) -> Floats:
    """The chance of a row of each cell: alike within a stratum, less in groups that would give too many.

    What these groups lack, the others of the stratum get, as far as they can.
    """
    chance = (wanted / np.bincount(stratum, size, len(wanted)))[stratum]
    for _ in range(ROUNDS):
        given = np.bincount(group, size * chance)
        if given.max() <= per_group * (1 + 1e-12):
            break
        chance = chance * np.minimum(1.0, per_group / np.maximum(given, CLOSE))[group]
        got = np.bincount(stratum, size * chance, len(wanted))
        if (got >= wanted * (1 - CLOSE)).all():
            break
        chance = np.minimum(1.0, chance * (wanted / np.maximum(got, CLOSE))[stratum])
    given = np.bincount(group, size * chance)
    found: Floats = chance * np.minimum(1.0, per_group / np.maximum(given, CLOSE))[group]
    return found
