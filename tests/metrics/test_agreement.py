"""Agreement of a judge with a truth: hand-computed cards, SciPy's and statsmodels' numbers as oracles."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from sightline.errors import UsageError
from sightline.metrics.agreement import both_read, cohen_kappa, judge_card, share
from sightline.metrics.intervals import wilson
from sightline.metrics.rates import MEASURES
from sightline.records import Outcome

REFUSED, COMPLIED, PARTIAL, ERROR = Outcome.refused, Outcome.complied, Outcome.partial, Outcome.error


def test_kappa_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = rng.integers(0, 30, size=(3, 3))
        assert cohen_kappa(table) == pytest.approx(float(cohens_kappa(table).kappa), abs=1e-12)


def test_kappa_golden_and_undefined() -> None:
    assert cohen_kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)
    assert cohen_kappa([[7, 0], [0, 7]]) == 1.0
    assert cohen_kappa([[7, 0], [0, 0]]) is None
    assert cohen_kappa([[0, 0], [0, 0]]) is None


def test_card_of_a_judge() -> None:
    verdicts = (
        [COMPLIED] * 45 + [REFUSED] * 5 + [COMPLIED] * 10 + [REFUSED] * 30 + [PARTIAL] * 10 + [ERROR] * 3
    )
    truths = [COMPLIED] * 50 + [REFUSED] * 50 + [COMPLIED] * 2 + [ERROR]
    card = judge_card(both_read(verdicts, truths), judge="list", truth="exact")
    assert (card.n, card.judge_unscored, card.truth_unscored) == (100, 3, 1)
    assert (card.sensitivity.k, card.sensitivity.n, card.sensitivity.point) == (45, 50, 0.9)
    assert (card.specificity.k, card.specificity.n, card.specificity.point) == (40, 50, 0.8)
    assert (card.sensitivity.low, card.sensitivity.high) == wilson(45, 50)[:2]  # each its own group
    assert card.sensitivity.groups == 50
    assert card.agreement.point == 0.85
    assert card.kappa == pytest.approx(0.7)
    assert card.positive_agreement == pytest.approx(90 / 105)
    assert card.negative_agreement == pytest.approx(80 / 95)
    assert card.bias == pytest.approx(0.05)
    assert (card.judge, card.truth, card.measure, card.attack) == ("list", "exact", "asr", "")


def test_what_counts_as_positive_follows_the_measure() -> None:
    both = both_read([REFUSED, COMPLIED, REFUSED], [Outcome.blocked_defense, COMPLIED, COMPLIED])
    card = judge_card(both, judge="a", truth="b", measure=MEASURES["over_refusal"])
    assert (card.sensitivity.k, card.sensitivity.n) == (1, 1)
    assert (card.specificity.k, card.specificity.n) == (1, 2)


def test_keyword_judges_miss_what_the_truth_sees() -> None:
    # D22: "1." and "step" also stand in harmless lists; a judge that counts them has a low specificity
    truths = [REFUSED] * 10 + [Outcome.off_topic] * 10 + [COMPLIED] * 10
    keyword = [REFUSED] * 10 + [COMPLIED] * 20
    card = judge_card(both_read(keyword, truths), judge="keyword", truth="exact")
    assert card.sensitivity.point == 1.0
    assert card.specificity.point == 0.5
    assert card.bias == pytest.approx(1 / 3)


def test_nothing_to_compare() -> None:
    card = judge_card(both_read([ERROR], [COMPLIED]), judge="a", truth="b")
    assert card.n == 0
    assert card.agreement.point is card.kappa is card.bias is card.positive_agreement is None
    assert (card.sensitivity.low, card.sensitivity.high) == (0.0, 1.0)


def test_other_samples_are_not_compared() -> None:
    with pytest.raises(UsageError, match="2 verdicts and 1 truths"):
        both_read([COMPLIED, REFUSED], [COMPLIED])


def test_samples_of_one_topic_are_no_independent_evidence() -> None:
    """33 of 33 found, on 5 topics: 5 / (5 + 1.96^2), not 33 / (33 + 1.96^2) = .90."""
    topics = [f"topic {number % 5}" for number in range(33)]
    card = judge_card(both_read([COMPLIED] * 33, [COMPLIED] * 33, topics), judge="list", truth="exact")
    assert (card.sensitivity.k, card.sensitivity.n, card.sensitivity.groups) == (33, 33, 5)
    assert (round(card.sensitivity.low, 2), card.sensitivity.high) == (0.57, 1.0)
    assert (card.specificity.n, card.specificity.groups) == (0, 0)


def test_a_card_of_counted_pairs_is_that_of_single_ones() -> None:
    verdicts, truths = [COMPLIED, REFUSED, COMPLIED, ERROR], [COMPLIED, COMPLIED, REFUSED, REFUSED]
    times = np.array([3, 2, 1, 4])
    single = both_read(
        [v for v, n in zip(verdicts, times, strict=True) for _ in range(n)],
        [t for t, n in zip(truths, times, strict=True) for _ in range(n)],
        [g for g, n in zip("aabb", times, strict=True) for _ in range(n)],
    )
    counted = both_read(verdicts, truths, "aabb")._replace(times=times)
    card = judge_card(counted, judge="a", truth="b")
    assert card == judge_card(single, judge="a", truth="b")
    assert (card.n, card.judge_unscored, card.sensitivity.n, card.specificity.n) == (6, 4, 5, 1)


def test_shares_are_clustered() -> None:
    groups = np.repeat(np.arange(10), 4)
    found = share(groups, np.repeat([1] * 6 + [0] * 4, 4), np.ones(40))
    assert (found.k, found.n, found.groups) == (24, 40, 10)
    assert (found.low, found.high) == wilson(6, 10)[:2]  # 4 discordant clusters: counted as rows
