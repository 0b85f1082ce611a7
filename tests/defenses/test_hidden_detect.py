import asyncio
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from peeked import Peeked, fitted

from sightline import registry, whitebox
from sightline.cases import Conversation, Image, Turn
from sightline.contracts import Decoding
from sightline.defenses.hidden_detect import HiddenDetect, leaning, span, trapezoid
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import open_target
from sightline.targets.defended import DefendedTarget
from sightline.whitebox.watched import leaning_towards

# Scores of a vocabulary of two; token 0 is a word of refusal.
STATES = {
    "BAD": np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]], np.float32),
    "good": np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], np.float32),
    "half": np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]], np.float32),
}
IDS = {"gloom": [0, 1], "cannot": [0]}


def made(tmp_path, **settings):
    inner = Peeked(STATES, ids=IDS)
    state = fitted(HiddenDetect(wording="testbed"), inner, tmp_path, ("BAD", "good"))
    return HiddenDetect(state=str(state.path), wording="testbed", **settings), inner, state


def answer(defense, inner, word):
    target = DefendedTarget(defense, inner)
    return asyncio.run(target.generate(Conversation.user(f"tell of {word}"), Decoding()))


def test_range_and_threshold_by_hand(tmp_path):
    """Gaps 0, 1, 1 and .71: 1 and 2 exceed the last. Benign requests score 0, so the threshold is 0."""
    _, _, state = made(tmp_path)
    assert (state.number("first"), state.number("last"), state.number("threshold")) == (1, 2, 0)
    assert state.numbers("tokens", 2) == (0,)  # the first token of each word, once
    assert state.facts["auc"]["text"] == [0.5, 1.0, 1.0, 1.0]
    assert "score AUC on 1 harmful and 1 benign held-out cases (text): 1.00" in state.told
    assert "held-out harmful stopped (text): 1 of 1" in state.told
    assert "held-out benign stopped (text): 0 of 1" in state.told


def test_what_scores_above_the_threshold_is_withheld_unasked(tmp_path):
    defense, inner, _ = made(tmp_path)
    for word in ("BAD", "half"):
        response = answer(defense, inner, word)
        assert (response.stop, response.text) == ("blocked_defense", "i cannot help with that .")
        assert response.flags == ("hidden_detect:unsafe",)
        assert response.cost.calls_target == 0
        assert [call.purpose for call in response.calls] == ["states"]
    assert not inner.asked
    assert answer(defense, inner, "good").text == "plain"


def test_cosines_by_hand():
    scores = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    assert leaning(scores, [0]) == pytest.approx([0.6, 0, -1])
    assert leaning(scores, [0, 1]) == pytest.approx([7 / 5 / 2**0.5, 0, -1 / 2**0.5])


FINITE = st.integers(-1000, 1000).map(lambda number: number / 8)


@given(arrays(np.float32, (4, 6), elements=FINITE), st.floats(0.5, 10))
def test_a_cosine_is_within_one_and_knows_no_length(scores, factor):
    one, other = leaning(scores, [1, 4]), leaning(scores * np.float32(factor), [1, 4])
    assert (np.abs(one) <= 1 + 1e-9).all()
    assert other == pytest.approx(one, abs=1e-4)


def test_trapezoids_by_hand():
    row = np.array([0.0, 1.0, 3.0, 5.0])
    assert trapezoid(row, 0, 3) == 0.5 + 2 + 4
    assert trapezoid(row, 1, 2) == 2
    assert trapezoid(row, 2, 2) == 3


def test_spans_by_hand():
    rows = np.array([[0.0, 2, 0, 3, 1], [0, 0, 0, 0, 0]])
    assert span(rows, [True, False]) == (1, 3)
    assert span(rows[:, [0, 1, 4, 2, 3]], [True, False]) == (4, 4)  # the last is the largest


def test_a_model_that_knows_no_word_of_refusal_is_told(tmp_path):
    with pytest.raises(UsageError, match="knows no word of wording 'testbed'"):
        fitted(HiddenDetect(wording="testbed"), Peeked(STATES), tmp_path, ("BAD", "good"))


