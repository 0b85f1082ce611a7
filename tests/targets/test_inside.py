"""A local model from inside, against the library's own forward pass and against the target's own replies."""

import asyncio

import numpy as np
import pytest
import tiny_models as tiny
import torch

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.defending import Inner, Steering
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.vlm import forget_models

CPU = LocalSettings(device="cpu", max_batch=8)
SHORT = Decoding(max_tokens=6)
TYPED = Conversation.user("what is red")


@pytest.fixture(scope="module", autouse=True)
def _models_of_its_own(one_thread):
    yield
    forget_models()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def shown(blobs):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    return Conversation.user(blobs.put_pixels(pixels), "what is in the image")


@pytest.fixture(scope="module")
def opened(tmp_path_factory, blobs):
    made = {}

    def target(family):
        if family not in made:
            folder = tiny.FAMILIES[family](tmp_path_factory.mktemp(family))
            made[family] = open_target(f"vlm/{folder}", blobs, local=CPU)
        return made[family]

    return target


def run(work):
    return asyncio.run(work)


def text(target, conversation, how=None, decoding=SHORT):
    if how is None:
        return run(target.generate(conversation, decoding)).text
    return run(target.inside().write(conversation, decoding, how)).text


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_last_state_through_norm_and_head_is_the_score_of_the_next_token(family, opened, shown):
    inside = opened(family).inside()
    states = run(inside.states(shown))
    assert states.shape == (inside.layers, inside.width)
    assert states.dtype == np.float32
    scores = run(inside.next_scores(shown))
    np.testing.assert_allclose(run(inside.lens(states[-1:]))[0], scores, atol=1e-4)


def test_states_are_those_of_the_library(opened, shown, blobs):
    target = opened("llava")
    loaded = target.loaded()
    row = loaded.prepare(shown, SHORT, blobs.read)
    with torch.inference_mode():
        made = loaded.model(**row.tokens, **row.pictures, output_hidden_states=True, return_dict=True)
    expected = torch.stack([state[0, -1] for state in made.hidden_states[1:-1]])
    found = run(target.inside().states(shown))
    np.testing.assert_allclose(found[:-1], expected.float().numpy(), atol=1e-5)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_what_changes_nothing_writes_what_the_target_says(family, opened, shown):
    target = opened(family)
    inside = target.inside()
    zero = {number: np.zeros(inside.width, np.float32) for number in range(inside.layers)}
    huge = {number: np.full(inside.width, 50, np.float32) for number in range(inside.layers)}
    shut = {number: (np.zeros(inside.width, np.float32), -1.0) for number in range(inside.layers)}
    plain = text(target, shown)
    for how in (
        Inner(),
        Inner(steering=Steering(vectors=zero)),
        Inner(steering=Steering(vectors=huge, gates=shut)),
        Inner(beside=shown, weight=7.0),
    ):
        assert text(target, shown, how) == plain


def test_steering_changes_the_reply_and_only_this_one(opened, shown):
    target = opened("llava")
    inside = target.inside()
    plain = text(target, shown)
    (token,) = inside.token_ids("red")
    towards = target.loaded().model.get_output_embeddings().weight[token].detach().float().numpy()
    vectors = {inside.layers - 1: 1e3 * towards}  # behind the last block: the head says nothing else
    for positions in ("all", "reply"):
        steering = Steering(vectors=vectors, positions=positions)
        assert text(target, shown, Inner(steering=steering)) == "red red red red red red" != plain
    ajar = {inside.layers - 1: (np.zeros(inside.width, np.float32), 1.0)}
    assert text(target, shown, Inner(steering=Steering(vectors=vectors, gates=ajar))).startswith("red red")
    assert text(target, shown) == plain  # nothing of it is in a cache

    async def at_once():
        how = Inner(steering=Steering(vectors=vectors))
        typed = [Conversation.user(f"what is {word}") for word in ("red", "this", "one", "two")]
        steered, *others = await asyncio.gather(
            inside.write(shown, SHORT, how), *(target.generate(each, SHORT) for each in typed)
        )
        return steered, list(zip(typed, others, strict=True))

    _, others = run(at_once())
    forget_models()
    for conversation, response in others:
        assert text(target, conversation) == response.text


def test_a_vector_that_does_not_fit_is_told(opened, shown):
    inside = opened("llava").inside()
    for vectors in ({0: np.zeros(3, np.float32)}, {99: np.zeros(inside.width, np.float32)}):
        with pytest.raises(UsageError, match="this model has blocks 0 to"):
            run(inside.write(shown, SHORT, Inner(steering=Steering(vectors=vectors))))


def test_a_reply_can_be_begun(opened, shown):
    target = opened("llava")
    inside = target.inside()
    begun = run(inside.write(shown, SHORT, Inner(prefix="red square")))
    assert begun.text.startswith("red square")
    first = int(run(inside.next_scores(shown, "red square")).argmax())
    alone = run(inside.write(shown, Decoding(max_tokens=1), Inner(prefix="red square")))
    written = target.loaded().route.tokenizer.decode([first], skip_special_tokens=True).strip()
    assert alone.text.removeprefix("red square").strip() == written


def test_beside_another_conversation_scores_are_moved_away_from_it(opened):
    target = opened("llava")
    inside = target.inside()
    other = Conversation.user("what is this text now")
    z, z0 = run(inside.next_scores(TYPED)), run(inside.next_scores(other))
    one = Decoding(max_tokens=1)
    decode = target.loaded().route.tokenizer.decode
    for weight in (0.0, 3.0, 40.0):
        best = int((z + weight * (z - z0)).argmax())
        reply = run(inside.write(TYPED, one, Inner(beside=other, weight=weight)))
        assert reply.text == decode([best], skip_special_tokens=True).strip()
    assert run(inside.write(TYPED, one, Inner(beside=other))).cost.tokens_in > 0


def test_sampling_is_the_targets(opened):
    target = opened("llava")
    sampled = Decoding(max_tokens=6, temperature=1.5, seed=4)
    assert text(target, TYPED, Inner(), sampled) == text(target, TYPED, None, sampled)
