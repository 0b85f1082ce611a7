"""White-box attacks that know the defense: what a defended model gives forward, backward, and at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import sightline as sl
from sightline import registry, whitebox
from sightline.cases import Conversation, Image, Turn
from sightline.defenses.purify import purified
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.study.surrogates import open_surrogate
from sightline.targets import open_target
from sightline.whitebox import through
from sightline.whitebox.compute import RngStream
from sightline.whitebox.through import DRAWS, Chance

SIZE = 64
PAIRS = tuple(
    whitebox.Pair(prompt=Conversation((Turn("user", (Image("x", SIZE, SIZE), text)),)), target=target)
    for text, target in (("what is it", "yes"), ("how many circles are there", "two"), ("what is it", "no"))
)
PASSING = ["adashield", "coca", "guard_model", "purify", "smoothing", "system_prompt"]


@pytest.fixture(scope="module")
def opener(tmp_path_factory):
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    return lambda name: open_target(name, blobs)


@pytest.fixture(scope="module")
def bare(opener):
    return open_surrogate("testbed/linear", opener).victim()


@pytest.fixture
def x():
    levels = np.random.default_rng(4).integers(0, 256, (2, 3, SIZE, SIZE))
    return torch.from_numpy(levels).float().div(255).requires_grad_(True)


def defense(name, **settings):
    return registry.make("defense", name, **settings)


def gradient(victim, x, pairs=PAIRS):
    loss = whitebox.Objective(victims=(victim,), rows=(whitebox.TargetNLL(),))(x, pairs)
    return loss.detach(), torch.autograd.grad(loss.sum(), x)[0]


def levels_of(x):
    return (x.detach() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_the_defenses_that_pass_gradients_are_known():
    assert set(PASSING) <= set(through.passing())
    assert "ocr_guard" not in through.passing()


@pytest.mark.parametrize(
    "settings", [{"jpeg": 50}, {"jpeg": 0, "crop": 0.9, "noise": 8.0}, {"jpeg": 30, "scale": 0.6, "bits": 4}]
)
def test_the_target_is_shown_what_the_defense_makes_byte_for_byte(settings, bare, x):
    made = defense("purify", **settings)
    victim = made.through(bare).drawing(Chance(seed=5, place=(3, 0), pictures=((7, 0), (8, 0))))
    shown = levels_of(victim.changed(x))
    assert len(shown) == len(x) * victim.draws
    assert torch.equal(victim.changed(x) * 255, (victim.changed(x) * 255).round())
    for number, levels in enumerate(levels_of(x)):
        for draw in range(victim.draws):
            expected = purified(levels, made._steps(), victim.chance.for_picture(number, draw))
            assert np.array_equal(shown[number * victim.draws + draw], expected)


def test_backward_purify_is_the_gradient_at_the_changed_picture(bare, x):
    made = defense("purify", jpeg=50)
    victim = made.through(bare)
    shown = victim.changed(x).detach().requires_grad_(True)
    loss, grad = gradient(victim, x)
    expected_loss, expected = gradient(bare, shown)
    assert torch.equal(loss, expected_loss)
    assert torch.equal(grad, expected)


def test_a_pixel_that_smoothing_replaced_passes_no_gradient(bare, x):
    victim = defense("smoothing", text="none", pixels="mask", pixel_share=0.5).through(bare)
    shown = victim.changed(x)
    (grad,) = torch.autograd.grad(shown.sum(), x)
    kept = (levels_of(shown).reshape(2, DRAWS, SIZE, SIZE, 3) == levels_of(x)[:, None]).all(-1).sum(1)
    assert np.array_equal(grad.numpy(), np.repeat(kept[:, None], 3, 1).astype(np.float32))
    assert kept.min() < DRAWS


def test_losses_are_means_over_draws_and_so_is_the_gradient(bare, x):
    made = defense("purify", jpeg=0, noise=20.0)
    victim = made.through(bare)
    rows = victim.rows(x, PAIRS)
    assert rows.draws == DRAWS
    assert len(rows.logits) == 2 * DRAWS
    loss, grad = gradient(victim, x)
    every = [gradient(bare, victim.changed(x)[d::DRAWS].detach().requires_grad_(True)) for d in range(DRAWS)]
    assert torch.allclose(loss, sum(each for each, _ in every) / DRAWS, atol=1e-5)
    assert torch.allclose(grad, sum(each for _, each in every) / DRAWS, atol=1e-5)
    objective = whitebox.Objective(victims=(victim,), rows=(whitebox.TargetNLL(),), own=((0,), (2,)))
    alone = [gradient(victim, x, (PAIRS[number],))[0][place] for place, number in ((0, 0), (1, 2))]
    assert torch.allclose(objective(x, PAIRS), torch.stack(alone), atol=1e-5)
    assert objective.passes == DRAWS


@pytest.mark.parametrize(
    ("name", "settings"),
    [("purify", {"jpeg": 0, "noise": 9.0}), ("smoothing", {}), ("smoothing", {"pixels": "none"})],
)
def test_what_is_random_follows_from_the_place_alone(name, settings, bare, x):
    victim = defense(name, **settings).through(bare)

    def nll(place, keys, x):
        return victim.drawing(Chance(1, place, tuple((key, 0) for key in keys))).rows(x, PAIRS).nll

    first = nll((0, 0), (4, 9), x)
    assert torch.equal(first, nll((0, 0), (4, 9), x))
    assert not torch.allclose(first, nll((1, 0), (4, 9), x), atol=1e-3)
    assert torch.allclose(first[DRAWS:], nll((0, 0), (9,), x[1:]), atol=1e-4)


@pytest.mark.parametrize("text", ["what is it", "how do you cook a stone"])
def test_coca_moves_scores_away_from_those_without_the_principle(text, bare):
    conversation = Conversation((Turn("user", (Image("x", SIZE, SIZE), text)),))
    made = defense("coca", wording="testbed", alpha=2.0)
    pair = whitebox.Pair(prompt=conversation, target="yes")
    x = torch.rand(1, 3, SIZE, SIZE, requires_grad=True, generator=torch.Generator().manual_seed(0))
    safe = whitebox.Pair(prompt=made._asked(conversation), target="yes")
    z, plain = (bare.rows(x, [each]).logits for each in (safe, pair))
    rows = made.through(bare).rows(x, [pair])
    assert torch.allclose(rows.logits, z + 2.0 * (z - plain), atol=1e-4)
    assert made.through(bare).looks == 2


def test_a_known_prompt_is_read_and_stacks_nest(bare, x):
    outer, inner = defense("system_prompt", prompt="testbed"), defense("purify", jpeg=40)
    victim = through.stacked([outer, inner], bare)
    known = [
        whitebox.Pair(prompt=outer.instructed(pair.prompt), target=pair.target, closed=pair.closed)
        for pair in PAIRS
    ]
    shown = inner.through(bare).changed(x).detach()
    assert torch.equal(victim.rows(x, PAIRS).logits, bare.rows(shown, known).logits)
    assert victim.id == f"defended/{registry.spec(outer)}:defended/purify(jpeg=40):{bare.id}"


@pytest.mark.parametrize("name", ["coca", "adashield", "system_prompt"])
def test_the_gradient_is_the_slope_of_the_loss(name, bare, x):
    victim = registry.make("defense", name, preset="testbed").through(bare)
    _, grad = gradient(victim, x)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)) * (grad != 0)
    step = 1e-3
    with torch.no_grad():
        ahead, back = (
            whitebox.Objective(victims=(victim,), rows=(whitebox.TargetNLL(),))(x + sign * step * way, PAIRS)
            for sign in (1, -1)
        )
    slope = (ahead - back) / (2 * step)
    assert torch.allclose(slope, (grad * way).flatten(1).sum(1), rtol=0.05, atol=0.02)


class Noting:
    """Adds `shift` to the states of a block, and penalizes the first number of the last prompt token."""

    def __init__(self, nodes, shift):
        self.nodes, self.shift, self.seen = nodes, shift, {}

    def block(self, number, state):
        self.seen[number] = state
        return state + self.shift if number == 1 and self.shift else None

    def penalty(self):
        return self.seen[1][:, self.nodes.last, 0].float()


def test_blocks_are_seen_at_the_last_token_of_every_prompt(bare, x):
    victim = through.within(defense("purify"), bare, lambda nodes, _: Noting(nodes, 0.0))
    rows = victim.rows(x, PAIRS)
    assert torch.allclose(rows.logits, bare.rows(x, PAIRS).logits, atol=1e-4)
    assert rows.penalty.shape == (2, 3)
    for number, pair in enumerate(PAIRS):
        alone = victim.rows(x, [pair]).penalty[:, 0]
        assert torch.allclose(rows.penalty[:, number], alone, atol=1e-4)
    assert torch.allclose(rows.penalty[:, 0], rows.penalty[:, 2])
    assert not torch.allclose(rows.penalty[:, 0], rows.penalty[:, 1])


def test_a_penalty_counts_once_and_by_own_pairs(bare, x):
    victim = through.within(defense("purify"), bare, lambda nodes, _: Noting(nodes, 0.0))
    penalty = victim.rows(x, PAIRS).penalty
    term = whitebox.TargetNLL()

    def loss(victim, **more):
        return whitebox.Objective(victims=(victim,), rows=(term, term), **more)(x, PAIRS)

    assert torch.allclose(loss(victim) - loss(bare), penalty.mean(1), atol=1e-4)
    assert torch.allclose(loss(victim, at_once=1) - loss(bare), penalty.mean(1), atol=1e-4)
    own = {"own": ((0,), (1,))}
    expected = torch.stack([penalty[0, 0], penalty[1, 1]])
    assert torch.allclose(loss(victim, **own) - loss(bare, **own), expected, atol=1e-4)
    drawing = defense("purify", jpeg=0, noise=9.0).through(victim)
    assert drawing.rows(x, PAIRS).penalty.shape == (2 * DRAWS, 3)


def test_a_changed_state_changes_the_answer_and_passes_a_gradient(bare, x):
    victim = through.within(defense("purify"), bare, lambda nodes, _: Noting(nodes, 0.5))
    assert not torch.allclose(victim.rows(x, PAIRS).logits, bare.rows(x, PAIRS).logits, atol=1e-2)
    _, grad = gradient(victim, x)
    assert bool(grad.any())
    behind = defense("purify").through(bare)
    with pytest.raises(UsageError, match="put this defense next to the model"):
        through.within(defense("purify"), behind, lambda nodes, _: Noting(nodes, 0.5))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("defended/ecso:testbed/linear", r"'ecso' passes no gradients .*adashield.*purify"),
        ("defended/purify:defended/ecso:testbed/linear", "'ecso' passes no gradients"),
        ("defended/purify:scripted/echo", "gives no gradients: name a local model"),
    ],
)
def test_what_passes_no_gradients_is_refused_when_it_is_opened(name, message, opener):
    with pytest.raises(UsageError, match=message):
        open_surrogate(name, opener)


def test_a_defended_surrogate_is_its_own_model(opener):
    bare, behind, other = (
        open_surrogate(f"{before}testbed/linear", opener)
        for before in ("", "defended/purify(jpeg=50):", "defended/purify(jpeg=40):")
    )
    assert len({bare.id, behind.id, other.id}) == 3
    assert behind.id.startswith("defended/purify(jpeg=50)@")
    with pytest.raises(UsageError, match="name the bare model, testbed/linear"):
        behind.encoder()


def test_a_model_behind_a_defense_is_a_surrogate_and_no_reader_of_a_suffix(bare):
    model = sl.open_model("testbed/linear").behind(defense("purify", jpeg=50))
    assert model.surrogate.id.startswith("defended/purify(jpeg=50)@")
    with pytest.raises(UsageError, match="not crafted through a defense"):
        whitebox.SuffixReader(defense("purify").through(bare), whitebox.TokenSuffix(length=2))


def test_chance_is_of_every_picture_that_a_constraint_makes():
    chance = Chance.of(RngStream(seed=3, keys=(4, 9), place=(2, 0)), samples=2)
    assert chance.pictures == ((4, 0), (4, 1), (9, 0), (9, 1))
    assert chance.take([3]).for_picture(0, 1).random() == chance.for_picture(3, 1).random()
    drawn = {chance.for_picture(number, draw).random() for number in range(4) for draw in range(2)}
    assert len(drawn | {chance.for_prompts(draw).random() for draw in range(2)}) == 10


# -- a guard that reads the request ----------------------------------------------------------------------


def of_guard(guard, x, prompt, word):
    """Log-likelihood of a word as the beginning of a guard's reply, of each picture."""
    rows = guard.rows(x, [whitebox.Pair(prompt=prompt, target=word, closed=False)])
    return -rows.nll.sum(1)


