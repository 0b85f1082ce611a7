"""Rates corrected by human labels: what a judge's errors do to a rate, and how far that is known.

A judge flags every row of an evaluation (`unsafe` or not); people label a random part of it. The unit is the
group (a behavior, a topic), whose rows rise and fall together; groups are drawn for labelling, whole or in
part. Three estimates of the true share:

* labels only: the share of the labelled rows;
* prediction-powered inference (PPI++, Angelopoulos et al., arXiv 2311.01453): the judge's share on the groups
  that nobody labelled, plus what it is wrong by on those that were, with the judge's weight `lam` chosen to
  make the variance least. A judge that errs much gets little weight: never much worse than the labels alone;
* Rogan and Gladen (1978): (p + Sp - 1) / (Se + Sp - 1), with the judge's sensitivity and specificity from the
  labels. It loses where the judge is weak, and is refused where it means nothing.

Unequal groups enter by their rows (ratio estimates). Intervals are 95 %, by Student's t over the labelled
groups; that of a share is Wilson's with this variance. Below `FEW_LABELLED` labelled rows of either kind no
law covers: labels only are given, and the note says too few. Simulated coverage: `python
benchmarks/calibration.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sightline.errors import UsageError, require
from sightline.metrics.intervals import (
    Floats,
    cluster_sums,
    effective_groups,
    ratio_interval,
    t95,
    variance,
    worth_interval,
)

FEW_LABELLED = 10
TOO_FEW = "too few labels"
LEAST_J = 0.3
"""The least Se + Sp - 1 of a judge with which a rate is corrected by Rogan and Gladen's formula."""
DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A corrected share, or a corrected difference, with its 95 % interval.

    `point` is None where the method is refused; `note` says why, or what limits it. `lam` is the judge's
    weight.
    """

    point: float | None
    low: float
    high: float
    method: str
    note: str = ""
    lam: float = 0.0
    labelled: int = 0
    labelled_groups: int = 0


class Groups(NamedTuple):
    """Per group: its rows, the mean flag of all of them, of the labelled ones, and their mean label.

    `labelled` is what the labelled rows count for: their number, or the sum of their weights.
    """

    rows: Floats
    flag: Floats
    labelled: Floats
    labelled_flag: Floats
    label: Floats

    def part(self, chosen: ArrayLike) -> Groups:
        """Some of the groups."""
        kept = np.asarray(chosen)
        return Groups(*(each[kept] for each in self))


def grouped(
    flags: ArrayLike, groups: Sequence[object], labels: ArrayLike, inclusion: ArrayLike | None = None
) -> Groups:
    """Rows summed up by group.

    Args:
        flags: of the judge, one number per row: 1 for the counted outcome, 0 else; for a paired difference of
            two cells, the first flag minus the second.
        groups: the cluster of each row.
        labels: the same quantity by people; NaN where a row was not labelled.
        inclusion: the chance with which each labelled row was drawn within its group; None if it is the same
            for all rows. Rows count with its inverse (Horvitz and Thompson).

    Raises:
        UsageError: for columns of different lengths, flags that are no numbers, or chances outside (0, 1].
    """
    f, y = np.asarray(flags, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    chance = np.ones(len(f)) if inclusion is None else np.asarray(inclusion, dtype=np.float64)
    if not len(f) == len(y) == len(groups) == len(chance):
        raise UsageError(f"{len(f)} flags, {len(y)} labels, {len(groups)} groups: not the same rows")
    if not np.isfinite(f).all() or not ((chance > 0) & (chance <= 1)).all():
        raise UsageError("every row needs a flag, and a chance of being drawn above 0, up to 1")
    known = np.isfinite(y)
    w = known / chance
    rows, flagged, labelled, f_sum, y_sum = cluster_sums(
        list(groups), np.ones(len(f)), f, w, w * f, w * np.where(known, y, 0.0)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return Groups(rows, flagged / rows, labelled, f_sum / labelled, y_sum / labelled)


def _mean(values: Floats, rows: Floats) -> float:
    return float((values * rows).sum() / rows.sum())


def _influence(values: Floats, rows: Floats) -> Floats:
    """By how much each group moves the mean by rows."""
    found: Floats = rows * (values - _mean(values, rows)) / rows.sum()
    return found


def weight(found: Groups) -> float:
    """The judge's weight `lam` that makes the variance least, in [0, 1]; 0 if it says nothing."""
    asked, rest = found.part(found.labelled > 0), found.part(found.labelled == 0)
    if len(asked.rows) < 2 or not len(rest.rows):
        return 0.0
    f, y = asked.labelled_flag, asked.label
    share = asked.labelled / asked.labelled.sum()
    both = float((share * (f - share @ f) * (y - share @ y)).sum())
    every = np.concatenate([f, rest.flag])
    part = np.concatenate([asked.labelled, rest.rows])
    part = part / part.sum()
    spread = float((part * (every - part @ every) ** 2).sum())
    if spread <= 0:
        return 0.0
    return float(np.clip(both / ((1 + len(asked.rows) / len(rest.rows)) * spread), 0.0, 1.0))


