"""How good judges are, estimated from their votes alone (Dawid and Skene 1979, two classes).

Each row has an unknown class, unsafe with probability `prevalence`; given the class, judge j votes unsafe
with probability Se_j (unsafe rows) or 1 - Sp_j (safe rows), independently of the other judges.
Expectation-maximization alternates

    p_i     prevalence * prod_j P(vote_ij | unsafe), over its sum with the same of safe
    Se_j    (sum_i p_i [vote_ij unsafe] + s) / (sum_i p_i [j voted on i] + 2 s), Sp_j alike with 1 - p_i

from the share of votes unsafe as first p_i. s = 1/2 keeps figures off 0 and 1. Estimates, not truth: judges
that err together (one base model, one habit) look better than they are, and no number here can show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import UsageError

Floats = NDArray[np.float64]
FEWEST_JUDGES = 3
FEWEST_ROWS = 30
SMOOTHING = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """What votes alone say.

    Attributes:
        prevalence: estimated share of unsafe rows.
        sensitivity: Se of each judge, in order; `specificity`: Sp.
        unsafe: per row the probability of unsafe; NaN for a row without a vote.
        rows: with a vote.
        steps: of the estimation; `converged`: whether it came to rest.
    """

    prevalence: float
    sensitivity: Floats
    specificity: Floats
    unsafe: Floats
    rows: int
    steps: int
    converged: bool


def dawid_skene(votes: ArrayLike, *, most_steps: int = 1000, tolerance: float = 1e-8) -> Latent:
    """Estimate prevalence and every judge's sensitivity and specificity.

    Args:
        votes: rows x judges; 1 unsafe, 0 safe, NaN no vote.
        most_steps: after which it ends without having come to rest.
        tolerance: largest change of a row's probability at rest.

    Raises:
        UsageError: for fewer than three judges or 30 rows with votes, for a judge that never votes, for
            other values.
    """
    table = np.asarray(votes, dtype=np.float64)
    _check(table)
    voted = ~np.isnan(table)
    some = voted.any(axis=1)
    cast, said = voted[some].astype(np.float64), np.nan_to_num(table[some])
    unsafe: Floats = said.sum(axis=1) / cast.sum(axis=1)
    step, change = 0, np.inf
    se = sp = np.empty(0)
    prevalence = 0.5
    while step < most_steps and change > tolerance:
        step += 1
        prevalence = float((unsafe.sum() + SMOOTHING) / (len(unsafe) + 2 * SMOOTHING))
        se = (unsafe @ said + SMOOTHING) / (unsafe @ cast + 2 * SMOOTHING)
        sp = ((1 - unsafe) @ (cast - said) + SMOOTHING) / ((1 - unsafe) @ cast + 2 * SMOOTHING)
        odds = said @ np.log(se / (1 - sp)) + (cast - said) @ np.log((1 - se) / sp)
        odds += np.log(prevalence / (1 - prevalence))
        found = np.where(odds > 0, 1 / (1 + np.exp(-np.abs(odds))), 1 - 1 / (1 + np.exp(-np.abs(odds))))
        change = float(np.abs(found - unsafe).max())
        unsafe = found
    everywhere = np.full(len(table), np.nan)
    everywhere[some] = unsafe
    return Latent(
        prevalence=prevalence,
        sensitivity=se,
        specificity=sp,
        unsafe=everywhere,
        rows=int(some.sum()),
        steps=step,
        converged=change <= tolerance,
    )


def phi(first: ArrayLike, second: ArrayLike) -> float | None:
    """Correlation of two yes-no columns where both are known (NaN: not); None if one is constant."""
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = ~(np.isnan(one) | np.isnan(two))
    one, two = one[both], two[both]
    if not len(one) or np.ptp(one) == 0 or np.ptp(two) == 0:
        return None
    return float(np.corrcoef(one, two)[0, 1])


def _check(table: Floats) -> None:
    judges = table.shape[1] if table.ndim == 2 else 0
    if judges < FEWEST_JUDGES:
        raise UsageError(f"votes of {judges or 'no'} judges: {FEWEST_JUDGES} or more are needed")
    if not np.isin(table[~np.isnan(table)], (0, 1)).all():
        raise UsageError("votes are 1 (unsafe), 0 (safe) or NaN (none)")
    rows = int((~np.isnan(table)).any(axis=1).sum())
    if rows < FEWEST_ROWS:
        raise UsageError(f"{rows} rows with a vote: {FEWEST_ROWS} or more are needed for an estimate")
    silent = np.flatnonzero(np.isnan(table).all(axis=0))
    if len(silent):
        raise UsageError(f"judge number {silent[0] + 1} casts no vote: leave it out")
