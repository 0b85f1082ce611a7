"""How far people who label the same items agree: Krippendorff's alpha, Fleiss' kappa, PABAK, pairs of raters.

With n_uc the raters who gave item u the value c, m_u = sum_c n_uc, over items with m_u >= 2:

* coincidences o_ck = sum_u n_uc (n_uk - [c = k]) / (m_u - 1), n_c = sum_k o_ck, n = sum_c n_c;
* alpha = 1 - Do / De, Do = sum o_ck d_ck / n, De = sum n_c n_k d_ck / (n (n - 1)), with d = [c != k] for
  nominal values, and for ordinal ones the squared distance of mid-ranks, (r_k - r_c)^2 with
  r_c = n_1 + ... + n_c - n_c / 2 (Krippendorff 2011). Any number of raters, labels may be absent;
* Fleiss' kappa (1971): (P - Pe) / (1 - Pe), for the same number of labels on every item;
* pair agreement: the share of pairs of raters of an item who say the same, mean over items. It is the human
  ceiling: no judge can be asked to agree with people more than they do with each other;
* PABAK (Byrt et al. 1993): (K P - 1) / (K - 1) with K values and P the pair agreement.

Where one value is rare, alpha and kappa are low even if nearly all pairs agree: read them beside the pair
agreement and PABAK. Intervals are 95 % percentiles of a bootstrap over items, or over clusters of items. All
are functions of sums over items, so that the distinct items are redrawn by their numbers, not one by one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import UsageError, require
from sightline.metrics.confusion import DRAWS, FEWEST, Estimate
from sightline.metrics.intervals import Floats, cluster_sums

Level = Literal["nominal", "ordinal"]
Ratings = Sequence[Sequence[Hashable | None]]
"""By item, what its raters said; None: no label."""
BLOCK = 2_000_000
"""Numbers that one block of replicates may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatersAgree:
    """Agreement of raters, with intervals.

    Attributes:
        items: all of them; `paired` have two labels or more, and count.
        labels: on paired items.
        values: in their order.
        fleiss: undefined (None) unless all paired items have the same number of labels.
        pairs: the human ceiling.
    """

    items: int
    paired: int
    labels: int
    values: tuple[Hashable, ...]
    level: Level
    alpha: Estimate
    fleiss: Estimate
    pabak: Estimate
    pairs: Estimate


def krippendorff_alpha(
    ratings: Ratings, *, level: Level = "nominal", values: Sequence[Hashable] | None = None
) -> float | None:
    """Krippendorff's alpha, up to 1; 0 is chance; None where all labels are alike or no item has two.

    Args:
        ratings: by item.
        level: `ordinal` if values have an order.
        values: all that may be said, in their order; needed for ordinal words. By default those that were,
            sorted.

    Raises:
        UsageError: for a value that is not among `values` (with its row), or values without an order.
    """
    return _point(_alpha(_sums(_Counted(ratings, values)).sum(axis=0), level))


def fleiss_kappa(ratings: Ratings) -> float | None:
    """Fleiss' kappa, up to 1; 0 is chance; None where all labels are alike.

    Raises:
        UsageError: if items have different numbers of labels (alpha allows it), or fewer than two.
    """
    counted = _Counted(ratings, None)
    many = set(counted.table.sum(axis=1).tolist())
    if len(many) > 1 or many & {0, 1}:
        raise UsageError(
            f"Fleiss' kappa needs the same number of labels, two or more, on every item; found "
            f"{', '.join(map(str, sorted(many)))}: use krippendorff_alpha"
        )
    return _point(_fleiss(_sums(counted).sum(axis=0)))


def pair_agreement(ratings: Ratings) -> float | None:
    """Share of pairs of raters who say the same, mean over items, in [0, 1]: the human ceiling.

    None without an item of two labels.
    """
    return _point(_pairs(_sums(_Counted(ratings, None)).sum(axis=0)))


def pabak(ratings: Ratings, *, values: Sequence[Hashable] | None = None) -> float | None:
    """Prevalence-adjusted bias-adjusted kappa, -1 / (K - 1) to 1: `pair_agreement` beyond 1 / K.

    Args:
        ratings: by item.
        values: all that may be said; by default those that were.
    """
    return _point(_pabak(_sums(_Counted(ratings, values)).sum(axis=0)))