def ppi(found: Groups, *, least: float = 0.0, most: float = 1.0) -> Corrected:
    """The prediction-powered estimate (PPI++) over groups.

    Args:
        found: rows by group; groups without labels are those that the judge alone saw.
        least: smallest value that the quantity can have: 0 for a share, -1 for a difference.
        most: largest one.

    Raises:
        UsageError: for fewer than two labelled groups.
    """
    asked, rest = found.part(found.labelled > 0), found.part(found.labelled == 0)
    if len(asked.rows) < 2:
        raise UsageError(f"{len(asked.rows)} labelled groups: label rows of two groups at least")
    lam = weight(found)
    wrong = asked.label - lam * asked.labelled_flag
    point = _mean(wrong, asked.labelled)
    spread = variance(_influence(wrong, asked.labelled), asked.labelled)
    if lam > 0:
        point += lam * _mean(rest.flag, rest.rows)
        spread += lam**2 * _spread(rest.flag, rest.rows)
    groups = max(2, effective_groups(asked.labelled))
    half = t95(groups - 1) * sqrt(spread)
    low, high = max(least, point - half), min(most, point + half)
    if (least, most) == (0.0, 1.0) and 0 < point < 1:
        low, high, _ = worth_interval(point, spread, float(found.rows.sum()), groups)
    return Corrected(
        point=point,
        low=low,
        high=high,
        method="ppi++ over groups",
        lam=lam,
        labelled=round(float((found.labelled > 0).sum())),
        labelled_groups=len(asked.rows),
    )


def _spread(values: Floats, rows: Floats) -> float:
    """The variance of a mean by rows; 0 for a single group, which says nothing of it."""
    return variance(_influence(values, rows), rows) if len(rows) > 1 else 0.0


def corrected_share(
    flags: ArrayLike, groups: Sequence[object], labels: ArrayLike, inclusion: ArrayLike | None = None
) -> Corrected:
    """The true share of counted rows: PPI++, or the labels alone where they are too few for any law.

    Arguments and errors as `grouped`.
    """
    y = np.asarray(labels, dtype=np.float64)
    known = np.isfinite(y)
    positives, negatives = int((y[known] > 0).sum()), int((y[known] <= 0).sum())
    found = grouped(flags, groups, labels, inclusion)
    if min(positives, negatives) < FEW_LABELLED or int((found.labelled > 0).sum()) < 2:
        return replace(labels_only(y, groups), note=too_few(positives, negatives))
    return replace(ppi(found), labelled=int(known.sum()))


def too_few(positives: int, negatives: int) -> str:
    """What to note of a rate that labels are too few to correct; begins with `TOO_FEW`."""
    return (
        f"{TOO_FEW} to correct by the judge: {positives} of the counted kind and {negatives} of the "
        f"other, {FEW_LABELLED} of each are needed"
    )


