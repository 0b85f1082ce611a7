"""Own optimizer, constraint, objective, sampler and token optimizer, from a file outside of the package."""

from __future__ import annotations

import ast
import inspect

import own_search_parts as own
import planted
import planted_text
import pytest
import torch

from sightline import whitebox
from sightline.cases import Eps

PLANTED = planted.plant(2, 16, convolution=True)
POOL = (*PLANTED.pairs, planted.pair("tell", "cd"))


def problem(**changes):
    given = {
        "objective": whitebox.Objective(victims=(PLANTED.victim,), rows=(whitebox.TargetNLL(),)),
        "constraint": whitebox.LinfBall(clean=PLANTED.clean, eps=Eps(16), init="ball"),
        "optimizer": own.MomentumPGD(alpha=1 / 255),
        "sampler": whitebox.FixedPairs(PLANTED.pairs),
    }
    return whitebox.Problem(**given | changes)


def test_it_takes_public_names_and_thirty_lines():
    source = inspect.getsource(own)
    imported = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in imported} == {"__future__", "dataclasses", "torch", "sightline"}
    lines = inspect.getsource(own.Momentum) + inspect.getsource(own.MomentumPGD)
    assert len(lines.splitlines()) <= 30


def test_momentum_recovers_planted_targets_and_batch_equals_serial():
    found = whitebox.minimize(problem(stop=whitebox.all_targets_greedy), steps=60, every=2)
    assert set(found.stop_reasons) == {"stopped"}
    alone = problem(constraint=problem().constraint.take([1]), stop=whitebox.all_targets_greedy)
    assert torch.equal(whitebox.minimize(alone, steps=60, every=2, keys=[1]).theta, found.theta[1:2])


def test_momentum_without_decay_is_signed_descent():
    plain = whitebox.minimize(problem(optimizer=whitebox.SignGD(alpha=1 / 255)), steps=7)
    none = whitebox.minimize(problem(optimizer=own.MomentumPGD(alpha=1 / 255, decay=0.0)), steps=7)
    assert torch.equal(plain.theta, none.theta)


def test_a_search_with_own_parts_is_resumed():
    kept = []
    one = problem(sampler=own.FirstThenAll(POOL, 3), constraint=own.RedOnly(inner=problem().constraint))
    whole = whitebox.minimize(one, steps=8, every=2, callbacks=whitebox.Callbacks(save=kept.append))
    again = whitebox.minimize(one, steps=8, every=2, resume=kept[2])
    assert torch.equal(again.theta, whole.theta)
    assert again.checks == whole.checks
    for pixels, clean in zip(whole.pixels, whitebox.as_pixels(PLANTED.clean), strict=True):
        assert (pixels[..., 1:] == clean[..., 1:]).all()
        assert (pixels != clean).any()


def test_an_own_term_is_minimized():
    darker = whitebox.Objective(pictures=(own.Brightness(),))
    found = whitebox.minimize(problem(objective=darker, sampler=whitebox.FixedPairs()), steps=20)
    assert all(checks[-1].loss < checks[0].loss - 5 / 255 for checks in found.checks)


@pytest.mark.parametrize("seed", range(2))
def test_an_own_token_optimizer_lowers_the_loss(seed):
    reader = planted_text.Planted(seed=seed)
    asked = whitebox.TextProblem(
        readers=(reader,), optimizer=own.RandomTokens(), sampler=whitebox.FixedPairs((planted_text.pair(),))
    )
    found = whitebox.search_tokens(asked, steps=30, every=1)
    losses = [check.loss for check in found.checks]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
