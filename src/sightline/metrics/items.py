"""Are the items of a benchmark good, and how many does it take? Statistics of systems x items.

* Item-rest correlation: Pearson's, of an item's scores with each system's mean over the other items. Of an
  item that all systems get alike it is undefined; below 0 weaker systems do better on it than stronger ones.
* The two-parameter logistic model (Birnbaum 1968): P(right) = 1 / (1 + exp(-(a theta + d))), theta ~ N(0, 1)
  over systems, a the discrimination, b = -d / a the difficulty. Marginal maximum likelihood by EM over 41
  nodes (Bock and Aitkin 1981); a and d have a N(0, 3) prior, without which an item that nearly all get alike
  has no finite estimate. Fewer than 30 systems are refused: the correlation is what so few can tell.
* Size: the fewest groups with which the ranking of systems has Kendall's tau-b >= .9 to that by all groups,
  in 95 % of draws without replacement. Where it is above half of the groups the draws overlap so much that it
  is a lower bound.
* Clopper and Pearson's exact interval (1934), for the share of wrong labels among items that people checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log

import numpy as np
from numpy.typing import NDArray

from sightline.errors import UsageError, require
from sightline.metrics.side_by_side import kendall_tau_b

Floats = NDArray[np.float64]
FEWEST_SYSTEMS = 30
"""Below this the two-parameter model is refused."""
LEAST_TAU, SHARE = 0.9, 0.95
DRAWS = 200
_NODES = np.linspace(-5, 5, 41)
_PRIOR = 3.0
_STEPS, _CLOSE = 1000, 1e-4


@dataclass(frozen=True, slots=True)
class TwoPL:
    """Estimates: `discrimination` and `difficulty` of each item, `ability` of each system."""

    discrimination: Floats
    difficulty: Floats
    ability: Floats


@dataclass(frozen=True, slots=True)
class SizeCurve:
    """`tau`: what 95 % of draws of so many groups (`sizes`) reach; `needed`: the fewest with .9, if any."""

    sizes: tuple[int, ...]
    tau: tuple[float, ...]
    needed: int | None


def item_rest(scores: Floats) -> Floats:
    """The correlation of each item (column) with the mean of the others; NaN where undefined.

    Args:
        scores: systems x items, 0 to 1; NaN where a system has no score.
    """
    known = ~np.isnan(scores)
    filled = np.where(known, scores, 0.0)
    others = known.sum(axis=1, keepdims=True) - known
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = (filled.sum(axis=1, keepdims=True) - filled) / others
        used = known & (others > 0)
        n = used.sum(axis=0)
        x = np.where(used, filled - np.where(used, filled, 0).sum(axis=0) / n, 0.0)
        y = np.where(used, rest - np.where(used, rest, 0).sum(axis=0) / n, 0.0)
        spread = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
        found: Floats = np.where(spread > 1e-12, (x * y).sum(axis=0) / spread, np.nan)
    return found


def two_pl(scores: Floats) -> TwoPL:
    """Fit the two-parameter model.

    Args:
        scores: systems x items, of which half and more counts as right; NaN where a system has no score.

    Raises:
        UsageError: for fewer than 30 systems, or items that all systems get alike.
    """
    systems = len(scores)
    if systems < FEWEST_SYSTEMS:
        raise UsageError(
            f"{systems} systems: the two-parameter model takes {FEWEST_SYSTEMS}; read item-rest correlations"
        )
    known = (~np.isnan(scores)).astype(np.float64)
    right = np.where(known > 0, scores >= 0.5, 0.0).astype(np.float64)
    if (((right.sum(axis=0)) == 0) | (right.sum(axis=0) == known.sum(axis=0))).any():
        raise UsageError("an item that all systems get alike has no discrimination: leave such items out")
    weights = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
    a = np.ones(scores.shape[1])
    share = right.sum(axis=0) / known.sum(axis=0)
    d = np.log(share / (1 - share))
    posterior = np.zeros((systems, len(_NODES)))
    for _ in range(_STEPS):
        logit = a[:, None] * _NODES + d[:, None]  # items x nodes
        yes, no = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
        likelihood = right @ yes + (known - right) @ no + np.log(weights)
        posterior = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        fresh_a, fresh_d = _newton(a, d, right.T @ posterior, known.T @ posterior)
        moved = max(np.abs(fresh_a - a).max(), np.abs(fresh_d - d).max())
        a, d = fresh_a, fresh_d
        if moved < _CLOSE:
            break
    ability = posterior @ _NODES
    if ability @ (right.sum(axis=1) - right.sum(axis=1).mean()) < 0:  # theta and a have a common sign
        a, ability = -a, -ability
    with np.errstate(divide="ignore", invalid="ignore"):
        return TwoPL(discrimination=a, difficulty=-d / a, ability=ability)


def _newton(a: Floats, d: Floats, right: Floats, asked: Floats) -> tuple[Floats, Floats]:
    """Three steps of each item's logistic regression on the nodes; counts are items x nodes."""
    for _ in range(3):
        p = 1 / (1 + np.exp(-np.clip(a[:, None] * _NODES + d[:, None], -30, 30)))
        left, weight = right - asked * p, asked * p * (1 - p)
        at_a = left @ _NODES - a / _PRIOR**2
        at_d = left.sum(axis=1) - d / _PRIOR**2
        aa = weight @ _NODES**2 + _PRIOR**-2
        dd = weight.sum(axis=1) + _PRIOR**-2
        ad = weight @ _NODES
        by = aa * dd - ad**2
        a = a + np.clip((dd * at_a - ad * at_d) / by, -1, 1)
        d = d + np.clip((aa * at_d - ad * at_a) / by, -1, 1)
    return a, d


