"""What a paired design can show: the smallest difference that a two-sided test finds with power .8.

For the paired difference of two shares, 2.80 * sqrt(discordance / groups), where discordance is the share of
groups on which the two sides differ (Connor, Biometrics 1987, for a difference that is small beside it).
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from sightline.metrics.intervals import ALPHA

POWER = 0.8
USUAL = 0.2
"""Discordance that is assumed before anything was measured."""


def minimal_difference(groups: int, discordance: float = USUAL) -> float:
    """The minimal detectable difference of two shares on the same groups, at most 1."""
    normal = NormalDist()
    factor = normal.inv_cdf(1 - ALPHA / 2) + normal.inv_cdf(POWER)
    return min(1.0, factor * sqrt(discordance / groups)) if groups else 1.0
