"""Intervals against golden values, statsmodels and SciPy, brute-force resampling, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ks_2samp, norm
from statsmodels.stats.contingency_tables import mcnemar as oracle
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from sightline.metrics.intervals import (
    Z95,
    cluster_sums,
    holm,
    macro_interval,
    mcnemar,
    newcombe,
    paired_difference,
    ratio_interval,
    resampled_sums,
    sign_flip_p,
    wilson,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 50, 0.0, 0.0713), (3, 50, 0.0206, 0.1622), (50, 50, 0.9287, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson_golden(k: int, n: int, low: float, high: float) -> None:
    found = wilson(k, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_statsmodels(pair: tuple[int, int]) -> None:
    found = wilson(*pair)
    low, high = proportion_confint(*pair, alpha=0.05, method="wilson")
    assert found.low == pytest.approx(max(0.0, low), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, high), abs=1e-9)


def test_z_is_the_normal_quantile() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-12) == Z95


def test_cluster_sums_of_texts_and_numbers_agree() -> None:
    names = ["b", "a", "b", "c", "a", "b"]
    values = [1, 2, 3, 4, 5, 6]
    assert cluster_sums(names, values)[0].tolist() == [10.0, 7.0, 4.0]
    codes = np.array([7, 2, 7, 9, 2, 7])
    assert cluster_sums(codes, values, [1] * 6)[0].tolist() == [10.0, 7.0, 4.0]
    assert cluster_sums(codes, values, [1] * 6)[1].tolist() == [3.0, 2.0, 1.0]


def brute_force(k: np.ndarray, n: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Ratios of clusters drawn one by one: slow and obviously right."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(replicates):
        chosen = rng.integers(0, len(k), size=len(k))
        found.append(k[chosen].sum() / n[chosen].sum())
    return np.array(found)


@pytest.mark.parametrize("distinct", [True, False], ids=["distinct clusters", "equal clusters"])
def test_the_fast_bootstrap_has_the_law_of_drawing_clusters_one_by_one(distinct: bool) -> None:
    rng = np.random.default_rng(4)  # 200 rows in 40 clusters of unequal size
    if distinct:
        n = rng.permutation(np.arange(40)) % 9 + 1.0
        k = np.minimum(n, rng.random(40) * n)
    else:
        n = np.full(40, 5.0)
        k = rng.binomial(5, rng.beta(1, 2, size=40)).astype(float)
    sums = resampled_sums(np.column_stack([k, n]), replicates=20_000, seed=1)
    fast, slow = sums[:, 0] / sums[:, 1], brute_force(k, n, 20_000, 2)
    assert fast.mean() == pytest.approx(slow.mean(), abs=0.002)
    assert fast.std() == pytest.approx(slow.std(), rel=0.03)
    assert ks_2samp(fast, slow).pvalue > 1e-3
    interval = ratio_interval(k, n, replicates=20_000)
    assert [interval.low, interval.high] == pytest.approx(np.quantile(slow, (0.025, 0.975)), abs=0.006)


def test_clustered_standard_error_equals_the_sandwich_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 20)
    y = (rng.random(4000) < rng.beta(1, 20, size=200)[groups]).astype(float)
    model = sm.OLS(y, np.ones(4000)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    sums = resampled_sums(np.column_stack(cluster_sums(groups, y, np.ones(4000))), replicates=20_000)
    assert (sums[:, 0] / sums[:, 1]).std() == pytest.approx(float(model.bse[0]), rel=0.05)


def test_same_seed_same_interval() -> None:
    n = np.arange(1, 41) % 7 + 1.0
    k = n * (np.arange(40) % 11) / 11
    assert ratio_interval(k, n, seed=3) == ratio_interval(k, n, seed=3)
    assert ratio_interval(k, n, seed=3) == ratio_interval(k[::-1], n[::-1], seed=3)
    assert ratio_interval(k, n, seed=3) != ratio_interval(k, n, seed=4)


def test_one_row_per_cluster_is_wilson() -> None:
    assert ratio_interval([1, 0, 0, 1, 0], [1, 1, 1, 1, 1]) == wilson(2, 5)
    assert ratio_interval([1, 0, 0, 1, 0], [1, 1, 0, 1, 0]) == wilson(2, 3)


@pytest.mark.parametrize("share", [0, 5])
def test_unanimous_clusters_do_not_give_a_point_interval(share: int) -> None:
    found = ratio_interval([share] * 24, [5] * 24)
    floor = wilson(24 * share / 5, 24)
    assert (found.low, found.high) == (floor.low, floor.high)
    assert found.high - found.low > 0.1


def test_few_clusters_with_events_are_widened() -> None:
    k = np.zeros(50)
    k[0] = 4
    found = ratio_interval(k, np.full(50, 4.0))
    assert found.high >= wilson(1, 50).high
    assert found.low <= wilson(1, 50).low


def test_nothing_scored_says_nothing() -> None:
    assert ratio_interval([0, 0], [0, 0])[:2] == (0.0, 1.0)
    assert macro_interval([0], [0], ["a"])[:2] == (0.0, 1.0)
    assert paired_difference([], [], [])[:4] == (0.0, -1.0, 1.0, 1.0)


cluster_lists = st.lists(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(cluster_lists)
def test_intervals_contain_their_point_and_stay_in_range(clusters: list[tuple[int, int]]) -> None:
    k, n = np.array(clusters, dtype=float).T
    found = ratio_interval(k, n, replicates=200)
    assert 0.0 <= found.low <= k.sum() / n.sum() <= found.high <= 1.0
    strata = np.arange(len(k)) % 3
    shares = [k[strata == s].sum() / n[strata == s].sum() for s in np.unique(strata)]
    macro = macro_interval(k, n, strata, replicates=200)
    assert 0.0 <= macro.low <= np.mean(shares) <= macro.high <= 1.0
    other = np.minimum(n, k[::-1])
    difference = paired_difference(k, other, n, replicates=200)
    assert -1.0 <= difference.low <= difference.point <= difference.high <= 1.0
    assert 0.0 < difference.p <= 1.0


def coverage(clusters: int, size: int, alpha: float, beta: float, runs: int = 400) -> tuple[float, float]:
    """Share of simulated 95 % intervals that hold the truth: ours, and Wilson's over rows."""
    rng = np.random.default_rng(9)
    truth = alpha / (alpha + beta)
    ours = naive = 0
    for run in range(runs):
        k = rng.binomial(size, rng.beta(alpha, beta, size=clusters))
        found = ratio_interval(k, np.full(clusters, size), replicates=500, seed=run)
        plain = wilson(int(k.sum()), clusters * size)
        ours += found.low <= truth <= found.high
        naive += plain.low <= truth <= plain.high
    return ours / runs, naive / runs


