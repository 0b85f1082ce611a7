"""Agreement of raters: the specification's golden value, small tables by hand, two packages as oracles."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.errors import UsageError
from sightline.metrics.krippendorff import (
    fleiss_kappa,
    krippendorff_alpha,
    pabak,
    pair_agreement,
    raters_agree,
    share_of_ceiling,
)

GOLDEN = [[None, 0, 0], [1, 1, 1], [0, 0, 1], [1, None, 1]]
"""Items x raters; the specification's value is .625. By hand:

Coincidences: item 1 (0, 0): o00 += 2. Item 2 (1, 1, 1): o11 += 3. Item 3 (0, 0, 1): o00 += 1, o01 += 1,
o10 += 1. Item 4 (1, 1): o11 += 2. So n0 = 4, n1 = 6, n = 10, Do = 2 / 10, De = 2 x 24 / 90: 1 - .2 x 90 / 48.
"""


def test_the_golden_value() -> None:
    assert krippendorff_alpha(GOLDEN) == pytest.approx(0.625)
    assert krippendorff_alpha(GOLDEN, level="ordinal") == pytest.approx(0.625)  # two values have one distance
    assert pair_agreement(GOLDEN) == pytest.approx((1 + 1 + 1 / 3 + 1) / 4)
    assert pabak(GOLDEN) == pytest.approx(2 * 10 / 12 - 1)


def test_ordinal_values_by_hand() -> None:
    """Labels 1-2, 2-2, 3-3, 1-3: n = (2, 3, 3), mid-ranks 1, 3.5, 6.5.

    Do = 2 (2.5^2 + 5.5^2) / 8 = 9.125; De = 2 (6 x 2.5^2 + 6 x 5.5^2 + 9 x 3^2) / 56 = 600 / 56.
    """
    found = krippendorff_alpha([[1, 2], [2, 2], [3, 3], [1, 3]], level="ordinal")
    assert found == pytest.approx(1 - 9.125 / (600 / 56))
    words = [["low", "mid"], ["mid", "mid"], ["top", "top"], ["low", "top"]]
    assert krippendorff_alpha(words, level="ordinal", values=["low", "mid", "top"]) == pytest.approx(found)


def test_fleiss_by_hand() -> None:
    """Three raters of four items: P = (1 + 1/3 + 1/3 + 1) / 4; 7 of 12 labels are a."""
    items = [list("aaa"), list("aab"), list("abb"), list("bbb")]
    items[3] = list("aaa")
    chance = (9 / 12) ** 2 + (3 / 12) ** 2
    assert fleiss_kappa(items) == pytest.approx(((1 + 1 / 3 + 1 / 3 + 1) / 4 - chance) / (1 - chance))


def test_what_is_undefined_is_none() -> None:
    assert krippendorff_alpha([]) is pair_agreement([]) is None
    assert krippendorff_alpha([[1, None], [None, 2]]) is None
    assert krippendorff_alpha([[1, 1], [1, 1]]) is fleiss_kappa([[1, 1], [1, 1]]) is None
    assert pabak([[1, 1], [1, 1]]) is None  # one value: nothing could differ
    assert pabak([[1, 1], [1, 1]], values=[1, 2]) == 1.0
    assert share_of_ceiling([[1, None]], [1]) is None
    found = raters_agree([[None, 1], []])
    assert (found.items, found.paired, found.labels, found.alpha.point) == (2, 0, 0, None)


def test_a_judge_is_measured_against_the_ceiling() -> None:
    """Raters agree on 3 of 4 items; the judge says what 2, 1 and 0 of 2 raters say."""
    ratings = [[1, 1], [1, 0], [0, 0], [1, 1]]
    assert share_of_ceiling(ratings, [1, 1, 1, None]) == pytest.approx(((2 + 1 + 0) / 6) / (2 / 3))


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda: krippendorff_alpha([[1, 2], [1, 9]], values=[1, 2]), "row 1: label 9 is not one of"),
        (lambda: krippendorff_alpha([[1, 2]], values=[1, 2, 1]), "stands there twice"),
        (lambda: krippendorff_alpha([[1, "a"]]), "name the values"),
        (lambda: fleiss_kappa([[1, 2], [1, None]]), "same number of labels"),
        (lambda: raters_agree([[1, 2]], groups=[]), "1 rows of labels and 0 groups"),
        (lambda: share_of_ceiling([[1, 2]], []), "1 rows of labels and 0 verdicts"),
        (lambda: raters_agree([[1, 2]], draws=5), "draws=5"),
    ],
)
def test_broken_input_is_told(work: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        work()


def random_ratings(rng: np.random.Generator) -> list[list[int | None]]:
    items, raters, kinds = rng.integers(3, 40), rng.integers(2, 6), rng.integers(2, 6)
    truth = rng.integers(0, kinds, (items, 1))
    said = np.where(rng.random((items, raters)) < 0.6, truth, rng.integers(0, kinds, (items, raters)))
    absent = rng.random((items, raters)) < rng.choice([0.0, 0.3])
    return [
        [None if gone else int(each) for each, gone in zip(*row, strict=True)]
        for row in zip(said, absent, strict=True)
    ]


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
def test_alpha_is_that_of_the_package(level: str) -> None:
    package = pytest.importorskip("krippendorff")
    rng = np.random.default_rng(1)
    for _ in range(60):
        ratings = random_ratings(rng)
        table = np.array([[np.nan if each is None else each for each in row] for row in ratings]).T
        mine = krippendorff_alpha(ratings, level=level)
        try:
            theirs = package.alpha(reliability_data=table, level_of_measurement=level)
        except ValueError:  # one value only
            assert mine is None
            continue
        assert mine == pytest.approx(theirs, abs=1e-12)


def test_fleiss_is_that_of_statsmodels() -> None:
    package = pytest.importorskip("statsmodels.stats.inter_rater")
    rng = np.random.default_rng(2)
    for _ in range(30):
        counts = rng.multinomial(4, rng.dirichlet(np.ones(3)), size=12)
        ratings = [[kind for kind, times in enumerate(row) for _ in range(times)] for row in counts]
        assert fleiss_kappa(ratings) == pytest.approx(package.fleiss_kappa(counts), abs=1e-12)


def test_points_of_all_at_once_are_those_of_each() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        ratings = random_ratings(rng)
        found = raters_agree(ratings, level="ordinal", draws=100)
        assert found.alpha.point == krippendorff_alpha(ratings, level="ordinal")
        assert found.pairs.point == pair_agreement(ratings)
        assert found.pabak.point == pabak(ratings)
        if all(None not in row for row in ratings):
            assert found.fleiss.point == fleiss_kappa(ratings)


def test_the_interval_is_that_of_redrawing_items_one_by_one() -> None:
    rng = np.random.default_rng(4)
    truth = rng.random(300) < 0.2
    ratings = [[int(t ^ (rng.random() < 0.1)) for _ in range(2)] for t in truth]
    found = raters_agree(ratings, draws=4000, seed=1).alpha
    plain = [krippendorff_alpha([ratings[i] for i in rng.integers(0, 300, 300)]) for _ in range(1500)]
    low, high = np.quantile(plain, (0.025, 0.975))
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)


def test_clusters_of_items_widen_the_interval() -> None:
    """Every item ten times over: as clusters the interval is that of the items once."""
    rng = np.random.default_rng(5)
    once = [[int(rng.random() < 0.5), int(rng.random() < 0.5)] for _ in range(60)]
    ten, groups = once * 10, list(range(60)) * 10
    alone, clustered = raters_agree(once).alpha, raters_agree(ten, groups=groups).alpha
    apart = raters_agree(ten).alpha
    assert clustered.high - clustered.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert apart.high - apart.low < 0.5 * (clustered.high - clustered.low)
    assert raters_agree(once, seed=1) == raters_agree(once, seed=1)
    assert raters_agree(once[:9]).alpha.low is None  # too few for an interval
