"""The slope of a logistic regression: a two-by-two table by hand, statsmodels as oracle."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from sightline.errors import UsageError
from sightline.metrics.intervals import t95
from sightline.metrics.logit import logit_slope


def test_of_a_table_the_slope_is_the_log_of_the_odds_ratio() -> None:
    yes = [1] * 6 + [0] * 14 + [1] * 12 + [0] * 8
    x = [0] * 20 + [1] * 20
    assert logit_slope(yes, x).point == pytest.approx(log((12 / 8) / (6 / 14)))
    twice = logit_slope(yes, [2 * each for each in x])
    assert twice.point == pytest.approx(logit_slope(yes, x).point / 2)


@pytest.mark.parametrize("clusters", [12, 60])
def test_slope_and_clustered_error_are_those_of_statsmodels(clusters: int) -> None:
    api = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(clusters)
    for _ in range(5):
        groups = rng.integers(0, clusters, 400)
        x = rng.normal(5, 2, 400)
        chance = 1 / (1 + np.exp(-(-1 + 0.3 * (x - 5) + rng.normal(0, 0.7, clusters)[groups])))
        yes = (rng.random(400) < chance).astype(float)
        theirs = api.Logit(yes, api.add_constant(x)).fit(
            disp=False, cov_type="cluster", cov_kwds={"groups": groups}
        )
        mine = logit_slope(yes, x, groups.tolist())
        assert mine.point == pytest.approx(theirs.params[1], rel=1e-6)
        half = (mine.high - mine.low) / 2
        assert half == pytest.approx(t95(clusters - 1) * theirs.bse[1], rel=1e-5)


def test_what_has_no_slope_has_none() -> None:
    rng = np.random.default_rng(0)
    x = rng.random(100)
    assert logit_slope(x > 0.5, x).point is None  # x separates them
    assert logit_slope([1] * 4 + [0] * 96, x).point is None  # too few
    assert logit_slope(rng.random(100) < 0.5, [3] * 100).point is None
    few = logit_slope(rng.random(100) < 0.5, x, [number % 9 for number in range(100)])
    assert few.point is not None
    assert few.low is few.high is None


def test_broken_columns_are_told() -> None:
    with pytest.raises(UsageError, match="2 answers, 1 numbers, 2 groups"):
        logit_slope([1, 0], [1])
    with pytest.raises(UsageError, match="0 or 1 and a finite number"):
        logit_slope([1, 0], [1, float("nan")])
    with pytest.raises(UsageError, match="0 or 1 and a finite number"):
        logit_slope([1, 2], [1, 3])