def labels_only(labels: ArrayLike, groups: Sequence[object]) -> Corrected:
    """The share of the labelled rows, clustered; point None without any."""
    y = np.asarray(labels, dtype=np.float64)
    known = np.isfinite(y)
    kept = [group for group, there in zip(groups, known, strict=True) if there]
    k, n = cluster_sums(kept, y[known], np.ones(int(known.sum())))
    interval = ratio_interval(k, n)
    return Corrected(
        point=float(k.sum() / n.sum()) if len(n) else None,
        low=interval.low,
        high=interval.high,
        method=f"labels only, {interval.method}",
        labelled=int(known.sum()),
        labelled_groups=len(n),
    )


def difference(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], groups: Sequence[object]
) -> Corrected:
    """The corrected difference of two cells on the same rows: PPI++ on what each row gains.

    Two rates that were corrected apart must not be subtracted: their errors are the same judge's.

    Args:
        first: flags and labels of a cell, as in `grouped`.
        second: of the other one, row by row.
        groups: the cluster of each pair.

    Raises:
        UsageError: as `grouped`, or for fewer than two labelled groups.
    """
    flags = np.asarray(first[0], dtype=np.float64) - np.asarray(second[0], dtype=np.float64)
    labels = np.asarray(first[1], dtype=np.float64) - np.asarray(second[1], dtype=np.float64)
    found = ppi(grouped(flags, groups, labels), least=-1.0)
    return replace(found, labelled=int(np.isfinite(labels).sum()))


