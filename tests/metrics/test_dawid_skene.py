"""Dawid-Skene: known worlds, label swap, order, missing votes; phi; tables that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.dawid_skene import Latent, dawid_skene, phi

SE, SP = np.array([0.9, 0.7, 0.8, 0.6]), np.array([0.95, 0.9, 0.6, 0.85])


def world(seed: int, rows: int = 4000, prevalence: float = 0.3, missing: float = 0.0):
    rng = np.random.default_rng(seed)
    unsafe = rng.random(rows) < prevalence
    chance = np.where(unsafe[:, None], SE, 1 - SP)
    votes = (rng.random((rows, len(SE))) < chance).astype(float)
    votes[rng.random(votes.shape) < missing] = np.nan
    return votes, unsafe


@pytest.mark.parametrize(("prevalence", "missing"), [(0.3, 0.0), (0.3, 0.3), (0.1, 0.0), (0.6, 0.2)])
def test_what_made_the_votes_is_found_again(prevalence: float, missing: float) -> None:
    votes, unsafe = world(1, 20_000, prevalence, missing)
    found = dawid_skene(votes)
    assert found.converged
    assert found.prevalence == pytest.approx(prevalence, abs=0.03)
    assert found.sensitivity == pytest.approx(SE, abs=0.05)
    assert found.specificity == pytest.approx(SP, abs=0.05)
    known = ~np.isnan(found.unsafe)
    assert np.mean((found.unsafe > 0.5)[known] == unsafe[known]) > 0.85


def test_one_step_by_hand() -> None:
    """10 rows of each pattern; first p: 1, 2/3, 0. Sums with s = 1/2."""
    votes = np.repeat([[1, 1, 1], [1, 1, 0], [0, 0, 0]], 10, axis=0)
    found = dawid_skene(votes, most_steps=1)
    p = np.repeat([1, 2 / 3, 0], 10)
    assert found.prevalence == pytest.approx((p.sum() + 0.5) / 31)
    assert found.sensitivity == pytest.approx(
        [(50 / 3 + 0.5) / (50 / 3 + 1)] * 2 + [(10 + 0.5) / (50 / 3 + 1)]
    )
    assert found.specificity == pytest.approx(
        [(10 + 0.5) / (40 / 3 + 1)] * 2 + [(40 / 3 + 0.5) / (40 / 3 + 1)]
    )
    se, sp, share = found.sensitivity, found.specificity, found.prevalence
    unsafe = share * se[0] * se[1] * (1 - se[2])
    safe = (1 - share) * (1 - sp[0]) * (1 - sp[1]) * sp[2]
    assert found.unsafe[10] == pytest.approx(unsafe / (unsafe + safe))
    assert not found.converged
    assert found.steps == 1


def equal(one: Latent, two: Latent, order: list[int]) -> None:
    assert two.sensitivity == pytest.approx(one.sensitivity[order], abs=1e-6)
    assert two.specificity == pytest.approx(one.specificity[order], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(4)))
def test_swapping_labels_swaps_se_and_sp_and_order_does_not_matter(seed: int, order: list[int]) -> None:
    votes, _ = world(seed, 300, missing=0.1)
    found = dawid_skene(votes)
    swapped = dawid_skene(1 - votes)
    assert swapped.prevalence == pytest.approx(1 - found.prevalence, abs=1e-6)
    assert swapped.sensitivity == pytest.approx(found.specificity, abs=1e-6)
    np.testing.assert_allclose(swapped.unsafe, 1 - found.unsafe, atol=1e-6)
    equal(found, dawid_skene(votes[:, order]), order)
    rows = np.random.default_rng(seed).permutation(len(votes))
    equal(found, dawid_skene(votes[rows]), [0, 1, 2, 3])
    again = dawid_skene(votes)
    assert (again.sensitivity == found.sensitivity).all()


def test_rows_without_a_vote_stay_unknown_and_change_nothing() -> None:
    votes, _ = world(3, 200)
    found = dawid_skene(votes)
    more = dawid_skene(np.vstack([votes, np.full((5, 4), np.nan)]))
    assert more.rows == 200
    assert np.isnan(more.unsafe[200:]).all()
    equal(found, more, [0, 1, 2, 3])


def test_a_copied_judge_looks_better_than_it_is() -> None:
    """The known failure: errors that come together cannot be seen from votes alone."""
    votes, _ = world(5, 5000)
    worst = votes[:, 3]
    found = dawid_skene(np.column_stack([worst, worst, worst, votes[:, 0]]))
    assert found.sensitivity[0] > SE[3] + 0.2


def test_votes_that_all_agree_stay_off_the_borders() -> None:
    found = dawid_skene(np.repeat([[1, 1, 1], [0, 0, 0]], 20, axis=0))
    assert ((found.sensitivity > 0.9) & (found.sensitivity < 1)).all()
    assert found.prevalence == pytest.approx(0.5, abs=1e-3)
    ones = dawid_skene(np.ones((40, 3)))
    assert np.isfinite(ones.unsafe).all()
    assert (ones.unsafe > 0.99).all()


@pytest.mark.parametrize(
    ("votes", "said"),
    [
        (np.ones((50, 2)), "3 or more"),
        (np.ones(50), "no judges"),
        (np.ones((29, 3)), "30 or more"),
        (np.full((50, 3), 2.0), "votes are 1"),
        (np.column_stack([np.ones((50, 2)), np.full(50, np.nan)]), "number 3"),
    ],
)
def test_tables_that_decide_nothing_are_refused(votes: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dawid_skene(votes)


def test_phi_by_hand_and_undefined() -> None:
    """Table 3, 1, 1, 5: (3 * 5 - 1 * 1) / sqrt(4 * 6 * 4 * 6) = 14 / 24."""
    one = [1] * 4 + [0] * 6
    two = [1] * 3 + [0] + [1] + [0] * 5
    assert phi(one, two) == pytest.approx(14 / 24)
    assert phi([*one, np.nan, 1], [*two, 1, np.nan]) == pytest.approx(14 / 24)
    assert phi([1, 1, 1], [0, 1, 0]) is None
    assert phi([], []) is None
