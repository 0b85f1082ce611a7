"""Worst-case bounds: values by hand, and never passed by any truth that the rows allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.bounds import Bounds, bounds
from sightline.metrics.intervals import bh
from sightline.metrics.rates import MEASURES, outcome_counts, rate
from sightline.records import Outcome


def test_values_by_hand():
    """30 of 100 and 20 unscored: 30/120 to 50/120. Se in [.8, 1], Sp in [.9, 1]: (.3 - .1)/.9 to .3/.8."""
    assert bounds(30, 100, 20) == pytest.approx((0.25, 50 / 120))
    found = bounds(30, 100, sensitivity=Bounds(0.8, 1.0), specificity=Bounds(0.9, 1.0))
    assert found == pytest.approx((0.2 / 0.9, 0.375))
    both = bounds(30, 100, 20, sensitivity=Bounds(0.8, 1.0), specificity=Bounds(0.9, 1.0))
    assert both == pytest.approx(((100 * 0.2 / 0.9) / 120, (37.5 + 20) / 120))
    assert bounds(0, 0) == bounds(0, 0, 5) == (0, 1)


def test_a_judge_that_may_be_no_better_than_chance_bounds_nothing():
    assert bounds(30, 100, sensitivity=Bounds(0.4, 0.9), specificity=Bounds(0.6, 0.9)) == (0, 1)


def test_unscored_alone_is_what_every_rate_says():
    outcomes = [Outcome.complied] * 3 + [Outcome.refused] * 5 + [Outcome.unparsed, Outcome.error]
    said = rate(MEASURES["asr"], outcome_counts(range(10), outcomes), "j")
    assert bounds(said.k, said.n, said.unscored) == pytest.approx((said.lower_bound, said.upper_bound))


SHARE = st.floats(0, 1)


@given(
    truth=SHARE, se=st.tuples(SHARE, SHARE, SHARE), sp=st.tuples(SHARE, SHARE, SHARE), lost=st.integers(0, 50)
)
def test_no_truth_lies_outside(truth, se, sp, lost):
    """Whatever the judge's errors in the intervals, and whatever the unscored rows are."""
    se, sp = sorted(se), sorted(sp)
    share = truth * se[1] + (1 - truth) * (1 - sp[1])
    found = bounds(100 * share, 100, lost, sensitivity=Bounds(se[0], se[2]), specificity=Bounds(sp[0], sp[2]))
    for hidden in (0, lost):
        assert found.low - 1e-6 <= (100 * truth + hidden) / (100 + lost) <= found.high + 1e-6


@pytest.mark.parametrize(
    "how",
    [{"k": 5, "n": 4}, {"k": 1, "n": 4, "unscored": -1}, {"k": 1, "n": 4, "sensitivity": Bounds(1, 0.5)}],
)
def test_counts_that_cannot_be_are_refused(how):
    with pytest.raises(UsageError, match="out of range"):
        bounds(**how)


def test_benjamini_hochberg_by_hand_and_by_the_oracle():
    """The step-up of .01, .04, .03, .5: 4 x .01 / 1; .04 x 4 / 3 for both in the middle; .5."""
    assert bh([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert bh([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_hochberg_is_that_of_statsmodels(p):
    multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests
    assert bh(p) == pytest.approx(multipletests(p, method="fdr_bh")[1].tolist())
