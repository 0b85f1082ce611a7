"""Intervals against golden values derived by hand, statsmodels and SciPy, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power
from scipy.stats import binomtest, norm, t, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar as oracle
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from sightline.metrics import intervals
from sightline.metrics.intervals import (
    ALPHA,
    SPARSE_GROUPS,
    Z95,
    cluster_sums,
    effective_groups,
    holm,
    macro_interval,
    mcnemar,
    newcombe,
    paired_difference,
    ratio_interval,
    sign_flip_p,
    smallest_p,
    t95,
    variance,
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


def test_quantiles_equal_scipy() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-12) == Z95
    for freedom in (*range(1, 140), 1000, 10**6):
        assert t95(freedom) == pytest.approx(t.ppf(0.975, freedom), abs=1e-9), freedom


def test_cluster_sums_of_texts_and_numbers_agree() -> None:
    names = ["b", "a", "b", "c", "a", "b"]
    values = [1, 2, 3, 4, 5, 6]
    assert cluster_sums(names, values)[0].tolist() == [10.0, 7.0, 4.0]
    codes = np.array([7, 2, 7, 9, 2, 7])
    assert cluster_sums(codes, values, [1] * 6)[0].tolist() == [10.0, 7.0, 4.0]
    assert cluster_sums(codes, values, [1] * 6)[1].tolist() == [3.0, 2.0, 1.0]


# -- rates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "effective"),
    [
        ([4] * 24, 24),
        ([4] * 24 + [1] * 48, 48),  # 144^2 / (24 * 16 + 48)
        ([7, 7, 7, 6, 6], 5),  # 1089 / 219 = 4.97
        ([30, 1, 1, 1, 1, 1], 1),  # 35^2 / 905 = 1.35
    ],
)
def test_unequal_clusters_count_as_kish_says(rows: list[int], effective: int) -> None:
    assert effective_groups(np.array(rows, dtype=float)) == effective


@pytest.mark.parametrize(
    ("rows", "low"),
    [
        ([4] * 24 + [1] * 48, 0.9259),  # 48 / (48 + 1.96^2), not 72 / (72 + 1.96^2) = .9494
        ([7, 7, 7, 6, 6], 0.5655),  # 5 / (5 + 1.96^2), not 33 / (33 + 1.96^2) = .8957
        ([5] * 24, 0.8620),
    ],
    ids=["144 of 144 in 72 groups", "33 of 33 from 5 topics", "120 of 120 from 24 topics"],
)
def test_unanimous_clusters_are_counted_as_rows(rows: list[int], low: float) -> None:
    found = ratio_interval(rows, rows)
    assert (round(found.low, 4), found.high) == (low, 1.0)
    none = ratio_interval([0] * len(rows), rows)
    assert (none.low, round(none.high, 4)) == (0.0, round(1 - low, 4))


def test_a_rate_by_hand() -> None:
    """p = 16 / 32; the deviations 2, 1, 1, 0, 0, -1, -1, -2 give V = 8/7 * 12 / 32^2 = .013393.

    The 32 rows are worth .25 / V = 18.67; with t(7) = 2.3646 Wilson's formula gives .5 -+ .24005.
    """
    found = ratio_interval([4, 3, 3, 2, 2, 1, 1, 0], [4] * 8)
    assert (round(found.low, 5), round(found.high, 5)) == (0.25995, 0.74005)
    assert found.method == "wilson, design effect and t"


def test_clusters_that_agree_by_chance_are_worth_no_more_than_their_rows() -> None:
    same = ratio_interval([2] * 24, [4] * 24)
    q = t.ppf(0.975, 23)
    half = q * np.sqrt(0.25 / 96 + q**2 / (4 * 96**2)) / (1 + q**2 / 96)
    assert (same.low, same.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


def test_one_row_per_cluster_is_wilson() -> None:
    assert ratio_interval([1, 0, 0, 1, 0], [1, 1, 1, 1, 1]) == wilson(2, 5)
    assert ratio_interval([1, 0, 0, 1, 0], [1, 1, 0, 1, 0]) == wilson(2, 3)


def test_clustered_variance_equals_the_sandwich_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 20)
    y = (rng.random(4000) < rng.beta(1, 20, size=200)[groups]).astype(float)
    model = sm.OLS(y, np.ones(4000)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    k, n = cluster_sums(groups, y, np.ones(4000))
    assert variance((k - y.mean() * n) / 4000, n) == pytest.approx(float(model.bse[0]) ** 2, rel=1e-9)


def test_variance_of_unequal_clusters_equals_cr2_with_matrices() -> None:
    """Bell and McCaffrey (2002): residuals of each cluster times (I - H_gg)^(-1/2), here by matrix power."""
    rng = np.random.default_rng(3)
    rows = np.array([9, 4, 4, 1, 1, 2])
    y = [rng.integers(0, 2, size).astype(float) for size in rows]
    total, mean = rows.sum(), np.concatenate(y).mean()
    true = 0.0
    for own in y:
        size = len(own)
        hat = np.eye(size) - np.full((size, size), 1 / total)
        adjusted = np.real(fractional_matrix_power(hat, -0.5)) @ (own - mean)
        true += (adjusted.sum() / total) ** 2
    k = np.array([own.sum() for own in y])
    assert variance((k - mean * rows) / total, rows.astype(float)) == pytest.approx(true, rel=1e-9)


@pytest.mark.parametrize("odd", range(3, 10))
def test_interval_and_test_take_the_same_number_of_clusters_for_too_few(odd: int) -> None:
    k = [3] * odd + [0] * (24 - odd)
    assert (smallest_p(odd) > ALPHA) == (odd < SPARSE_GROUPS)
    assert ("clusters as rows" in ratio_interval(k, [3] * 24).method) == (odd < SPARSE_GROUPS)
    difference = paired_difference(k, [0] * 24, [3] * 24)
    assert difference.discordant == odd
    assert difference.p == pytest.approx(smallest_p(odd))
    assert ("Newcombe" in difference.method) == (odd < SPARSE_GROUPS)


def test_order_of_clusters_does_not_matter() -> None:
    n = np.arange(1, 41) % 7 + 1.0
    k = np.floor(n * (np.arange(40) % 11) / 11)
    assert ratio_interval(k, n) == pytest.approx(ratio_interval(k[::-1], n[::-1]))


def test_what_few_clusters_give_is_what_was_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    tables = [rng.binomial(3, share, (2, 20)).astype(float) for share in (0.1, 0.5, 0.9)]

    def found() -> list[object]:
        pairs = [
            (ratio_interval(a, np.full(20, 3.0)), paired_difference(a, b, np.full(20, 3.0)))
            for a, b in tables
        ]
        return [value for each in pairs for part in each for value in part]

    twice = found(), found()
    monkeypatch.setattr(intervals, "_FEW_GROUPS", 0)
    for plain, first, second in zip(found(), *twice, strict=True):
        assert first == second
        assert plain == (first if isinstance(first, str) else pytest.approx(first, abs=1e-12))


def test_nothing_scored_says_nothing() -> None:
    assert ratio_interval([0, 0], [0, 0])[:2] == (0.0, 1.0)
    assert macro_interval([0], [0], ["a"])[:2] == (0.0, 1.0)
    assert paired_difference([], [], [])[:4] == (0.0, -1.0, 1.0, 1.0)


cluster_lists = st.lists(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=40
)


@settings(max_examples=200, deadline=None)
@given(cluster_lists)
def test_intervals_contain_their_point_and_stay_in_range(clusters: list[tuple[int, int]]) -> None:
    k, n = np.array(clusters, dtype=float).T
    found = ratio_interval(k, n)
    assert 0.0 <= found.low <= k.sum() / n.sum() <= found.high <= 1.0
    mirrored = ratio_interval(n - k, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx(found[:2], abs=1e-9)
    strata = np.arange(len(k)) % 3
    shares = [k[strata == s].sum() / n[strata == s].sum() for s in np.unique(strata)]
    macro = macro_interval(k, n, strata)
    assert 0.0 <= macro.low <= np.mean(shares) <= macro.high <= 1.0
    other = np.minimum(n, k[::-1])
    difference = paired_difference(k, other, n)
    assert -1.0 <= difference.low <= difference.point <= difference.high <= 1.0
    assert 0.0 < difference.p <= 1.0
    back = paired_difference(other, k, n)
    assert (-back.high, -back.low, back.p) == pytest.approx((difference.low, difference.high, difference.p))


def coverage(clusters: int, size: int, alpha: float, beta: float, runs: int = 2000) -> tuple[float, float]:
    """Share of simulated 95 % intervals that hold the truth: ours, and Wilson's over rows."""
    rng = np.random.default_rng(9)
    truth = alpha / (alpha + beta)
    ours = naive = 0
    for _ in range(runs):
        k = rng.binomial(size, rng.beta(alpha, beta, size=clusters))
        found = ratio_interval(k, np.full(clusters, size))
        plain = wilson(int(k.sum()), clusters * size)
        ours += found.low <= truth <= found.high
        naive += plain.low <= truth <= plain.high
    return ours / runs, naive / runs