def rogan_gladen(
    flags: ArrayLike, groups: Sequence[object], labels: ArrayLike, *, same_cell: bool = True
) -> Corrected:
    """The share by Rogan and Gladen's formula, refused where it means nothing.

    Args:
        flags: of the judge, 0 or 1 per row.
        groups: the cluster of each row.
        labels: 0 or 1 by people; NaN where a row was not labelled.
        same_cell: whether the labels come from the rows that are corrected. Else the note says that the
            judge's errors may be others here.

    Returns:
        `point` is None, with the reason, if Se + Sp - 1 is below `LEAST_J`, fewer than `FEW_LABELLED` rows of
        either kind are labelled, or the judge's share lies outside what its errors allow.
    """
    f, y = np.asarray(flags, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    known = np.isfinite(y)
    label = np.where(known, y, 0.0)
    positive, negative = known & (label > 0), known & (label <= 0)
    found = grouped(f, groups, labels)
    facts = {"labelled": int(known.sum()), "labelled_groups": int((found.labelled > 0).sum())}
    if min(positive.sum(), negative.sum()) < FEW_LABELLED:
        return _refused(too_few(int(positive.sum()), int(negative.sum())), facts)
    hits, true, clear, false = cluster_sums(
        list(groups), f * positive, positive.astype(float), (1 - f) * negative, negative.astype(float)
    )
    se, sp = float(hits.sum() / true.sum()), float(clear.sum() / false.sum())
    p, j = _mean(found.flag, found.rows), se + sp - 1
    if j < LEAST_J:
        return _refused(f"the judge is too weak: Se + Sp - 1 is {j:.2f}, below {LEAST_J}", facts)
    if not 1 - sp <= p <= se:
        why = f"the judge's share {p:.3f} lies outside [1 - Sp, Se] = [{1 - sp:.3f}, {se:.3f}]"
        return _refused(why, facts)
    point = (p + sp - 1) / j
    spread = (
        _spread(found.flag, found.rows)
        + point**2 * _ratio_spread(hits, true)
        + (1 - point) ** 2 * _ratio_spread(clear, false)
    ) / j**2
    half = t95(max(1, facts["labelled_groups"] - 1)) * sqrt(spread)
    note = "" if same_cell else "Se and Sp come from other rows than these: they may be others here"
    low, high = max(0.0, point - half), min(1.0, point + half)
    return Corrected(point=point, low=low, high=high, method="rogan-gladen", note=note, **facts)


def _refused(why: str, facts: dict[str, int]) -> Corrected:
    return Corrected(point=None, low=0.0, high=1.0, method="rogan-gladen", note=why, **facts)


def _ratio_spread(hits: Floats, of: Floats) -> float:
    """The variance of sum(hits) / sum(of) between the groups that have any."""
    kept = of > 0
    return _spread(hits[kept] / of[kept], of[kept])


def stratified(strata: Sequence[Groups], sizes: Sequence[float]) -> Corrected:
    """PPI++ stratum by stratum (Fisch et al., arXiv 2406.04291), added up by the strata's sizes.

    Args:
        strata: rows by group of each stratum; a group may have rows in several.
        sizes: rows of each stratum in the population.

    Raises:
        UsageError: for a stratum with fewer than two labelled groups, naming its number.
    """
    parts = []
    for number, each in enumerate(strata, start=1):
        if int((each.labelled > 0).sum()) < 2:
            raise UsageError(f"stratum {number}: label rows of two groups at least, or join it with another")
        parts.append(ppi(each, least=-np.inf, most=np.inf))
    share = np.asarray(sizes, dtype=np.float64) / float(np.sum(sizes))
    freedom = np.array([max(1, each.labelled_groups - 1) for each in parts], dtype=np.float64)
    halves = [(each.high - each.low) / 2 / t95(int(df)) for each, df in zip(parts, freedom, strict=True)]
    spreads = share**2 * np.square(halves)
    total = float(spreads.sum())
    df = 1.0 if total == 0 else total**2 / float((spreads**2 / freedom).sum())
    point = float(share @ [each.point for each in parts])
    groups, rows = max(2, int(df) + 1), float(sum(each.rows.sum() for each in strata))
    half = t95(groups - 1) * sqrt(total)
    low, high = max(0.0, point - half), min(1.0, point + half)
    if 0 < point < 1:
        low, high, _ = worth_interval(point, total, rows, groups)
    return Corrected(
        point=point,
        low=low,
        high=high,
        method="ppi++ over groups and strata",
        labelled=sum(each.labelled for each in parts),
        labelled_groups=sum(each.labelled_groups for each in parts),
    )


def bootstrap(found: Groups, *, draws: int = DRAWS, seed: int = 0) -> Corrected:
    """The PPI++ estimate with the percentile interval of redrawing labelled and other groups apart.

    The judge's weight is that of the sample in all replicates. It is a check of `ppi`: where the two differ
    much, trust neither.

    Raises:
        UsageError: as `ppi`.
    """
    require(draws >= 100, "draws", draws, "100 or more")
    whole = ppi(found, least=-np.inf, most=np.inf)
    asked, rest = found.part(found.labelled > 0), found.part(found.labelled == 0)
    rng = np.random.default_rng(seed)
    values = _redrawn(asked.label - whole.lam * asked.labelled_flag, asked.labelled, draws, rng)
    if whole.lam > 0:
        values = values + whole.lam * _redrawn(rest.flag, rest.rows, draws, rng)
    low, high = np.quantile(values, (0.025, 0.975))
    return replace(
        whole, low=float(max(0.0, low)), high=float(min(1.0, high)), method="ppi++, bootstrap over groups"
    )


def _redrawn(values: Floats, rows: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Means by rows of so many samples of groups with replacement, in blocks that fit the memory."""
    count = len(values)
    found = []
    step = max(1, 4_000_000 // count)
    for start in range(0, draws, step):
        times = rng.multinomial(count, np.full(count, 1 / count), size=min(step, draws - start))
        found.append((times @ (values * rows)) / (times @ rows))
    joined: Floats = np.concatenate(found)
    return joined


def detectable(groups: float, discordance: float, *, paired: bool = True) -> float:
    """The least difference that is found with a chance of 80 % at two-sided 5 %.

    Args:
        groups: effective number of independent rows: groups, or rows divided by the design effect.
        discordance: share of pairs that differ; unpaired, the common share p of both sides.
        paired: whether both sides are asked the same.
    """
    require(groups > 0, "groups", groups, "more than 0")
    require(0 < discordance < 1, "discordance", discordance, "between 0 and 1")
    spread = discordance if paired else 2 * discordance * (1 - discordance)
    return 2.801585 * sqrt(spread / groups)