def share_of_ceiling(ratings: Ratings, judged: Sequence[Hashable | None]) -> float | None:
    """A judge's agreement with a rater, as a share of what raters reach among themselves; may exceed 1.

    Both over the items with two labels or more and a verdict; None without any, or where raters never agree.

    Args:
        ratings: by item.
        judged: the judge's verdict of each item, in the raters' words; None: no verdict.

    Raises:
        UsageError: if the columns differ in length.
    """
    if len(ratings) != len(judged):
        raise UsageError(f"{len(ratings)} rows of labels and {len(judged)} verdicts: not the same items")
    kept = [(_said(row), said) for row, said in zip(ratings, judged, strict=True) if said is not None]
    kept = [(row, said) for row, said in kept if len(row) > 1]
    ceiling = pair_agreement([row for row, _ in kept])
    if not kept or not ceiling:
        return None
    return sum(row.count(said) / len(row) for row, said in kept) / len(kept) / ceiling


def raters_agree(
    ratings: Ratings,
    *,
    level: Level = "nominal",
    values: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> RatersAgree:
    """All of the above at once, with intervals.

    Args:
        ratings: by item.
        level: as in `krippendorff_alpha`; so is `values`.
        values: as there.
        groups: the cluster of each item; by default each is its own.
        draws: replicates of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UsageError: as `krippendorff_alpha`, or if `groups` are not of the same items.
    """
    require(draws >= 100, "draws", draws, "100 or more")
    if groups is not None and len(groups) != len(ratings):
        raise UsageError(f"{len(ratings)} rows of labels and {len(groups)} groups: not the same items")
    counted = _Counted(ratings, values)
    many = counted.table.sum(axis=1)
    kept = many > 1
    sums = _sums(counted)
    whole = sums.sum(axis=0)
    units = sums[kept]
    if groups is not None:
        names = [group for group, there in zip(groups, kept, strict=True) if there]
        units = np.stack(cluster_sums(names, *units.T), axis=1) if names else units
        distinct, times = np.unique(units, axis=0, return_counts=True)
    else:
        first, times = _alike(counted.table[kept])
        order = np.lexsort(units[first].T[::-1])  # as `unique` has them: draws stay what they were
        distinct, times = units[first][order], times[order]
    redrawn = _redrawn(distinct, times, draws, seed) if len(units) >= FEWEST else None
    even = len(set(many[kept].tolist())) == 1
    nothing = Estimate(point=None, low=None, high=None)
    return RatersAgree(
        items=len(ratings),
        paired=int(kept.sum()),
        labels=int(many[kept].sum()),
        values=counted.values,
        level=level,
        alpha=_estimate(_alpha(whole, level), None if redrawn is None else _alpha(redrawn, level)),
        fleiss=_estimate(_fleiss(whole), None if redrawn is None else _fleiss(redrawn)) if even else nothing,
        pabak=_estimate(_pabak(whole), None if redrawn is None else _pabak(redrawn)),
        pairs=_estimate(_pairs(whole), None if redrawn is None else _pairs(redrawn)),
    )


def _said(row: Sequence[Hashable | None]) -> list[Hashable]:
    return [each for each in row if each is not None]


class _Counted:
    """How often each value was given to each item."""

    def __init__(self, ratings: Ratings, values: Sequence[Hashable] | None) -> None:
        found = {each for row in ratings for each in row if each is not None}
        if values is None:
            try:
                values = sorted(found)  # type: ignore[type-var]
            except TypeError:
                raise UsageError("labels of several kinds have no order: name the values") from None
        self.values = tuple(values)
        place = {value: number for number, value in enumerate(self.values)}
        if len(place) != len(self.values):
            raise UsageError(f"values {list(self.values)!r}: one stands there twice")
        if not found <= place.keys():
            for number, row in enumerate(ratings):
                for each in _said(row):
                    if each not in place:
                        raise UsageError(f"row {number}: label {each!r} is not one of {list(self.values)!r}")
        item = [number for number, row in enumerate(ratings) for each in row if each is not None]
        said = [place[each] for row in ratings for each in row if each is not None]
        table = np.zeros((len(ratings), len(self.values)), dtype=np.int64)
        np.add.at(table, (np.array(item, dtype=np.int64), np.array(said, dtype=np.int64)), 1)
        self.table: NDArray[np.int64] = table


def _sums(counted: _Counted) -> Floats:
    """By item: its coincidences, row by row, then its pair agreement, then 1; zeros if it has no pair."""
    table = counted.table.astype(np.float64)
    labels, kinds = table.sum(axis=1), table.shape[1]
    paired = labels > 1
    pairs = table[:, :, None] * table[:, None, :]
    pairs[:, range(kinds), range(kinds)] -= table
    per = pairs.reshape(len(table), kinds * kinds) / np.where(paired, labels - 1, 1.0)[:, None]
    same = np.trace(pairs, axis1=1, axis2=2) / np.where(paired, labels * (labels - 1), 1.0)
    found: Floats = np.column_stack([per, same, np.ones(len(table))]) * paired[:, None]
    return found


def _parts(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """The table of coincidences, its margins and its total."""
    kinds = round(float(sums.shape[-1] - 2) ** 0.5)
    table = sums[..., :-2].reshape(*sums.shape[:-1], kinds, kinds)
    margins = table.sum(axis=-1)
    return table, margins, margins.sum(axis=-1)


def _alpha(sums: Floats, level: Level) -> Floats:
    table, margins, total = _parts(sums)
    if level == "ordinal":
        ranks = np.cumsum(margins, axis=-1) - margins / 2
        distance = (ranks[..., :, None] - ranks[..., None, :]) ** 2
    else:
        distance = np.broadcast_to(1.0 - np.eye(table.shape[-1]), table.shape)
    seen = (table * distance).sum(axis=(-2, -1))
    chance = np.einsum("...i,...j,...ij->...", margins, margins, distance)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(chance > 0, 1 - (total - 1) * seen / chance, np.nan)
    return found


def _fleiss(sums: Floats) -> Floats:
    _, margins, total = _parts(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = ((margins / total[..., None]) ** 2).sum(axis=-1)
        found: Floats = np.where(chance < 1 - 1e-12, (_pairs(sums) - chance) / (1 - chance), np.nan)
    return found


def _pairs(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = sums[..., -2] / sums[..., -1]
    return found


def _pabak(sums: Floats) -> Floats:
    kinds = round(float(sums.shape[-1] - 2) ** 0.5)
    pairs = _pairs(sums)
    found: Floats = (kinds * pairs - 1) / (kinds - 1) if kinds > 1 else np.full_like(pairs, np.nan)
    return found


def _alike(table: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that differ: the place of the first of each, and how often each comes."""
    base = int(table.max(initial=0)) + 1
    if base ** table.shape[1] > np.iinfo(np.int64).max:
        _, first, times = np.unique(table, axis=0, return_index=True, return_counts=True)
    else:
        codes = table @ (base ** np.arange(table.shape[1], dtype=np.int64))
        _, first, times = np.unique(codes, return_index=True, return_counts=True)
    return first, times


def _redrawn(distinct: Floats, times: NDArray[np.int64], draws: int, seed: int) -> Floats:
    """Sums of so many samples of units with replacement: units that are alike are drawn by their number."""
    rng, share = np.random.default_rng(seed), times / times.sum()
    step = max(1, BLOCK // len(distinct))
    sizes = [min(step, draws - start) for start in range(0, draws, step)]
    found = [rng.multinomial(int(times.sum()), share, size=size) @ distinct for size in sizes]
    joined: Floats = np.concatenate(found)
    return joined


def _point(found: Floats) -> float | None:
    return None if np.isnan(found) else float(found)


def _estimate(point: Floats, redrawn: Floats | None) -> Estimate:
    values = np.array([]) if redrawn is None else redrawn[~np.isnan(redrawn)]
    if np.isnan(point) or not len(values):
        return Estimate(point=_point(point), low=None, high=None)
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(point=float(point), low=float(low), high=float(high))