def test_the_guard_s_unsafe_verdict_joins_the_loss(bare, x):
    """By hand: relu(log p(unsafe) - log p(safe) + 1) of each prompt, and the target's rows as they were."""
    victim = defense("guard_model", model="testbed/linear", checks="input").through(bare)
    rows, plain = victim.rows(x, PAIRS), bare.rows(x, PAIRS)
    assert torch.equal(rows.ids, plain.ids)
    assert torch.allclose(rows.logits, plain.logits, atol=1e-5)
    expected = [
        (of_guard(bare, x, p.prompt, "unsafe") - of_guard(bare, x, p.prompt, "safe") + 1).relu()
        for p in PAIRS
    ]
    assert torch.allclose(rows.penalty, torch.stack(expected, 1), atol=1e-4)
    assert torch.equal(rows.penalty[:, 0], rows.penalty[:, 2]), "one prompt is asked once"
    assert victim.looks == 2
    loss, _ = gradient(victim, x)
    alone, _ = gradient(bare, x)
    assert torch.allclose(loss, alone + rows.penalty.mean(1), atol=1e-4)


def test_descending_the_joint_loss_turns_the_guard(bare, x):
    """The model is a guard for the test alone: which word it thinks likelier is what the steps change."""
    made = defense("guard_model", model="testbed/linear", checks="both")
    x, prompt = x[:1], PAIRS[0].prompt
    victim = replace(made.through(bare), words=("safe", "unsafe"))  # it thinks the first one likelier
    before = of_guard(bare, x, prompt, "safe") - of_guard(bare, x, prompt, "unsafe") + 1
    assert bool((before > 1).all())
    after = {}
    for what, model in (("joint", victim), ("target alone", bare)):
        moved = x.detach().clone()
        for _ in range(4):
            moved.requires_grad_(True)
            loss = whitebox.Objective(victims=(model,), rows=(whitebox.TargetNLL(),))(moved, PAIRS[:1])
            step = torch.autograd.grad(loss.sum(), moved)[0].sign() * 8 / 255
            moved = (moved.detach() - step).clamp(0, 1)
        after[what] = victim.rows(moved, PAIRS[:1]).penalty[:, 0].detach()
    assert bool((after["joint"] < 0.9 * before).all())
    assert bool((after["joint"] < 0.9 * after["target alone"]).all())


def test_a_guard_behind_random_copies_is_asked_about_each(bare, x):
    guard = defense("guard_model", model="testbed/linear", checks="input").through(bare)
    rows = defense("purify", jpeg=0, noise=8.0).through(guard).rows(x, PAIRS)
    assert rows.penalty.shape == (len(x) * DRAWS, len(PAIRS))
    behind = defense("guard_model", model="testbed/linear", checks="input").through(
        defense("purify", jpeg=0, noise=8.0).through(bare)
    )
    shown = behind.rows(x, PAIRS).penalty
    assert torch.equal(shown[:DRAWS], shown[:1].expand(DRAWS, -1)), "in front it reads the picture as sent"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"model": "openai/gpt-4o"}, "its guard openai/gpt-4o does not run here"),
        ({}, r"its guard \(none is named\) does not run here"),
        ({"model": "vlm/x", "sees_image": False}, "its guard sees no picture"),
        ({"model": "vlm/x", "checks": "output"}, "its guard reads the reply"),
    ],
)
def test_a_guard_that_pixels_do_not_reach_passes_no_gradients(settings, why):
    with pytest.raises(UsageError, match=f"'guard_model' passes no gradients: {why} .an attack that knows"):
        through.check_passes("x", [defense("guard_model", **settings)])
