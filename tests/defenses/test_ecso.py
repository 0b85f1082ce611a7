import pytest
from behind import ASKED, PICTURE, respond

from sightline import registry
from sightline.cases import Conversation, Turn
from sightline.defenses._texts import wordings

NATURAL = wordings("ecso")["natural"]


def ecso(**settings):
    return registry.make("defense", "ecso", **settings)


@pytest.mark.parametrize("said", ["yes", "Yes.", " YES\n"])
def test_a_harmless_answer_passes_after_one_further_call(said):
    response, inner, _ = respond(ecso(), "a cube", said)
    assert (response.text, response.stop, response.flags) == ("a cube", "stop", ())
    assert [call.purpose for call in response.calls] == ["answer", "tell"]
    asked = inner.asked[1]
    assert list(asked.images) == [PICTURE]
    assert "Request: steps for x\nAnswer: a cube" in asked.last_user_text()


def test_else_it_is_answered_again_from_a_caption_without_the_picture():
    response, inner, _ = respond(ecso(), "bad", "no", "a page", "I cannot")
    assert [call.purpose for call in response.calls] == ["answer", "tell", "caption", "again"]
    assert (response.text, response.raw, response.stop) == ("I cannot", "bad", "stop")
    assert response.flags == ("answered_again",)
    assert list(inner.asked[2].images) == [PICTURE]
    assert "steps for x" in inner.asked[2].last_user_text()
    assert list(inner.asked[3].images) == []
    assert "described like this: a page" in inner.asked[3].last_user_text()


@pytest.mark.parametrize(
    ("setting", "text", "stop"),
    [("closed", "again", "stop"), ("open", "first", "stop"), ("error", "", "error")],
)
def test_a_reply_that_is_neither_is_flagged_and_what_follows_is_a_setting(setting, text, stop):
    response, _, _ = respond(ecso(on_unparsed=setting), "first", "yes, it is not", "page", "again")
    assert (response.text, response.stop) == (text, stop)
    assert "tell_unparsed" in response.flags


def test_the_answer_is_cut_for_the_second_call_and_never_searched_for_places():
    long = "{request}" + "z" * 5000
    _, inner, _ = respond(ecso(), long, "yes")
    told = inner.asked[1].last_user_text()
    assert told.count("z") == 1927 - len("{request}")
    assert "{request}" in told


def test_without_a_picture_nothing_further_is_asked_and_the_testbeds_tell_is_a_turn():
    response, inner, _ = respond(ecso(), "a cube", conversation=Conversation.user("steps for x"))
    assert (response.text, len(inner.asked)) == ("a cube", 1)
    _, inner, _ = respond(ecso(wording="testbed"), "a cube", "yes .")
    assert inner.asked[1].turns == (
        *ASKED.turns,
        Turn("assistant", ("a cube",)),
        Turn("user", ("is this allowed ?",)),
    )


@pytest.mark.parametrize(
    ("said", "calls", "flags"),
    [
        ("it is a sunny thing . yes .", 2, ()),
        ("it is a gloom thing . no .", 4, ("answered_again",)),
        ("yes . no .", 4, ("tell_unparsed", "answered_again")),
        ("no . it is a sunny thing .", 4, ("tell_unparsed", "answered_again")),
    ],
)
def test_the_testbeds_models_decide_in_their_last_sentence(said, calls, flags):
    response, _, _ = respond(ecso(preset="testbed"), "a", said, "page", "again")
    assert len(response.calls) == calls
    assert response.flags == flags


def test_pictures_of_earlier_turns_are_left_out_of_the_second_answer():
    dialogue = Conversation.user(PICTURE).then(Turn("assistant", ("seen",)), Turn("user", (PICTURE, "x")))
    _, inner, _ = respond(ecso(), "bad", "no", "page", "again", conversation=dialogue)
    assert [turn.role for turn in inner.asked[3].turns] == ["assistant", "user"]
