"""Judges side by side: Kendall's tau-b beside SciPy's, flips by hand, and what a table of results gives."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_rows import row
from scipy.stats import kendalltau

from sightline.errors import UsageError
from sightline.metrics._columns import CELL, read_columns
from sightline.metrics.cells import CellId
from sightline.metrics.side_by_side import (
    flip_share,
    kendall_tau_b,
    ranking,
    share_of_ceiling,
    side_by_side,
)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_tau_is_that_of_scipy(pairs):
    first, second = (np.array(each, dtype=float) for each in zip(*pairs, strict=True))
    found, oracle = kendall_tau_b(first, second), kendalltau(first, second).statistic
    assert found is None if np.isnan(oracle) else found == pytest.approx(oracle)


SHARES = st.one_of(st.integers(0, 4).map(float), st.just(float("nan")))


@given(st.lists(st.tuples(SHARES, SHARES), min_size=2, max_size=12))
def test_counts_are_those_of_all_pairs_and_a_cell_without_a_value_is_in_no_order(pairs):
    columns = [np.array(each) for each in zip(*pairs, strict=True)]
    signs = [
        [np.nan_to_num(np.sign(a - b)) for a, b in combinations(column, 2)]
        for column in (column.tolist() for column in columns)
    ]
    product = np.multiply(*signs)
    ordered = np.sqrt(np.prod([np.count_nonzero(each) for each in signs], dtype=float))
    tau = None if not ordered else pytest.approx(product.sum() / ordered)
    both = np.count_nonzero(product)
    flips = None if not both else pytest.approx(np.count_nonzero(product < 0) / both)
    assert (kendall_tau_b(*columns), flip_share(*columns)) == (tau, flips)


def test_flips_by_hand():
    """Of 6 pairs the judges order five both; (c, d) and (b, c) the other way round."""
    first, second = [1, 2, 3, 4], [1, 3, 2.5, 2.5]
    assert flip_share(first, second) == pytest.approx(1 / 5 + 1 / 5)
    assert flip_share(first, first) == 0
    assert flip_share([1, 1], [1, 2]) is None
    assert kendall_tau_b([1, 1], [1, 2]) is None
    with pytest.raises(UsageError, match="not of the same cells"):
        kendall_tau_b([1, 2], [1, 2, 3])


def test_share_of_the_human_ceiling():
    assert share_of_ceiling(0.72, 0.9) == pytest.approx(0.8)
    assert share_of_ceiling(0.72, None) is share_of_ceiling(None, 0.9) is share_of_ceiling(0.7, 0.0) is None


def test_a_ranking_that_no_draw_can_turn_has_no_width():
    n = np.full((40, 3), 10.0)
    k = np.tile([1.0, 5.0, 9.0], (40, 1))
    found = ranking("a", "b", (k, k), n)
    assert (found.cells, found.groups, found.pairs, found.flipped) == (3, 40, 3, 0)
    assert (found.tau.point, found.tau.low, found.tau.high) == (1, 1, 1)
    assert (found.flips.point, found.flips.low, found.flips.high) == (0, 0, 0)
    turned = ranking("a", "b", (k, k[:, ::-1]), n)
    assert (turned.tau.point, turned.flips.point) == (-1, 1)


def test_few_groups_have_no_interval_and_cells_without_rows_no_rank():
    n = np.array([[10.0, 10, 0, 10]] * 9)
    k = np.array([[1.0, 2, 0, 3]] * 9)
    found = ranking("a", "b", (k, k), n)
    assert (found.cells, found.tau.point, found.tau.low) == (3, 1, None)


def test_the_interval_covers_the_doubt_of_close_cells():
    rng = np.random.default_rng(0)
    n = np.full((30, 4), 2.0)
    k = rng.binomial(2, [0.5, 0.5, 0.5, 0.9], (30, 4)).astype(float)
    m = rng.binomial(2, [0.5, 0.5, 0.5, 0.9], (30, 4)).astype(float)
    found = ranking("a", "b", (k, m), n)
    assert found.tau.low < found.tau.point <= found.tau.high
    assert found == ranking("a", "b", (k, m), n)  # the same rows, the same interval


def table(judges, benchmarks=("world",)):
    """Three attacks on 12 topics; judge `b` calls what `a` calls refused of the first topic complied."""
    import pyarrow as pa

    rows = []
    for benchmark in benchmarks:
        for attack, level in (("none", 0), ("figstep", 6), ("mml", 10)):
            for topic in range(12):
                for judge in judges:
                    obeyed = topic < level or (judge == "b" and topic == 11)
                    outcome = "complied" if obeyed else "refused"
                    rows.append(
                        row(
                            attack,
                            benchmark=benchmark,
                            case_id=f"c{topic}",
                            group=f"g{topic}",
                            judge=judge,
                            outcome="unparsed" if judge == "c" and topic < 2 else outcome,
                        )
                    )
    return pa.Table.from_pylist(rows)


def found_in(judges, **how):
    columns = read_columns(table(judges, **how))
    return side_by_side(
        columns, [CellId(**dict(zip(CELL, cell, strict=True))) for cell in columns.cells], judges
    )


def test_all_pairs_of_judges_on_the_answers_that_both_scored():
    """36 answers; b says yes three times more than a, of 16; c leaves 6 out."""
    found = found_in(("a", "b", "c"))
    names = [(each.first, each.second, each.n, each.unscored) for each in found.agreements]
    assert names == [("a", "b", 36, 0), ("a", "c", 30, 6), ("b", "c", 30, 6)]
    first = found.agreements[0]
    assert (first.agreement.k, first.agreement.n, first.agreement.groups) == (33, 36, 12)
    chance = (16 * 19 + 20 * 17) / 36**2
    assert first.kappa.point == pytest.approx((33 / 36 - chance) / (1 - chance))
    assert first.bias.point == pytest.approx(-3 / 36)
    assert first.of_ceiling(0.99) == pytest.approx(33 / 36 / 0.99)


def test_cells_are_ranked_within_their_benchmark():
    found = found_in(("a", "b"), benchmarks=("one", "two"))
    assert [(each.benchmark, each.cells, each.groups, each.pairs) for each in found.rankings] == [
        ("one", 3, 12, 3),
        ("two", 3, 12, 3),
    ]
    assert found.rankings[0].tau.point == 1
    assert found.agreements[0].agreement.groups == 24
