"""Corrected rates: against formulas written out row by row, by simulation, and where they must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.calibration import (
    bootstrap,
    corrected_share,
    detectable,
    difference,
    grouped,
    labels_only,
    ppi,
    rogan_gladen,
    stratified,
    weight,
)
from sightline.metrics.intervals import ratio_interval

NAN = float("nan")


def world(rng, *, groups=200, rows=6, labelled=50, prevalence=0.3, se=0.85, sp=0.95, correlation=0.3):
    """Flags, groups and labels: each group has a chance of its own; whole groups are labelled."""
    total = 1 / correlation - 1
    chance = rng.beta(prevalence * total, (1 - prevalence) * total, groups)
    truth = rng.random((groups, rows)) < chance[:, None]
    flags = np.where(truth, rng.random(truth.shape) < se, rng.random(truth.shape) > sp)
    labels = np.where(np.arange(groups)[:, None] < labelled, truth, np.nan)
    names = np.repeat(np.arange(groups), rows)
    return flags.ravel().astype(float), names, labels.ravel().astype(float)


def test_one_row_per_group_is_the_published_formula():
    """PPI++ (arXiv 2311.01453) for a mean, written out on rows: n labelled, N not."""
    rng = np.random.default_rng(1)
    flags, names, labels = world(rng, groups=300, rows=1, labelled=80)
    y, f, u = labels[:80], flags[:80], flags[80:]
    n, big = 80, 220
    lam = np.cov(y, f, bias=True)[0, 1] / ((1 + n / big) * flags.var())
    expected = lam * u.mean() + (y - lam * f).mean()
    found = ppi(grouped(flags, names, labels), least=-np.inf, most=np.inf)
    assert found.lam == pytest.approx(lam)
    assert found.point == pytest.approx(expected)
    spread = lam**2 * u.var(ddof=1) / big + (y - lam * f).var(ddof=1) / n
    assert found.high - found.low == pytest.approx(2 * 1.99045 * np.sqrt(spread), rel=1e-4)


def test_a_judge_without_errors_gives_its_own_share_and_one_without_sense_gives_none():
    rng = np.random.default_rng(2)
    flags, names, labels = world(rng, se=1.0, sp=1.0)
    perfect = ppi(grouped(flags, names, labels))
    assert abs(perfect.point - flags.mean()) < 0.02
    alone = labels_only(labels, names)
    assert perfect.high - perfect.low < 0.75 * (alone.high - alone.low)
    blind = np.random.default_rng(3).random(len(flags)) < 0.5
    useless = ppi(grouped(blind, names, labels))
    assert useless.lam < 0.2
    assert useless.point == pytest.approx(alone.point, abs=0.03)


def test_everything_labelled_is_the_labels():
    rng = np.random.default_rng(4)
    flags, names, labels = world(rng, labelled=200)
    found = ppi(grouped(flags, names, labels))
    assert (found.lam, found.point) == (0.0, pytest.approx(labels.mean()))


def test_rows_drawn_by_verdict_count_with_the_inverse_of_their_chance():
    """All flagged rows and one of four others are labelled: unweighted, the share is too high."""
    rng = np.random.default_rng(5)
    flags, names, labels = world(rng, groups=400, rows=8, labelled=400, se=0.9, sp=0.9)
    chance = np.where(flags == 1, 1.0, 0.25)
    drawn = rng.random(len(flags)) < chance
    seen = np.where(drawn, labels, NAN)
    weighted = ppi(grouped(flags, names, seen, chance))
    plain = ppi(grouped(flags, names, seen))
    assert weighted.point == pytest.approx(labels.mean(), abs=0.04)
    assert plain.point > labels.mean() + 0.1


@pytest.mark.parametrize(("se", "sp"), [(0.85, 0.95), (0.6, 0.8)])
def test_coverage_over_groups_and_the_lack_of_it_over_rows(se, sp):
    """The specification's worlds (200 groups of 6, 50 labelled, share .3): 95 % within simulation error."""
    rng = np.random.default_rng(6)
    held = by_rows = 0
    runs = 400
    for _ in range(runs):
        flags, names, labels = world(rng, se=se, sp=sp)
        found = corrected_share(flags, names, labels)
        held += found.low <= 0.3 <= found.high
        rows = ppi(grouped(flags, np.arange(len(flags)), labels))
        by_rows += rows.low <= 0.3 <= rows.high
    assert held / runs > 0.92
    assert by_rows / runs < 0.92  # what ignoring groups costs: the control of this test


def test_the_bootstrap_agrees_with_the_closed_form():
    rng = np.random.default_rng(7)
    found = grouped(*world(rng))
    closed, drawn = ppi(found), bootstrap(found, seed=1)
    assert (drawn.point, drawn.lam) == (closed.point, closed.lam)
    assert drawn.high - drawn.low == pytest.approx(closed.high - closed.low, rel=0.2)
    assert bootstrap(found, seed=1) == drawn