def size_for_ranking(
    scores: Floats, groups: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0
) -> SizeCurve:
    """How many groups of items rank the systems as all of them do.

    Args:
        scores: systems x items; NaN where a system has no score.
        groups: of each item, numbered from 0.
        draws: per size.
        seed: of the draws.
    """
    number = int(groups.max()) + 1 if len(groups) else 0
    member = np.eye(number)[groups]
    known = (~np.isnan(scores)).astype(np.float64) @ member
    right = np.where(np.isnan(scores), 0.0, scores) @ member
    with np.errstate(invalid="ignore"):
        whole = right.sum(axis=1) / known.sum(axis=1)
    sizes = sorted({*range(2, min(number, 13)), *(round(number * k / 16) for k in range(1, 17))} - {0, 1})
    rng = np.random.default_rng(seed)
    found = []
    for size in sizes:
        taus = []
        for _ in range(draws if size < number else 1):
            drawn = rng.choice(number, size, replace=False)
            with np.errstate(invalid="ignore"):
                tau = kendall_tau_b(whole, right[:, drawn].sum(axis=1) / known[:, drawn].sum(axis=1))
            taus.append(0.0 if tau is None else tau)
        found.append(float(np.quantile(taus, 1 - SHARE, method="lower")))
    steady = [size for place, size in enumerate(sizes) if min(found[place:]) >= LEAST_TAU]
    return SizeCurve(sizes=tuple(sizes), tau=tuple(found), needed=steady[0] if steady else None)


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a share, k of n."""
    require(0 <= k <= n and n > 0, "k", k, f"0 to n={n}, n at least 1")
    return (0.0 if k == 0 else _solved(k - 1, n, 0.975)), (1.0 if k == n else _solved(k, n, 0.025))


def _solved(k: int, n: int, chance: float) -> float:
    """The share p with P(at most k of n) = chance, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        terms = (
            lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log(1 - p)
            for i in range(k + 1)
        )
        low, high = (p, high) if sum(map(exp, terms)) > chance else (low, p)
    return (low + high) / 2