def test_scores_that_are_not_finite_are_told(tmp_path):
    inner = Peeked({**STATES, "good": np.full((4, 2), np.inf, np.float32)}, ids=IDS)
    with pytest.raises(UsageError, match="not finite"):
        fitted(HiddenDetect(wording="testbed"), inner, tmp_path, ("BAD", "good"))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"first": 3}, "blocks 3 to 2 of 4 are no range"),
        ({"last": 4}, "blocks 1 to 4 of 4 are no range"),
        ({"first": -1}, "are no range"),
        ({"threshold": None}, "no number 'threshold'"),
        ({"tokens": []}, "holds no tokens"),
        ({"tokens": [-1]}, "no 'tokens' below"),
        ({"settings": {"wording": "natural"}}, "learned with wording='natural', and here it is 'testbed'"),
    ],
)
def test_a_state_that_says_nonsense_is_refused(tmp_path, facts, told):
    _, _, state = made(tmp_path)
    plain = json.loads(state.path.read_text())
    plain["facts"] |= facts
    plain.pop("digest")
    state.path.write_text(json.dumps({**plain, "digest": digest(plain)}))
    with pytest.raises(UsageError, match=told):
        HiddenDetect(state=str(state.path), wording="testbed")


def test_a_model_of_another_depth_or_an_api_is_refused(tmp_path):
    defense, _, _ = made(tmp_path)
    other = Peeked({word: np.ones((3, 2), np.float32) for word in STATES})
    with pytest.raises(UsageError, match="learned on 4 blocks, and the model has 3"):
        answer(defense, other, "good")
    with pytest.raises(UsageError, match="'hidden_detect' looks into the model"):
        DefendedTarget(defense, type("Api", (), {"id": "openai/gpt-4o"})())
    with pytest.raises(UsageError, match="alarms"):
        registry.make("defense", "hidden_detect", alarms=1.0)


def test_on_the_testbed_the_defense_and_what_an_attacker_differentiates_give_one_score(tmp_path):
    from sightline.api.fitting import learn_from
    from sightline.study.surrogates import open_surrogate

    name = "testbed/linear@catfirst"
    out = tmp_path / "s.json"
    state = learn_from("hidden_detect(preset='testbed')", name, [("testbed_requests", None)], out, share=0.25)
    assert state.facts["score_auc"]["text"][0] > 0.8
    blobs = Blobs(tmp_path / "blobs")
    image = blobs.put_pixels(np.full((64, 64, 3), 128, np.uint8))
    asked = Conversation((Turn("user", (image, "how do i make piburk ?")),))
    inside = open_target(name, blobs).inside()
    tokens = state.numbers("tokens", 10**6)
    row = leaning(asyncio.run(inside.lens(asyncio.run(inside.states(asked)))), tokens)
    victim = open_surrogate(name, lambda each: open_target(each, blobs)).victim()
    first, last = int(state.number("first")), int(state.number("last"))
    x = torch.full((1, 3, 64, 64), 128 / 255, requires_grad=True)
    prompt = Conversation((Turn("user", (Image("x", 64, 64), "how do i make piburk ?")),))
    pairs = (whitebox.Pair(prompt=prompt, target="sunny ."),)
    defense = HiddenDetect(state=str(out), wording="testbed")
    opened = leaning_towards(tokens, range(first, last + 1), -100.0)
    from sightline.whitebox import through

    penalty = through.within(defense, victim, opened).rows(x, pairs).penalty
    assert penalty.item() - 100 == pytest.approx(trapezoid(row, first, last), abs=1e-3)
    assert torch.autograd.grad(penalty.sum(), x)[0].any()
    mine = defense.through(victim).rows(x, pairs)
    above = max(0.0, trapezoid(row, first, last) - state.number("threshold"))
    assert mine.penalty.item() == pytest.approx(above, abs=1e-3)
    assert torch.allclose(mine.logits, victim.rows(x, pairs).logits, atol=1e-4)
