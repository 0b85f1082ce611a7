"""How far a judge can be trusted: its verdicts beside a truth on the same samples.

On the testbed the truth is the exact policy judge; elsewhere human labels. Only samples that both scored
are compared; the others are counted. A card looks at one class of outcomes at a time ("positive"): for ASR
the replies that obeyed, for over-refusal those that were withheld.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import UsageError
from sightline.metrics.intervals import wilson
from sightline.metrics.rates import MEASURES, OUTCOMES, Measure
from sightline.records import SCORED, Outcome

Confusion = NDArray[np.int64]
"""Judge's outcome x true outcome, in the order of `OUTCOMES`: numbers of samples."""

_SCORED = np.array([outcome in SCORED for outcome in OUTCOMES])


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """k of n with a 95 % Wilson interval; `point` is None for n = 0."""

    k: int
    n: int
    point: float | None
    low: float
    high: float


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


def share(k: int, n: int) -> Share:
    """K of n independent samples."""
    interval = wilson(k, n)
    return Share(k=k, n=n, point=k / n if n else None, low=interval.low, high=interval.high)


def confusion(verdicts: Sequence[Outcome], truths: Sequence[Outcome]) -> Confusion:
    """Samples by (judge's outcome, true outcome).

    Raises:
        UsageError: if the two are not about the same samples.
    """
    if len(verdicts) != len(truths):
        raise UsageError(f"{len(verdicts)} verdicts stand beside {len(truths)} truths: not the same samples")
    table = np.zeros((len(OUTCOMES), len(OUTCOMES)), dtype=np.int64)
    for verdict, true in zip(verdicts, truths, strict=True):
        table[OUTCOMES.index(verdict), OUTCOMES.index(true)] += 1
    return table


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
    table: Confusion, *, judge: str, truth: str, measure: Measure = MEASURES["asr"], attack: str = ""
) -> JudgeCard:
    """The card of `judge`; positive are the outcomes that `measure` counts."""
    positive = np.array([outcome in measure.counted for outcome in OUTCOMES])
    both = table[np.ix_(_SCORED, _SCORED)]
    at = positive[_SCORED]
    hit, false_alarm = int(both[np.ix_(at, at)].sum()), int(both[np.ix_(at, ~at)].sum())
    miss, clear = int(both[np.ix_(~at, at)].sum()), int(both[np.ix_(~at, ~at)].sum())
    n, unlike = int(both.sum()), false_alarm + miss
    return JudgeCard(
        measure=measure.name,
        attack=attack,
        judge=judge,
        truth=truth,
        n=n,
        judge_unscored=int(table[~_SCORED].sum()),
        truth_unscored=int(table[:, ~_SCORED].sum()),
        agreement=share(hit + clear, n),
        kappa=cohen_kappa([[hit, false_alarm], [miss, clear]]),
        sensitivity=share(hit, hit + miss),
        specificity=share(clear, clear + false_alarm),
        positive_agreement=2 * hit / (2 * hit + unlike) if hit + unlike else None,
        negative_agreement=2 * clear / (2 * clear + unlike) if clear + unlike else None,
        bias=(false_alarm - miss) / n if n else None,
    )
