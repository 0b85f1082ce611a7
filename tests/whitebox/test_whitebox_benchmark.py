"""The white-box benchmark on small shapes: what it counts, and that both sides are one attack."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import whitebox as script
from _whitebox import (
    counts,
    device,
    engine,
    equality,
    fidelity,
    overhead,
    plain,
    times,
    times_gcg,
    times_small,
)
from _whitebox.shapes import SEVEN, TINY, tokens_of
from sightline.cases import Conversation, Image
from sightline.whitebox.constraints import LinfBall
from sightline.whitebox.image_search import Problem, minimize
from sightline.whitebox.objectives import Objective, TargetNLL
from sightline.whitebox.optimizers import SignGD
from sightline.whitebox.pixels import unit
from sightline.whitebox.samplers import FixedPairs
from sightline.whitebox.victim import Pair

TOY = replace(TINY, name="toy", side=28, tower=(1, 16, 2, 32), language=(2, 32, 2, 64), vocabulary=256)


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def tiny():
    return counts.Counted(TINY)


def test_the_large_shape_is_the_one_of_the_specification():
    model = SEVEN.model("meta")
    tower = sum(weight.numel() for weight in model.base_model.vision_tower.parameters())
    layers = sum(weight.numel() for weight in model.base_model.language_model.layers.parameters())
    assert (round(model.num_parameters() / 1e9, 2), round(tower / 1e9, 3), round(layers / 1e9, 3)) == (
        7.06,
        0.304,
        6.476,
    )
    assert SEVEN.picture_tokens == 576


def test_eight_targets_cost_a_fourth_at_most(tiny):
    found = tiny.targets((3,) * 8)
    assert found.official == 8 * tiny.targets((3,)).official  # it runs everything for every target
    assert found.official >= 4 * found.engine
    assert found.official > found.careful > found.engine


def test_a_prompt_more_costs_little(tiny):
    (six, moved), apart = tiny.prompts(6, tokens=4), tiny.prompts_apart(6, tokens=4)
    pairs = [TINY.pair(number, question=number, tokens=4) for number in range(6)]
    whole = engine.flops(lambda: plain.step_by_prompt(tiny.model, tiny.x, tokens_of(TINY, pairs)))
    assert apart == whole
    assert moved >= six
    assert apart >= 2.3 * six


def test_three_lengths_give_the_cost_of_all_beginnings(tiny):
    slow, fast = tiny.prefixes(5)
    (row,) = tokens_of(TINY, [TINY.pair(0, tokens=5)])
    counted = engine.flops(lambda: plain.step_by_token(tiny.model, tiny.x, row))
    assert slow == pytest.approx(counted, rel=1e-9)
    assert slow >= 0.8 * 5 * fast


def test_frozen_weights_need_no_gradient(tiny):
    slow, fast = tiny.weights()
    assert slow >= 1.4 * fast


def test_candidates_behind_a_picture_cost_less_than_by_either_known_algorithm(tiny):
    step = tiny.suffix(length=6, candidates=24)
    assert step.whole >= 2 * step.engine
    assert step.cached >= 1.1 * step.engine


def test_counts_on_no_memory_are_those_of_real_weights(tiny):
    pairs = [TINY.pair(number, tokens=3) for number in range(8)]
    victim, x = TINY.victim(TINY.model(attention="eager"), quick=True), TINY.picture()
    engine.step(victim, x, pairs)
    assert engine.flops(lambda: engine.step(victim, x, pairs)) == tiny.targets((3,) * 8).engine


def test_the_careful_step_is_the_official_one_with_the_picture_encoded_once():
    model, x = TOY.model(), TOY.picture()
    pairs = [TOY.pair(number, tokens=2 + number % 3) for number in range(5)]
    rows, seen = tokens_of(TOY, pairs), list[int]()
    tower = model.base_model.vision_tower
    hook = tower.register_forward_pre_hook(
        lambda module, given, named: seen.append(len((*given, *named.values())[0])), with_kwargs=True
    )
    (loss, grad), (wanted, slope) = plain.careful_step(model, x, rows), plain.step(model, x, rows)
    hook.remove()
    assert seen == [1, 5]
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    assert (grad - slope).norm() <= 1e-5 * slope.norm()


def test_ratios_are_paired_and_their_spread_says_whether_they_hold():
    fast = [1.0, 2.0, 1.0, 4.0]  # whatever slows a round slows both
    steady = times.Ratio.of([3 * seconds for seconds in fast], fast)
    assert steady == (3.0, 0.0)
    assert not steady.noisy
    loose = times.Ratio.of([3.0, 3.0, 3.0, 3.0], fast)
    assert loose.noisy
    assert times.Ratio.of([3.0], [1.0]).noisy  # one round says nothing of it
    found = {"a_ratio": 3.0, "a_spread": 0.02, "b_ratio": 3.0, "b_spread": 0.2, "load": 9.0}
    assert script.noisy(found) == ["b"]


def test_formats_are_compared_with_themselves_only():
    seconds = {"fp32": 8.0, "bf16": 2.0}
    variants = {
        f"{side} {kind}": times.Variant(work=lambda: None, spent=[factor * took] * 2)
        for kind, took in seconds.items()
        for side, factor in (("official", 4.0), ("careful", 2.0), ("engine", 1.0))
    }
    found = times.like_with_like("qi", variants)
    assert {name: value for name, value in found.items() if name.endswith("_ratio")} == {
        "qi_fp32_ratio": 4.0,
        "qi_fp32_careful_ratio": 2.0,
        "qi_bf16_ratio": 4.0,
        "qi_bf16_careful_ratio": 2.0,
    }


def test_all_sides_are_timed_on_one_step():
    found, table = times.figures(TOY, quick=False)
    assert found["qi_grad_rel_err"] <= 1e-5
    assert found["qi_sign_agreement"] >= 0.999
    for kind in times.FORMATS:
        assert found[f"qi_{kind}_ratio"] > 0
        assert found[f"qi_{kind}_careful_spread"] >= 0
    assert table.count("engine fp32") == 4
    found, line = times_gcg.figures(TOY, candidates=20, rounds=2)
    assert found["gcg_nanogcg_loss_rel_err"] <= 1e-5
    assert found["gcg_nanogcg_cpu_ratio"] > 0
    assert "nanoGCG" in line


def test_the_small_comparison_is_one_model_and_a_large_pack_is_split():
    found, table = times_small.figures(rounds=2)
    assert found["testbed_flops_ratio"] > found["testbed_flops_careful_ratio"] > 1
    assert found["split_packs"] > 1
    assert found["split_grad_rel_err"] <= 1e-5
    assert table.count("official") == 2


def test_every_kind_of_step_is_the_same_attack():
    found, table = equality.figures(TOY, steps=2, seeds=2)
    assert found["tiny_grad_rel_err"] <= 1e-5
    assert found["tiny_sign_agreement"] >= 0.9999
    assert found["tiny_loss_gap"] <= 1e-4
    assert found["gcg_loss_rel_err"] <= 1e-5
    assert table.count(" / ") >= 9


def test_the_bare_step_is_the_step_of_the_loop():
    victim = fidelity.opened()
    clean = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    pair = Pair(
        prompt=Conversation.user(Image("", 64, 64), "what is in the image ?"), target="a red square ."
    )
    problem = Problem(
        objective=Objective(victims=(victim,), rows=(TargetNLL(),)),
        constraint=LinfBall(clean=clean, eps=overhead.EPS),
        optimizer=SignGD(alpha=overhead.ALPHA),
        sampler=FixedPairs((pair,)),
    )
    step, x = overhead.bare_step(victim, clean, pair), unit(clean)
    for _ in range(2):
        x = step(x)
    kept: list[torch.Tensor] = []
    callbacks = script.overhead.Callbacks(save=lambda state: kept.append(state.tensors["state.theta"]))
    minimize(problem, steps=2, every=2, callbacks=callbacks)
    assert (kept[-1] != unit(clean)).float().mean() > 0.8
    assert (kept[-1] == x).float().mean() >= 0.999
    # in a process of its own: the tests' checks of shapes are calls too
    code = (
        "from _whitebox import fidelity, overhead\n"
        "print(overhead.compared(fidelity.opened(), 1, every=5)['loop_python_calls_ratio'])"
    )
    benchmarks = Path(overhead.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=benchmarks, capture_output=True, text=True, check=True
    )
    assert 1 < float(done.stdout.split()[-1]) <= 1.4


def test_the_plain_loop_of_the_testbed_goes_the_engines_way():
    victim = fidelity.opened()
    start, _, last = fidelity.plain_loop(victim, 2, seed=5)
    attack = fidelity.problem(victim)
    found = minimize(attack, steps=2, seed=5, every=2)
    losses = [
        float(attack.objective.probe(attack.constraint.finalize(x).float() / 255, attack.probe_pairs).loss)
        for x in (start, last)
    ]
    assert [check.loss for check in found.checks[0]] == pytest.approx(losses, rel=1e-3)


def test_success_is_told_step_by_step_for_both_loops(tmp_path):
    found, table = fidelity.figures(tmp_path, at=(0, 4), seeds=2, held_out=2)
    assert found["success_steps"] == [0, 4]
    assert found["success_plain"][0] == found["success_engine"][0]  # the start is one picture
    assert all(0 <= share <= 1 for side in ("plain", "engine") for share in found[f"success_{side}"])
    lines = table.splitlines()
    assert len(lines) == 4
    for line in lines[2:]:
        plain_loss, engine_loss = map(float, line.split()[-2:])
        assert engine_loss <= plain_loss + 1e-3  # the best of its looks


def test_the_accelerators_figures_are_made_on_any_device():
    found, table = device.figures(TOY, "cpu", side=64, every=2, checks=3)
    for kind in ("bf16", "fp32"):
        for work in ("one", "qi", "pictures"):
            assert found[f"gpu_{kind}_{work}_step_s"] > 0
            assert 0 < found[f"gpu_{kind}_{work}_of_rate"] < math.inf
        assert found[f"gpu_{kind}_one_over_reported"] > 0
    assert len(table.splitlines()) == 8


def test_a_missed_figure_is_told():
    assert script._judged("qi_fp32_ratio", 5.9).endswith("at least 6: MISSED")
    assert script._judged("prompts_7b_ratio", 1.5).endswith("at most 1.7: kept")
    assert script._judged("load", 1.0) == ""
