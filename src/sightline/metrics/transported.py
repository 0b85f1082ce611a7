"""A rate corrected by a card from elsewhere, and how many labels would make it known.

Rogan and Gladen (1978): t = (p + Sp - 1) / J, J = Se + Sp - 1, with p the judge's share here and Se, Sp of
other rows. The variances of the three are added (delta method; each from the width of its 95 % interval). It
is refused where it means nothing (see `calibration.rogan_gladen`), and is *transported* at best: errors may
be others here.

Its intervals are wide rather than narrow (`benchmarks/calibration.py`). At true shares of .1 and more they
hold the truth in some .97 of the worlds: a card keeps intervals of Se and Sp, whose design effect is never
below 1; how much of the excess is due to that was not measured. At a share of .05 they hold it in .99 and
more: worlds in which the judge's share falls below 1 - Sp are refused, which are those that err downwards,
and the lower end cannot fall below 0. Tried in 2,000 worlds a setting and not taken: distances to the ends
in place of half widths (MOVER; Zou and Donner 2008), which gave .965 to .977, .999 for the weakest judge
(45 % refused), and intervals up to 4 % wider where shares are .1 and more.
"""

from __future__ import annotations

from math import ceil, sqrt

from sightline.errors import require
from sightline.metrics.agreement import Share
from sightline.metrics.calibration import FEW_LABELLED, LEAST_J, Corrected
from sightline.metrics.intervals import Z95
from sightline.metrics.rates import Rate

TRANSPORTED = "transported from other replies"
HALF_WIDTH = 0.05


def transported(rate: Rate, sensitivity: Share, specificity: Share) -> Corrected:
    """The true share by a card's sensitivity and specificity; where refused, None with the reason."""
    least = min(sensitivity.n, specificity.n)
    if least < FEW_LABELLED or sensitivity.point is None or specificity.point is None:
        return _refused(
            f"the card has {sensitivity.n} positives and {specificity.n} negatives; "
            f"{FEW_LABELLED} of each are needed"
        )
    se, sp, p = sensitivity.point, specificity.point, rate.point
    j = se + sp - 1
    if p is None:
        return _refused("no row was scored")
    if j < LEAST_J:
        return _refused(f"the judge is too weak: Se + Sp - 1 is {j:.2f}, below {LEAST_J}")
    if not 1 - sp <= p <= se:
        return _refused(f"the judge's share {p:.3f} lies outside [1 - Sp, Se] = [{1 - sp:.3f}, {se:.3f}]")
    point = (p + sp - 1) / j
    spread = (
        _spread(rate) + point**2 * _spread(sensitivity) + (1 - point) ** 2 * _spread(specificity)
    ) / j**2
    half = Z95 * sqrt(spread)
    low, high = max(0.0, point - half), min(1.0, point + half)
    return Corrected(point=point, low=low, high=high, method="rogan-gladen", note=TRANSPORTED)


def _refused(why: str) -> Corrected:
    return Corrected(point=None, low=0.0, high=1.0, method="rogan-gladen", note=why)


def _spread(found: Rate | Share) -> float:
    """The variance that a 95 % interval stands for."""
    return ((found.high - found.low) / (2 * Z95)) ** 2


def labels_needed(
    prevalence: float,
    rows: int,
    *,
    sensitivity: float = 0.5,
    specificity: float = 0.5,
    half: float = HALF_WIDTH,
    design: float = 1.0,
) -> int | None:
    """How many labels would bring a cell's corrected rate to `half` on either side; None if no number does.

    With V = design * prevalence (1 - prevalence) and r^2 = J^2 prevalence (1 - prevalence) / (p (1 - p)),
    the squared correlation of verdict and truth, PPI++ on n of N rows has the variance V (1 - r^2) / n + V
    r^2 / N. Where that n would hold fewer than `FEW_LABELLED` of either kind, the judge cannot be used: then
    it is the number at which the labels alone do, or as many as hold them, whichever is less.

    Args:
        prevalence: expected true share.
        rows: of the cell.
        sensitivity: of the judge; with the specificity below, by default, of one that says nothing.
        specificity: of the judge.
        half: half-width of the 95 % interval that is wanted.
        design: the design effect: by how much the variance is larger than that of independent rows.
    """
    require(0 <= prevalence <= 1, "prevalence", prevalence, "0..1")
    require(0 < half < 0.5, "half", half, "between 0 and 0.5")
    require(design > 0, "design", design, "more than 0")
    spread = max(prevalence * (1 - prevalence), half * (1 - half))
    wanted = (half / Z95) ** 2
    share = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    j = sensitivity + specificity - 1
    known = j**2 * prevalence * (1 - prevalence) / (share * (1 - share)) if 0 < share < 1 else 0.0
    alone = design * spread / wanted
    rest = wanted - design * spread * known / rows if rows else 0.0
    with_judge = design * spread * (1 - known) / rest if rest > 0 else float("inf")
    rarer = min(prevalence, 1 - prevalence)
    enough = FEW_LABELLED / rarer if rarer > 0 else float("inf")
    found = max(min(with_judge, alone), min(alone, enough))
    return ceil(found) if found <= rows else None
