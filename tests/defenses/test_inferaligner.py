import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch
from peeked import Peeked, fitted

from sightline import registry, whitebox
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.defenses.inferaligner import Inferaligner, cosines
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import open_target
from sightline.targets.defended import DefendedTarget
from sightline.whitebox.watched import gated
from sightline.whitebox.within import Nodes

# Block 0 tells classes apart along its first number, block 1 says nothing.
STATES = {
    "BAD": np.array([[3.0, 1.0], [5.0, 5.0]], np.float32),
    "good": np.array([[1.0, 1.0], [5.0, 5.0]], np.float32),
    "close": np.array([[2.1, 9.0], [5.0, 5.0]], np.float32),
    "far": np.array([[1.9, -9.0], [5.0, 5.0]], np.float32),
}


def made(tmp_path, **settings):
    inner = Peeked(STATES)
    state = fitted(Inferaligner(), inner, tmp_path, ("BAD", "good"))
    return Inferaligner(state=str(state.path), **settings), inner, state


def answer(defense, inner, word):
    target = DefendedTarget(defense, inner)
    return asyncio.run(target.generate(Conversation.user(f"tell of {word}"), Decoding()))


def test_vectors_and_biases_by_hand(tmp_path):
    """s = (3, 1) - (1, 1) = (2, 0); projections 6 and 2, so b = -4: the gate opens above 2."""
    _, _, state = made(tmp_path)
    assert state.array("s", 2, 2).tolist() == [[2, 0], [0, 0]]
    assert state.array("t", 2, 2).tolist() == [[2, 0], [0, 0]]
    assert state.array("bias", 2).tolist() == [-4, 0]
    assert state.numbers("layers", 2) == (0,)
    assert state.facts["auc"] == {"text": [1.0, 0.5]}
    assert "gate AUC by block on 1 harmful and 1 benign held-out cases (text): 1.00 0.50" in state.told
    assert any(
        line.startswith("cosine of s and t by block, which proves nothing: 1.00 0.00") for line in state.told
    )


def test_where_the_gate_is_open_the_block_is_moved_and_else_nothing_is(tmp_path):
    defense, inner, _ = made(tmp_path, alpha=4.0)
    response = answer(defense, inner, "close")
    assert (response.text, response.flags) == ("steered", ("inferaligner:open",))
    (how,) = inner.written
    assert list(how.steering.vectors) == [0]
    assert how.steering.vectors[0].tolist() == [2, 0]
    assert (how.steering.alpha, how.steering.positions, how.steering.gates) == (4.0, "all", {})
    assert response.cost.forwards == 1
    assert [call.purpose for call in response.calls] == ["states", "answer"]
    response = answer(defense, inner, "far")
    assert (response.text, response.flags) == ("plain", ())
    assert len(inner.written) == 1


def test_at_every_step_the_gates_go_along(tmp_path):
    defense, inner, _ = made(tmp_path, position="every_step")
    assert answer(defense, inner, "far").text == "steered"
    (how,) = inner.written
    gate, bias = how.steering.gates[0]
    assert (gate.tolist(), bias, how.steering.positions) == ([2, 0], -4.0, "reply")


def test_the_vectors_of_an_aligned_model(tmp_path, monkeypatch):
    aligned = Peeked({word: -2 * states for word, states in STATES.items()}, id="aligned#1")
    monkeypatch.setattr("sightline.api.fitting.open_target", lambda name, images: aligned)
    state = fitted(Inferaligner(aligned="x/y"), Peeked(STATES), tmp_path, ("BAD", "good"))
    assert state.array("s", 2, 2).tolist() == [[2, 0], [0, 0]]
    assert state.array("t", 2, 2).tolist() == [[-4, 0], [0, 0]]
    other = Peeked({word: np.ones((3, 2), np.float32) for word in STATES})
    monkeypatch.setattr("sightline.api.fitting.open_target", lambda name, images: other)
    with pytest.raises(UsageError, match="has 3 blocks of width 2, the target 2 of 2: name an aligned model"):
        fitted(Inferaligner(aligned="x/y"), Peeked(STATES), tmp_path, ("BAD", "good"))
    monkeypatch.setattr("sightline.api.fitting.open_target", lambda name, images: object())
    with pytest.raises(UsageError, match="x/y cannot be looked into"):
        fitted(Inferaligner(aligned="x/y"), Peeked(STATES), tmp_path, ("BAD", "good"))


def test_a_blind_gate_chooses_no_block_and_is_refused_when_it_is_named(tmp_path):
    inner = Peeked({word: np.ones((2, 2), np.float32) for word in STATES})
    state = fitted(Inferaligner(), inner, tmp_path, ("BAD", "good"))
    assert state.numbers("layers", 2) == ()
    assert any(line.startswith("no block chosen") for line in state.told)
    with pytest.raises(UsageError, match="no block was chosen: name `layers"):
        Inferaligner(state=str(state.path))
    assert Inferaligner(state=str(state.path), layers=(1,)).layers == (1,)