@pytest.mark.parametrize(
    ("clusters", "size", "alpha", "beta", "least"),
    [(60, 10, 1.0, 2.0, 0.92), (100, 5, 0.3, 2.0, 0.91), (24, 3, 0.5, 0.5, 0.88), (50, 20, 0.05, 1.6, 0.88)],
)
def test_coverage_of_the_clustered_interval(
    clusters: int, size: int, alpha: float, beta: float, least: float
) -> None:
    ours, naive = coverage(clusters, size, alpha, beta)
    assert ours >= least
    assert naive < ours  # rows treated as independent would claim too much


def test_macro_interval_is_wider_than_nothing_in_unanimous_strata() -> None:
    found = macro_interval([0] * 20, [4] * 20, np.arange(20) % 2)
    assert found.low == 0.0
    assert 0.02 < found.high < 0.3


def test_paired_interval_is_narrower_than_unpaired_on_correlated_data() -> None:
    rng = np.random.default_rng(1)
    n = np.full(80, 4.0)
    base = rng.binomial(3, rng.beta(0.5, 0.5, size=80))
    attacked = np.minimum(4, base + rng.binomial(1, 0.4, size=80))
    found = paired_difference(attacked, base, n)
    a, b = ratio_interval(attacked, n), ratio_interval(base, n)
    unpaired = np.hypot(a.high - a.low, b.high - b.low)
    assert found.high - found.low < 0.6 * unpaired
    assert found.low > 0
    assert found.p < 1e-4


def test_one_changed_cluster_proves_no_direction() -> None:
    found = paired_difference([3] + [0] * 23, [0] * 24, [3] * 24)
    assert found.point == pytest.approx(1 / 24)
    assert found.low < -0.05  # the bootstrap alone would say 0: it never saw a change downwards
    assert found.p == 1.0


def test_no_change_at_all_still_has_an_interval() -> None:
    found = paired_difference([0] * 24, [0] * 24, [3] * 24)
    assert (found.point, found.p) == (0.0, 1.0)
    assert found.low < -0.1
    assert found.high > 0.1


@given(st.integers(0, 20), st.integers(0, 20), st.integers(20, 40))
def test_newcombe_equals_statsmodels(a: int, b: int, n: int) -> None:
    found = newcombe(a / n, b / n, n)
    low, high = confint_proportions_2indep(a, n, b, n, method="newcomb", compare="diff")
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-6)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_statsmodels(b: int, c: int) -> None:
    true = oracle([[5, b], [c, 5]], exact=True).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(float(true), rel=1e-9)


def test_mcnemar_of_many_pairs_stays_exact() -> None:
    assert mcnemar(50_400, 49_600) == pytest.approx(binomtest(50_400, 100_000).pvalue, rel=1e-6)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_sign_flips_equal_full_enumeration(differences: list[int]) -> None:
    sizes = np.array(differences)
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(sizes))).reshape(len(sizes), -1)
    true = np.mean(np.abs(sizes @ signs) >= abs(sizes.sum()))
    assert sign_flip_p(sizes) == pytest.approx(float(true), abs=1e-12)


def test_sign_flips_of_large_sums_are_drawn_and_never_zero() -> None:
    sizes = np.concatenate([np.full(20, 900), np.full(20, 1000)])
    assert 0 < sign_flip_p(sizes) < 1e-3
    mixed = np.concatenate([sizes[:20], -sizes[20:]])
    exact = sign_flip_p(mixed // 100)  # the same problem in smaller units, by convolution
    assert sign_flip_p(mixed) == pytest.approx(exact, abs=0.02)


def test_holm_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 12):  # few: the oracle collects garbage on every call
        p_values = np.round(rng.random(size) ** 3, 2).tolist()
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


def test_holm_of_nothing() -> None:
    assert holm([]) == []
