"""Agreement of a judge with ground truth, or with another judge, on the same samples.

On the testbed the truth is the exact policy judge; elsewhere human labels. Only samples that both scored
are compared; the others are counted. A card is about one class of outcomes ("positive"): for ASR replies that
complied, for over-refusal those that were refused or blocked. Samples of one group
count as one cluster, over all attacks, targets and defenses that they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import UsageError
from sightline.metrics.intervals import cluster_sums, ratio_interval
from sightline.metrics.rates import MEASURES, OUTCOMES, Measure
from sightline.records import SCORED, Outcome

Ints = NDArray[np.int64]


class BothRead(NamedTuple):
    """Samples that two judges read: outcomes as positions in `OUTCOMES`, and the cluster of each.

    `times` is how often each stands there; None: once.
    """

    verdicts: Ints
    truths: Ints
    groups: Ints
    times: Ints | None = None


_SCORED = np.array([outcome in SCORED for outcome in OUTCOMES])


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """k of n, in `groups` clusters, with a 95 % interval over them; `point` is None for n = 0."""

    k: int
    n: int
    point: float | None
    low: float
    high: float
    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCard:
    """A judge against a truth, for one measure, on the `n` samples that both scored.

    `attack` is the attack whose samples were compared, or '' for all together.
    `sensitivity`: share of true positives that it finds; `specificity`: share of true negatives that it
    leaves alone. `positive_agreement` and `negative_agreement` are 2a / (2a + b + c) of either class;
    `kappa` is Cohen's (None where undefined). `bias` is its positive share minus the true one.
    """

    measure: str
    attack: str
    judge: str
    truth: str
    n: int
    judge_unscored: int
    truth_unscored: int
    agreement: Share
    kappa: float | None
    sensitivity: Share
    specificity: Share
    positive_agreement: float | None
    negative_agreement: float | None
    bias: float | None


def share(groups: Ints, hits: ArrayLike, of: ArrayLike) -> Share:
    """The share of `hits` among `of`, both per row, with an interval clustered by `groups`."""
    k, n = cluster_sums(groups, hits, of)
    interval = ratio_interval(k, n)
    found, total = int(k.sum()), int(n.sum())
    return Share(
        k=found,
        n=total,
        point=found / total if total else None,
        low=interval.low,
        high=interval.high,
        groups=int(np.count_nonzero(n)),
    )


def both_read(
    verdicts: Sequence[Outcome], truths: Sequence[Outcome], groups: Sequence[object] | None = None
) -> BothRead:
    """Samples given one by one; without `groups` each is its own.

    Raises:
        UsageError: if the two are not about the same samples.
    """
    if len(verdicts) != len(truths):
        raise UsageError(f"{len(verdicts)} verdicts and {len(truths)} truths: not the same samples")
    names = list(range(len(verdicts))) if groups is None else list(groups)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return BothRead(
        np.array([OUTCOMES.index(outcome) for outcome in verdicts], dtype=np.int64),
        np.array([OUTCOMES.index(outcome) for outcome in truths], dtype=np.int64),
        np.array([numbers[name] for name in names], dtype=np.int64),
    )


def cohen_kappa(table: ArrayLike) -> float | None:
    """Cohen's kappa of a square table (first rater x second); None if it is undefined.

    It is undefined for no samples, and where both raters give everything the same label.
    """
    counts = np.asarray(table, dtype=np.float64)
    total = counts.sum()
    if total == 0:
        return None
    observed = np.trace(counts) / total
    chance = float(counts.sum(axis=0) @ counts.sum(axis=1)) / total**2
    return None if chance >= 1.0 else float((observed - chance) / (1.0 - chance))


def judge_card(
    both: BothRead, *, judge: str, truth: str, measure: Measure = MEASURES["asr"], attack: str = ""
) -> JudgeCard:
    """The card of `judge`; positive are the outcomes that `measure` counts."""
    positive = np.array([outcome in measure.counted for outcome in OUTCOMES])
    times = np.ones(len(both.groups), dtype=np.int64) if both.times is None else both.times
    lost, truth_lost = ~_SCORED[both.verdicts], ~_SCORED[both.truths]
    kept = times * ~(lost | truth_lost)
    said, true = positive[both.verdicts], positive[both.truths]
    hit, false_alarm, miss, clear = (
        int(kept[mask].sum()) for mask in (said & true, said & ~true, ~said & true, ~said & ~true)
    )
    n, unlike = int(kept.sum()), false_alarm + miss
    return JudgeCard(
        measure=measure.name,
        attack=attack,
        judge=judge,
        truth=truth,
        n=n,
        judge_unscored=int(times[lost].sum()),
        truth_unscored=int(times[truth_lost].sum()),
        agreement=share(both.groups, kept * (said == true), kept),
        kappa=cohen_kappa([[hit, false_alarm], [miss, clear]]),
        sensitivity=share(both.groups, kept * (said & true), kept * true),
        specificity=share(both.groups, kept * (~said & ~true), kept * ~true),
        positive_agreement=2 * hit / (2 * hit + unlike) if hit + unlike else None,
        negative_agreement=2 * clear / (2 * clear + unlike) if clear + unlike else None,
        bias=(false_alarm - miss) / n if n else None,
    )
