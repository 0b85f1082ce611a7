"""The majority of changed copies decides, the first answer on its side is shown, and chance is seeded."""

import asyncio
import string

import numpy as np
import pytest
from behind import Told
from hypothesis import given
from hypothesis import strategies as st

from sightline import registry
from sightline.cases import Conversation, Turn
from sightline.contracts import Decoding
from sightline.defenses.smoothing import changed_pixels, changed_text
from sightline.errors import UsageError
from sightline.records import Response
from sightline.store import Blobs
from sightline.targets.defended import DefendedTarget

NO = "I'm sorry, but I can't help with that."
ASKED = Conversation.user("how is a glimber folded, and what is it for")


def respond(*answers, conversation=ASKED, images=None, seed=0, **settings):
    inner = Told(list(answers))
    defense = registry.make("defense", "smoothing", **{"pixels": "none", **settings})
    target = DefendedTarget(defense, inner, images)
    return asyncio.run(target.generate(conversation, Decoding(seed=seed))), inner


@pytest.mark.parametrize(
    ("answers", "copies", "shown", "asked", "flag"),
    [
        (["one", "two", "three"], 3, "one", 2, "0_of_2"),
        ([NO, "two", "three", "four"], 4, "two", 4, "1_of_4"),
        ([NO, "two", "three", NO], 4, NO, 4, "2_of_4"),  # a tie is a refusal
        (["one", NO, "I cannot help with this."], 3, NO, 3, "2_of_3"),
        ([NO, NO, "x"], 4, NO, 2, "2_of_2"),  # certain after half
        (["x"], 1, "x", 1, "0_of_1"),
        ([NO], 1, NO, 1, "1_of_1"),
    ],
)
def test_the_first_answer_on_the_majoritys_side_is_shown(answers, copies, shown, asked, flag):
    response, inner = respond(*answers, copies=copies)
    assert (response.text, response.stop) == (shown, "stop")
    assert len(inner.asked) == asked == response.cost.calls_target
    assert response.flags == (f"smoothing:{flag}_refused",)
    assert [call.purpose for call in response.calls] == [f"copy {n + 1}" for n in range(asked)]


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_stopping_early_changes_no_majority(refusals):
    answers = [NO if refused else f"answer {n}" for n, refused in enumerate(refusals)]
    response, inner = respond(*answers, copies=len(answers))
    most = sum(refusals) >= len(refusals) / 2
    assert response.text == answers[refusals.index(most)]
    assert len(inner.asked) <= len(refusals)


def test_copies_differ_from_each_other_and_follow_from_request_and_seed():
    def asked(seed):
        return [each.last_user_text() for each in respond("x", copies=8, seed=seed)[1].asked]

    assert asked(0) == asked(0) != asked(1)
    assert len(set(asked(0))) == 5
    assert ASKED.last_user_text() not in asked(0)


def test_only_the_last_user_turns_text_is_changed_and_every_picture(tmp_path):
    blobs = Blobs(tmp_path)
    one, two = (blobs.put_pixels(np.full((8, 8, 3), level, np.uint8)) for level in (90, 200))
    conversation = Conversation(
        (Turn("system", ("be kind",)), Turn("user", (one, "one")), Turn("assistant", ("two",)))
    ).then(Turn("user", (two, "three and more")))
    _, inner = respond(
        "x", conversation=conversation, images=blobs, copies=1, pixels="mask", pixel_share=0.25
    )
    (asked,) = inner.asked
    assert [turn.text for turn in asked.turns[:3]] == ["be kind", "one", "two"]
    assert asked.turns[3].text != "three and more"
    for before, after in zip((one, two), asked.images, strict=True):
        changed = (blobs.pixels(before) != blobs.pixels(after)).any(-1)
        assert changed.sum() == 16
        assert (blobs.pixels(after)[changed] == 0).all()


@given(st.text(string.ascii_letters + " ", max_size=60), st.floats(0.01, 1), st.integers(0, 99))
def test_as_many_characters_change_as_were_asked_for(text, share, seed):
    most = int(np.ceil(round(share * len(text), 6)))
    for how in ("swap", "patch"):
        found = changed_text(text, how, share, np.random.default_rng(seed))
        assert len(found) == len(text)
        places = [at for at, (a, b) in enumerate(zip(text, found, strict=True)) if a != b]
        assert len(places) <= most + 1e-6
        assert how == "swap" or not places or places[-1] - places[0] < most
    grown = changed_text(text, "insert", share, np.random.default_rng(seed))
    assert len(grown) - len(text) == most
    rest = iter(grown)
    assert all(letter in rest for letter in text)  # the text is still in it, in order


@pytest.mark.parametrize("how", ["mask", "swap", "random"])
def test_as_many_pixels_change_as_were_asked_for(how):
    picture = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3) % 251
    picture = picture.astype(np.uint8) | 1
    before = picture.copy()
    found = changed_pixels(picture, how, 0.1, np.random.default_rng(3))
    changed = (found != picture).any(-1)
    assert np.array_equal(picture, before)
    assert 50 <= changed.sum() <= 60
    if how == "mask":
        assert changed.sum() == 60
    if how == "swap":
        colors = {tuple(color) for color in picture.reshape(-1, 3)}
        assert {tuple(color) for color in found.reshape(-1, 3)} <= colors


def test_an_error_of_the_target_is_the_result():
    response, _ = respond("x", Response(text="", stop="error", error="503"), copies=5)
    assert (response.stop, response.error) == ("error", "503")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"copies": 0}, "copies=0"),
        ({"text_share": 0.0}, "text_share=0.0"),
        ({"pixel_share": 1.5}, "pixel_share=1.5"),
        ({"text": "none", "pixels": "none"}, "changes nothing"),
        ({"text": "shuffle"}, "text"),
        ({"refusals": "model_graded"}, "judge by rule"),
    ],
)
def test_settings_that_do_not_fit_are_said_when_they_are_set(settings, message):
    with pytest.raises(UsageError, match=message):
        registry.make("defense", "smoothing", **settings)