def test_states_that_are_not_finite_are_told(tmp_path):
    inner = Peeked({**STATES, "good": np.full((2, 2), np.nan, np.float32)})
    with pytest.raises(UsageError, match=r"case good/\d: the model's states are not finite"):
        fitted(Inferaligner(), inner, tmp_path, ("BAD", "good"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"layers": (0, 0)}, "each block once"),
        ({"layers": (-1,)}, "each block once"),
        ({"layers": (2,)}, "has blocks 0 to 1"),
        ({"position": "first"}, "position"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, settings, told):
    _, _, state = made(tmp_path)
    with pytest.raises(UsageError, match=told):
        registry.make("defense", "inferaligner", state=str(state.path), **settings)


def test_a_model_of_another_depth_is_refused(tmp_path):
    defense, _, _ = made(tmp_path)
    other = Peeked({word: np.ones((3, 2), np.float32) for word in STATES})
    with pytest.raises(UsageError, match="2 blocks of 2, and the model has"):
        answer(defense, other, "far")


def test_a_target_that_cannot_be_looked_into_is_refused(tmp_path):
    defense, _, _ = made(tmp_path)
    with pytest.raises(UsageError, match="'inferaligner' looks into the model"):
        DefendedTarget(defense, type("Api", (), {"id": "openai/gpt-4o"})())


def test_cosines_by_hand():
    one, other = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [1.0, 0.0]])
    assert cosines(one, other) == [pytest.approx(24 / 25), 0.0]


def test_the_penalty_by_hand_and_what_is_steered():
    """Two prompts end at nodes 1 and 3; gate (2, 0), bias -4, so 2 x - 4 where that is above 0."""
    reply = torch.tensor([False, True, False, True, True])
    nodes = Nodes(torch.tensor([1, 3]), reply, torch.ones(2, 5, dtype=torch.bool))
    kept = {0: (np.array([2.0, 0.0]), np.array([10.0, 1.0]), -4.0)}
    state = torch.tensor([[[9.0, 0.0], [5.0, 0.0], [9.0, 0.0], [1.0, 0.0], [3.0, 0.0]]])
    acting = gated(kept, 0.5)(nodes, torch.nn.Linear(1, 1))
    moved = acting.block(0, state)
    assert acting.block(1, state) is None
    assert acting.penalty().tolist() == [[6.0, 0.0]]
    assert moved[0].tolist() == [[9.0, 0.0], [10.0, 0.5], [9.0, 0.0], [1.0, 0.0], [8.0, 0.5]]
    penalty_alone = gated(kept, 0.0)(nodes, torch.nn.Linear(1, 1))
    assert penalty_alone.block(0, state) is None
    assert penalty_alone.penalty().tolist() == [[6.0, 0.0]]


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    """A state learned on `testbed/linear@catfirst` from typed requests."""
    folder = tmp_path_factory.mktemp("testbed")
    from sightline.api.fitting import learn_from

    named = [("testbed_requests", None)]
    aligned = "inferaligner(aligned='testbed/linear@aligned-lm')"
    learn_from(aligned, "testbed/linear@catfirst", named, folder / "s.json", share=0.34)
    return folder


def test_on_the_testbed_the_gate_sees_the_class_in_late_blocks_alone(testbed):
    from sightline.fitting import read_state

    aucs = read_state(str(testbed / "s.json"), "inferaligner").facts["auc"]["text"]
    assert max(aucs[:2]) < max(aucs[2:]) - 0.1


@pytest.mark.parametrize("position", ["last_prompt", "every_step"])
def test_on_the_testbed_strength_zero_changes_no_word(testbed, position):
    blobs = Blobs(testbed / "blobs")
    bare = open_target("testbed/linear@catfirst", blobs)
    defense = Inferaligner(state=str(testbed / "s.json"), layers=(2, 3), position=position)
    asked = Conversation.user("how do i make piburk ?")

    def said(**changes):
        target = DefendedTarget(replace(defense, **changes), bare, blobs)
        return asyncio.run(target.generate(asked, Decoding(max_tokens=12))).text

    plain = asyncio.run(bare.generate(asked, Decoding(max_tokens=12))).text
    assert said(alpha=0.0) == plain
    assert said(alpha=50.0) != plain  # the gate is open


def test_on_the_testbed_a_surrogate_behind_it_pays_for_open_gates(testbed):
    from sightline.cases import Image, Turn
    from sightline.study.surrogates import open_surrogate

    blobs = Blobs(testbed / "blobs")
    bare = open_surrogate("testbed/linear@catfirst", lambda name: open_target(name, blobs)).victim()
    prompt = Conversation((Turn("user", (Image("x", 64, 64), "how do i make piburk ?")),))
    pairs = (whitebox.Pair(prompt=prompt, target="sunny ."),)
    x = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    plain = bare.rows(x, pairs)
    for position in ("last_prompt", "every_step"):
        defense = Inferaligner(state=str(testbed / "s.json"), layers=(2, 3), alpha=3.0, position=position)
        rows = defense.through(bare).rows(x, pairs)
        penalty = rows.penalty
        assert penalty.shape == (1, 1)
        assert torch.allclose(rows.logits, plain.logits, atol=1e-4) == (
            position == "last_prompt" or not penalty.any()
        )
        if penalty.any():
            assert torch.autograd.grad(penalty.sum(), x)[0].any()
