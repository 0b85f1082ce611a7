"""Corrected rates of cells labelled in part: by hand, beside `ppi`, simulated; and cards from elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.agreement import Share
from sightline.metrics.calibration import corrected_share
from sightline.metrics.part_labelled import corrected_cell
from sightline.metrics.rates import MEASURES, Rate, outcome_counts, rate
from sightline.metrics.transported import TRANSPORTED, labels_needed, transported
from sightline.records import Outcome

NAN = float("nan")


def world(rng, share, se, sp, *, groups=200, rows=6, correlation=0.3):
    total = 1 / correlation - 1
    chance = rng.beta(share * total, (1 - share) * total, groups)
    truth = rng.random((groups, rows)) < chance[:, None]
    flags = np.where(truth, rng.random(truth.shape) < se, rng.random(truth.shape) > sp)
    return flags.astype(float), truth.astype(float), np.repeat(np.arange(groups), rows)


def test_groups_that_are_labelled_whole_are_ppi():
    """Over 100 worlds: the same estimate and width on average, and always well within the interval.

    The two weights of the judge are estimates of the same number, that of `ppi` divided by 1 + n / N.
    """
    rng = np.random.default_rng(3)
    pairs = []
    for _ in range(100):
        flags, truth, names = world(rng, 0.3, 0.85, 0.95)
        labels = np.where(np.arange(200)[:, None] < 50, truth, NAN)
        columns = flags.ravel(), names, labels.ravel()
        pairs.append((corrected_share(*columns), corrected_cell(*columns)))
    apart = np.array([new.point - old.point for old, new in pairs])
    widths = np.array([[each.high - each.low for each in pair] for pair in pairs])
    assert np.abs(apart).max() < widths.mean() / 4
    assert apart.mean() == pytest.approx(0, abs=0.002)
    assert widths[:, 1].mean() == pytest.approx(widths[:, 0].mean(), rel=0.03)
    lam = np.array([[old.lam * (1 + 50 / 150), new.lam] for old, new in pairs]).mean(axis=0)
    assert lam[0] == pytest.approx(lam[1], abs=0.03)
    assert (pairs[0][1].labelled, pairs[0][1].labelled_groups) == (300, 50)


def test_a_draw_by_verdict_is_poststratified():
    """Of 40 flagged rows 20 are labelled, 15 truly; of 60 others 30, 6 truly: .4 x .75 + .6 x .2."""
    flags = np.repeat([1.0, 0.0], [40, 60])
    labels = np.concatenate([[1.0] * 15, [0.0] * 5, [NAN] * 20, [1.0] * 6, [0.0] * 24, [NAN] * 30])
    assert corrected_cell(flags, np.arange(100), labels).point == pytest.approx(0.42, abs=1e-9)
    skewed = np.concatenate([[1.0] * 15, [0.0] * 5, [NAN] * 20, [1.0] * 3, [0.0] * 12, [NAN] * 45])
    found = corrected_cell(flags, np.arange(100), skewed, np.where(flags > 0, 0.5, 0.25))
    assert found.point == pytest.approx(0.42, abs=1e-9)


def test_all_rows_labelled_is_the_share_of_people_whatever_the_judge_says():
    truth = np.repeat([1.0, 0.0], [30, 70])
    found = corrected_cell(1 - truth, np.arange(100), truth)
    assert found.point == pytest.approx(0.3)
    assert found.lam == 0


@pytest.mark.parametrize("draw", ["whole groups", "two of a group", "by verdict"])
def test_intervals_hold_the_truth(draw):
    """400 worlds: 95 % give or take four standard errors of a simulated share."""
    rng = np.random.default_rng(5)
    held = []
    for _ in range(400):
        flags, truth, names = world(rng, 0.3, 0.85, 0.95)
        chances = np.where(flags > 0, 0.4, 0.1)
        if draw == "whole groups":
            chosen = np.arange(200)[:, None] < 50
        elif draw == "two of a group":
            chosen = (np.arange(200)[:, None] < 100) & (np.arange(6) < 2)
        else:
            chosen = rng.random(flags.shape) < chances
        found = corrected_cell(
            flags.ravel(),
            names,
            np.where(chosen, truth, NAN).ravel(),
            chances.ravel() if draw == "by verdict" else None,
        )
        held.append(found.low <= 0.3 <= found.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.044)


def test_too_few_labels_are_taken_alone():
    labels = np.concatenate([[1.0] * 9, [0.0] * 20, [NAN] * 71])
    found = corrected_cell(np.ones(100), np.arange(100), labels)
    assert found.point == pytest.approx(9 / 29)
    assert found.method.startswith("labels only")
    assert "too few labels to correct by the judge: 9 of the counted kind and 20 of the other" in found.note
    nobody = corrected_cell(np.ones(3), np.arange(3), [NAN] * 3)
    assert (nobody.point, nobody.low, nobody.high) == (None, 0, 1)


def test_labels_alone_count_with_the_inverse_of_their_chances():
    found = corrected_cell([1, 1, 0, 0], [0, 1, 2, 3], [1.0, 0.0, 0.0, NAN], [0.5, 0.5, 0.25, 1.0])
    assert found.point == pytest.approx(2 / 8)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.5, 1.0, NAN])), min_size=1, max_size=60))
def test_the_estimate_lies_in_its_interval_and_in_0_to_1(rows):
    flags, labels = zip(*rows, strict=True)
    found = corrected_cell(np.array(flags, dtype=float), np.arange(len(rows)) // 2, labels)
    assert 0 <= found.low <= found.high <= 1
    if found.point is not None:
        assert found.low - 1e-9 <= found.point <= found.high + 1e-9


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (([1.0], [0, 1], [1.0]), "not the same rows"),
        (([NAN], [0], [1.0]), "needs a flag"),
        (([1.0], [0], [1.0], [0.0]), "chance of being drawn"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, says):
    with pytest.raises(UsageError, match=says):
        corrected_cell(*columns)


def said(k: int, n: int) -> Rate:
    return rate(
        MEASURES["asr"], outcome_counts(range(n), [Outcome.complied] * k + [Outcome.refused] * (n - k)), "j"
    )


def part(k: int, n: int) -> Share:
    found = said(k, n)
    return Share(k=k, n=n, point=found.point, low=found.low, high=found.high, groups=n)


def test_a_card_from_elsewhere_is_rogan_gladen_and_flagged():
    """p = .3, Se = .9, Sp = .95: (.3 - .05) / .85."""
    found = transported(said(60, 200), part(90, 100), part(190, 200))
    assert found.point == pytest.approx(0.25 / 0.85)
    assert (found.method, found.note) == ("rogan-gladen", TRANSPORTED)
    wider = transported(said(60, 200), part(18, 20), part(38, 40))
    assert wider.point == found.point
    assert wider.high - wider.low > found.high - found.low > said(60, 200).high - said(60, 200).low


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ((part(9, 9), part(50, 50)), "9 positives and 50 negatives"),
        ((part(60, 100), part(60, 100)), "too weak: Se + Sp - 1 is 0.20"),
        ((part(95, 100), part(60, 100)), "outside [1 - Sp, Se] = [0.400, 0.950]"),
    ],
)
def test_a_card_that_means_nothing_here_is_refused(card, says):
    found = transported(said(60, 200), *card)
    assert found.point is None
    assert says in found.note
    assert (found.low, found.high) == (0, 1)
    assert transported(said(0, 0), part(90, 100), part(90, 100)).note == "no row was scored"


def test_labels_needed_without_a_judge_is_the_textbook_s_number():
    """1.96^2 x .25 / .05^2 = 384.1."""
    assert labels_needed(0.5, 10_000) == 385
    assert labels_needed(0.5, 300) is None
    assert labels_needed(0.5, 10_000, design=2.0) == 769


@pytest.mark.parametrize(("share", "se", "sp"), [(0.3, 0.85, 0.95), (0.5, 0.9, 0.9), (0.2, 0.6, 0.8)])
def test_labels_needed_is_what_a_simulation_needs(share, se, sp):
    """With so many labels the half-width is 5 points: within 5 % of that, on average over 40 worlds."""
    rng = np.random.default_rng(9)
    rows = 3000
    n = labels_needed(share, rows, sensitivity=se, specificity=sp)
    halves = []
    for _ in range(40):
        truth = rng.random(rows) < share
        flags = np.where(truth, rng.random(rows) < se, rng.random(rows) > sp).astype(float)
        labels = np.where(np.arange(rows) < n, truth, NAN)
        found = corrected_cell(flags, np.arange(rows), labels)
        halves.append((found.high - found.low) / 2)
    assert np.mean(halves) == pytest.approx(0.05, rel=0.05)


def test_a_rare_kind_needs_as_many_labels_as_hold_ten_of_it_or_the_labels_alone():
    assert labels_needed(0.02, 5000, sensitivity=0.9, specificity=0.99) == 73  # 1.96^2 x .05 x .95 / .05^2
    assert labels_needed(0.0, 5000) == 73
