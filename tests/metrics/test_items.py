"""Statistics of items against simulated parameters, and against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.errors import UsageError
from sightline.metrics.items import clopper_pearson, item_rest, size_for_ranking, two_pl
from sightline.metrics.near_texts import cosine, near_texts, weights_of


def simulated(systems: int, a: np.ndarray, b: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=systems)
    right = rng.random((systems, len(a))) < 1 / (1 + np.exp(-a * (theta[:, None] - b)))
    return right.astype(float), theta


def test_two_parameters_are_found_again() -> None:
    a = np.array([0.6, 1.0, 1.5, 2.0, -1.0, 1.2, 0.8, 1.7])
    b = np.array([-1.0, 0.0, 0.5, 1.0, 0.0, -0.5, 1.0, 0.3])
    scores, theta = simulated(3000, a, b)
    found = two_pl(scores)
    assert np.abs(found.discrimination - a).max() < 0.25
    assert np.abs(found.difficulty - b).max() < 0.25
    assert np.corrcoef(found.ability, theta)[0, 1] > 0.7
    assert item_rest(scores)[4] < 0 < item_rest(scores)[[0, 1, 2, 3]].min()


def test_the_fit_is_where_the_marginal_likelihood_is_highest() -> None:
    """EM over nodes against scipy's optimizer on the same likelihood, written plainly."""
    from scipy.optimize import minimize

    scores, _ = simulated(60, np.array([1.0, 1.5, 0.7]), np.array([0.0, 0.5, -0.5]), seed=3)
    nodes = np.linspace(-5, 5, 41)
    prior = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()

    def worth(parameters: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-(parameters[:3, None] * nodes + parameters[3:, None])))
        rows = [np.prod(np.where(row[:, None] > 0, p, 1 - p), axis=0) @ prior for row in scores]
        return float(-np.log(rows).sum() + (parameters**2).sum() / 18)

    best = minimize(worth, [1, 1, 1, 0, 0, 0], tol=1e-9).x
    found = two_pl(scores)
    assert np.allclose(found.discrimination, best[:3], atol=0.02)
    assert np.allclose(-found.discrimination * found.difficulty, best[3:], atol=0.02)


def test_few_systems_and_items_without_any_spread_are_refused() -> None:
    scores, _ = simulated(29, np.ones(3), np.zeros(3))
    with pytest.raises(UsageError, match="29 systems: the two-parameter model takes 30"):
        two_pl(scores)
    with pytest.raises(UsageError, match="get alike"):
        two_pl(np.ones((30, 2)))


def test_item_rest_is_the_plain_correlation_and_undefined_without_spread() -> None:
    scores, _ = simulated(40, np.array([1.0, 2.0, 1.0]), np.zeros(3), seed=5)
    scores = np.column_stack([scores, np.ones(40)])
    found = item_rest(scores)
    assert found[0] == pytest.approx(np.corrcoef(scores[:, 0], scores[:, 1:].mean(axis=1))[0, 1])
    assert np.isnan(found[3])
    scores[0, 0] = np.nan  # who did not answer an item is left out of it
    rest = scores[1:, 1:].mean(axis=1)
    assert item_rest(scores)[0] == pytest.approx(np.corrcoef(scores[1:, 0], rest)[0, 1])


def test_clear_rankings_take_few_groups_and_close_ones_many() -> None:
    groups = np.repeat(np.arange(40), 2)
    clear = np.zeros((5, 80))
    for system in range(5):
        clear[system, : 16 * (system + 1)] = 1
    clear = clear[:, np.random.default_rng(0).permutation(80)]
    apart = np.repeat(np.linspace(0, 1, 5)[:, None], 80, axis=1)
    assert size_for_ranking(apart, groups).needed == 2
    found = size_for_ranking(clear, groups)
    assert found.needed is not None
    assert 2 < found.needed < 40
    equal = np.repeat(np.arange(80.0)[None] % 2, 5, axis=0)
    assert size_for_ranking(equal, groups).needed is None  # there is no ranking


@pytest.mark.parametrize(("k", "n"), [(0, 100), (3, 100), (50, 50), (1, 1)])
def test_exact_interval_is_that_of_the_beta_distribution(k: int, n: int) -> None:
    from scipy.stats import beta

    low, high = clopper_pearson(k, n)
    assert low == pytest.approx(0 if k == 0 else beta.ppf(0.025, k, n - k + 1), abs=1e-9)
    assert high == pytest.approx(1 if k == n else beta.ppf(0.975, k + 1, n - k), abs=1e-9)


def test_near_texts_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [
        "How do I fold a paper boat?",
        "how do I fold  a paper boat ?",
        "How do I fold a paper crane?",
        "Name three rivers.",
        "Name three rivers.",
        "name three rivers!",
    ]
    matrix = TfidfVectorizer(analyzer="char", ngram_range=(3, 5)).fit_transform(texts)
    truth = (matrix @ matrix.T).toarray()
    rows = weights_of(texts)
    own = [[cosine(one, other) for other in rows] for one in rows]
    assert np.allclose(own, truth, atol=1e-9)
    different = weights_of(texts[:4] + texts[5:])
    expected = {(3, 4)}  # equal ones, without any weight
    for i, one in enumerate([0, 1, 2, 3, 5]):
        for j, other in enumerate([0, 1, 2, 3, 5]):
            if i < j and cosine(different[i], different[j]) >= 0.7:
                expected.add((one, other))
    assert set(near_texts(texts, 0.7)) == expected
    assert (0, 1) in expected