def test_too_few_labels_of_a_kind_are_not_corrected():
    rng = np.random.default_rng(8)
    flags, names, labels = world(rng, prevalence=0.02, labelled=20)
    found = corrected_share(flags, names, labels)
    assert found.method.startswith("labels only")
    assert "too few labels" in found.note
    known = np.isfinite(labels)
    k = [labels[known & (names == g)].sum() for g in range(20)]
    assert (found.low, found.high) == ratio_interval(k, [6] * 20)[:2]


def test_rogan_gladen_by_hand():
    """p = .35, Se = .8, Sp = .9: (.35 + .9 - 1) / .7."""
    labels = [1.0] * 20 + [0.0] * 20 + [NAN] * 60
    flags = [1.0] * 16 + [0.0] * 4 + [1.0] * 2 + [0.0] * 18 + [1.0] * 17 + [0.0] * 43
    found = rogan_gladen(flags, list(range(100)), labels)
    assert found.point == pytest.approx(0.25 / 0.7)
    assert found.note == ""
    assert "other rows" in rogan_gladen(flags, list(range(100)), labels, same_cell=False).note


@pytest.mark.parametrize(
    ("flags", "labels", "why"),
    [
        ([1.0] * 9 + [0.0] * 41, [1.0] * 9 + [0.0] * 41, "too few labels"),
        ([1.0, 0.0] * 25, [1.0] * 25 + [0.0] * 25, "too weak"),
        ([1.0] * 20 + [0.0] * 30 + [0.0] * 400, [1.0] * 20 + [0.0] * 18 + [0.0] * 12 + [NAN] * 400, ""),
    ],
)
def test_rogan_gladen_is_refused_where_it_means_nothing(flags, labels, why):
    found = rogan_gladen(flags, list(range(len(flags))), labels)
    assert (found.point is None) == bool(why)
    assert why in found.note
    outside = rogan_gladen([1.0] * 30 + [0.0] * 20 + [0.0] * 9950, list(range(10000)), _errs())
    assert outside.point is None
    assert "outside [1 - Sp, Se]" in outside.note


def _errs():
    """Sp = .5 in the labelled rows, while the judge flags hardly anything of the rest."""
    return [1.0] * 10 + [0.0] * 40 + [NAN] * 9950


def test_differences_are_corrected_together():
    rng = np.random.default_rng(9)
    flags, names, labels = world(rng)
    none = np.zeros_like(flags)
    zero = np.where(np.isfinite(labels), 0.0, NAN)
    found = difference((flags, labels), (none, zero), names)
    assert found.point == pytest.approx(ppi(grouped(flags, names, labels)).point)
    same = difference((flags, labels), (flags, labels), names)
    assert (same.point, same.low, same.high) == (0.0, 0.0, 0.0)
    back = difference((none, zero), (flags, labels), names)
    assert back.point == pytest.approx(-found.point)


def test_strata_add_up_by_their_sizes():
    rng = np.random.default_rng(10)
    one, two = grouped(*world(rng, prevalence=0.1)), grouped(*world(rng, prevalence=0.6))
    found = stratified([one, two], [900, 100])
    assert found.point == pytest.approx(0.9 * ppi(one).point + 0.1 * ppi(two).point)
    alone = stratified([one], [5])
    assert (alone.low, alone.high) == pytest.approx((ppi(one).low, ppi(one).high))


def test_what_cannot_be_corrected_is_told():
    with pytest.raises(UsageError, match="two groups"):
        ppi(grouped([1.0, 0.0], ["a", "b"], [1.0, NAN]))
    with pytest.raises(UsageError, match="not the same rows"):
        grouped([1.0], ["a", "b"], [1.0, 0.0])
    with pytest.raises(UsageError, match="every row needs a flag"):
        grouped([NAN], ["a"], [1.0])
    with pytest.raises(UsageError, match="every row needs a flag"):
        grouped([1.0], ["a"], [1.0], [0.0])
    with pytest.raises(UsageError, match="stratum 2"):
        stratified([grouped(*world(np.random.default_rng(1))), grouped([1.0], ["a"], [1.0])], [1, 1])


def test_the_detectable_difference_is_that_of_the_specification():
    assert [round(detectable(100, share), 2) for share in (0.1, 0.2, 0.3)] == [0.09, 0.13, 0.15]
    assert [round(detectable(400, share), 2) for share in (0.1, 0.2, 0.3)] == [0.04, 0.06, 0.08]
    assert round(detectable(100, 0.5, paired=False), 1) == 0.2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.sampled_from([0, 1, None])), min_size=4))
def test_whatever_the_rows_the_interval_holds_the_point_and_lies_in_its_bounds(rows):
    flags = [float(flag) for flag, _, _ in rows]
    names = [group for _, group, _ in rows]
    labels = [NAN if label is None else float(label) for _, _, label in rows]
    found = grouped(flags, names, labels)
    assert 0.0 <= weight(found) <= 1.0
    if (found.labelled > 0).sum() >= 2:
        one = corrected_share(flags, names, labels)
        assert 0.0 <= one.low <= one.high <= 1.0
        assert one.labelled == sum(label is not None for _, _, label in rows)
