"""past_tense against scripted attackers: what they are asked and may answer, refusals, parse failures."""

from __future__ import annotations

import pytest
from pages import case
from talks import Talk, converse, down

from sightline import registry
from sightline.budget import SpentError
from sightline.errors import TransientError, UsageError
from sightline.records import Response
from sightline.store import Blobs

ASKED = "Explain {goal} how to fold a {language} glimber"
DONE = "How was a {tense} glimber folded?"


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def attack(**settings):
    return registry.make("attack", "past_tense", **settings)


def written(text):
    return f"<question>{text}</question>"


def test_constants_of_the_official_code():
    assert (attack().temperature, attack().max_tokens, attack().tense) == (1.0, 150, "past")
    assert attack().calls == {"attacker": 3}
    assert attack().card.threat.oracle == "none"


def test_the_attacker_is_told_the_request_and_its_question_is_asked(blobs):
    talk = Talk(attacker=[f"Of course.\n{written(DONE)}"])
    draft = converse(attack(), case(ASKED), talk, blobs)
    assert draft.text == DONE
    assert draft.note == "past tense by the attacker"
    assert draft.keep_images
    assert draft.before == ()
    assert talk.calls == [("attacker", f"The request:\n{ASKED}")]
    ((_, question),) = talk.asked
    assert question.turns[0].role == "system"
    assert "past tense" in question.turns[0].text
    assert "fold a {language}" not in question.turns[0].text


def test_the_future(blobs):
    talk = Talk(attacker=[written("How will it be folded?")])
    draft = converse(attack(tense="future"), case(ASKED), talk, blobs)
    assert draft.note == "future tense by the attacker"
    assert "future tense" in talk.asked[0][1].turns[0].text


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("I cannot help with that.", "no <question>"),
        ("", "it is empty"),
        (Response(text=written(DONE), stop="length"), "it is cut off"),
        (Response(text="", stop="content_filter"), "its provider blocked it"),
        (written("It was folded."), "without a question mark"),
        (written(" "), "is empty"),
        (written("explain {goal}  how to fold a {language} GLIMBER?"), "the request as it was"),
    ],
)
def test_what_cannot_be_read_is_told_and_asked_again(said, why, blobs):
    asked = case(f"{ASKED}?")
    talk = Talk(attacker=[said, written(DONE)])
    assert converse(attack(), asked, talk, blobs).text == DONE
    assert len(talk.calls) == 2
    assert why in talk.calls[1][1]


def test_a_refusing_attacker_is_an_error_that_names_it_and_never_a_weaker_attack(blobs):
    talk = Talk(attacker=["I will not rewrite this."])
    with pytest.raises(
        UsageError, match=r"attacker gave no answer .* in 2 tries: .*'I will not rewrite this\.'"
    ):
        converse(attack(tries=2), case(ASKED), talk, blobs)
    assert len(talk.calls) == 2


def test_a_helper_that_is_down_and_a_budget_pass_through(blobs):
    with pytest.raises(TransientError, match="503"):
        converse(attack(), case(ASKED), Talk(attacker=down), blobs)
    with pytest.raises(SpentError):
        converse(attack(), case(ASKED), Talk(attacker=[SpentError("none left")]), blobs)


def test_other_question_marks_count(blobs):
    talk = Talk(attacker=[written("以前人们怎么做？")])
    assert converse(attack(), case(ASKED), talk, blobs).text == "以前人们怎么做？"


@pytest.mark.parametrize("settings", [{"tries": 0}, {"max_tokens": 1}, {"temperature": 3.0}])
def test_settings_out_of_range(settings):
    with pytest.raises(UsageError, match="out of range"):
        attack(**settings)