@pytest.mark.parametrize(
    ("clusters", "size", "alpha", "beta"),
    [(60, 10, 1.0, 2.0), (100, 5, 0.3, 2.0), (24, 3, 0.5, 0.5), (50, 20, 0.05, 1.6), (8, 6, 1.0, 1.0)],
)
def test_coverage_of_the_clustered_interval(clusters: int, size: int, alpha: float, beta: float) -> None:
    ours, naive = coverage(clusters, size, alpha, beta)
    assert ours >= 0.92
    assert naive < ours  # rows treated as independent would claim too much


# -- means over strata -----------------------------------------------------------------------------------


@given(st.integers(0, 20), st.integers(0, 20))
def test_the_mean_of_two_strata_of_single_rows_is_newcombe(a: int, b: int) -> None:
    """(p + q) / 2 = (1 + (p - (1 - q))) / 2, and of a difference statsmodels has Newcombe's interval."""
    k = np.array([1] * a + [0] * (20 - a) + [1] * b + [0] * (20 - b))
    found = macro_interval(k, np.ones(40), np.arange(40) // 20)
    low, high = confint_proportions_2indep(a, 20, 20 - b, 20, method="newcomb", compare="diff")
    assert [found.low, found.high] == pytest.approx([max(0, (1 + low) / 2), min(1, (1 + high) / 2)], abs=1e-6)


def test_macro_interval_by_hand() -> None:
    """Three unanimous strata of 8, 8 and 4 clusters: each adds the distance of Wilson's limit, in squares."""
    k = [5] * 8 + [0] * 8 + [5] * 4
    found = macro_interval(k, [5] * 20, [0] * 8 + [1] * 8 + [2] * 4)
    z = 3.841459
    eight, four = z / (8 + z), z / (4 + z)  # of 0 in n: 1.96^2 / (n + 1.96^2)
    assert found.low == pytest.approx(2 / 3 - np.hypot(eight, four) / 3, abs=1e-6)
    assert found.high == pytest.approx(2 / 3 + eight / 3, abs=1e-6)


# -- differences -----------------------------------------------------------------------------------------


def test_a_difference_of_equal_clusters_is_the_t_interval_of_scipy() -> None:
    a, b = [4, 4, 3, 4, 2, 3, 4, 1, 2, 4], [1, 0, 2, 0, 2, 1, 1, 1, 0, 3]
    found = paired_difference(a, b, [4] * 10)
    expected = ttest_1samp((np.array(a) - np.array(b)) / 4, 0).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx(expected, abs=1e-9)
    assert (found.discordant, found.method) == (8, "t on cluster differences")


def test_single_pairs_have_the_paired_t_interval() -> None:
    a, b = np.array([1] * 12 + [0] * 20), np.array([0] * 8 + [1] * 6 + [0] * 18)
    found = paired_difference(a, b, np.ones(32))
    expected = ttest_1samp(a - b, 0).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx(expected, abs=1e-9)
    assert found.p == pytest.approx(mcnemar(8, 2))


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
    assert found.low < -0.05  # the other clusters alone would say 0: they never saw a change downwards
    assert found.p == 1.0


@pytest.mark.parametrize("all_obeyed", [False, True])
def test_clusters_that_all_say_the_same_still_have_an_interval(all_obeyed: bool) -> None:
    found = paired_difference([3 * all_obeyed] * 24, [0] * 24, [3] * 24)
    floor = newcombe(float(all_obeyed), 0.0, 24)
    assert (found.low, found.high) == (floor.low, floor.high)
    assert found.p == (pytest.approx(2 / 2**24) if all_obeyed else 1.0)


def test_a_single_cluster_says_almost_nothing() -> None:
    found = paired_difference([9], [0], [9])
    assert (found.point, found.p, found.discordant) == (1.0, 1.0, 1)
    assert found.low < 0


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


@given(st.lists(st.integers(-40, 40).filter(bool), min_size=12, max_size=30))
def test_sign_flips_of_large_sums_equal_those_by_convolution(differences: list[int]) -> None:
    small, most = sign_flip_p(differences), intervals._EXACT_SUM
    try:
        intervals._EXACT_SUM = 0
        assert sign_flip_p(differences) == pytest.approx(small, abs=1e-12)
    finally:
        intervals._EXACT_SUM = most


def test_sign_flips_of_large_sums_are_never_zero() -> None:
    sizes = np.concatenate([np.full(20, 901), np.full(20, 1000)])
    assert sign_flip_p(sizes) == pytest.approx(2.0**-39)
    mixed = np.concatenate([np.full(20, 901), np.full(20, -1000)])
    assert sign_flip_p(mixed) == pytest.approx(sign_flip_p(mixed // 100), abs=0.02)


def test_smallest_p_is_that_of_clusters_that_all_agree() -> None:
    for number in range(1, 12):
        assert smallest_p(number) == pytest.approx(sign_flip_p([2] * number))
        assert smallest_p(number) == pytest.approx(min(1.0, binomtest(number, number).pvalue))


@pytest.mark.slow
def test_holm_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 12):  # few: the oracle collects garbage on every call
        p_values = np.round(rng.random(size) ** 3, 2).tolist()
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


def test_holm_of_nothing() -> None:
    assert holm([]) == []
