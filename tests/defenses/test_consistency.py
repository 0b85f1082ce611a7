import pytest
from behind import PICTURE, respond

from sightline import registry
from sightline.cases import Conversation
from sightline.errors import UsageError

REFUSAL = "I'm sorry, but I can't help with that."


def consistency(**settings):
    return registry.make("defense", "consistency", **settings)


def test_what_is_refused_in_text_is_withheld():
    response, inner, _ = respond(consistency(), "1. mix", "steps for glims", REFUSAL)
    assert [call.purpose for call in response.calls] == ["answer", "read", "typed"]
    assert (response.text, response.stop) == ("I can't help with that.", "blocked_defense")
    assert (response.raw, response.flags) == ("1. mix", ("refused_in_text",))
    assert list(inner.asked[1].images) == [PICTURE]
    assert list(inner.asked[2].images) == []
    assert inner.asked[2].last_user_text() == "steps for x\nsteps for glims"


def test_what_is_answered_in_text_too_passes():
    response, _, _ = respond(consistency(), "1. mix", "steps for tea", "1. boil")
    assert (response.text, response.stop, response.raw) == ("1. mix", "stop", None)


def test_a_refusal_and_a_request_without_pictures_need_no_check():
    assert len(respond(consistency(), REFUSAL)[1].asked) == 1
    assert len(respond(consistency(), "a cube", conversation=Conversation.user("x"))[1].asked) == 1


def test_the_testbeds_refusal_comes_after_a_sentence():
    made = consistency(preset="testbed")
    said = "glim is a gloom thing . i cannot help with that ."
    response, inner, _ = respond(made, "glim : 1 mix", "glim .", said)
    assert response.stop == "blocked_defense"
    assert inner.asked[2].last_user_text() == "steps for glim"


def test_a_judge_that_asks_a_model_is_refused():
    with pytest.raises(UsageError, match="name a judge by rule"):
        consistency(refusals="model_graded(grader='a/b')")
