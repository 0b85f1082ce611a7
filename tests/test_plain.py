"""Artifacts as JSON and back: what a search leaves on them, and losses that were no number."""

import math

import orjson
import pytest

from sightline.cases import Conversation, Image, Turn
from sightline.keys import response_hash
from sightline.plain import (
    artifact_of,
    pictures_in,
    plain_artifact,
    plain_response,
    plain_verdict,
    response_of,
    verdict_of,
)
from sightline.records import Artifact, Call, Cost, Outcome, Response, Verdict
from sightline.untrusted import sanitized_verdict


def there_and_back(**fields):
    made = Artifact(key="k", case_id="c", conversation=Conversation.user("hello"), **fields)
    return made, artifact_of(orjson.loads(orjson.dumps(plain_artifact(made))))


@pytest.mark.parametrize("seen", [None, False, True])
def test_an_artifact_comes_back_as_it_was(seen):
    made, back = there_and_back(
        crafted_on="m#1@float32",
        norms={"linf": 16.0},
        trace=((0, 2.5), (1, 1.5)),
        checks=((0, 2.5, 0.0), (25, 1.0, 0.75)),
        cost=Cost(forwards=3, backwards=2, flops=1e9, seconds=0.5),
        shared=True,
        in_training_set=seen,
        note="n",
    )
    assert back == made


def test_scripts_and_calls_of_an_artifact_come_back():
    made, back = there_and_back(
        follow_ups=(Turn("user", ("then", Image("a" * 64, 3, 2))), Turn("user", ("last",))),
        calls=(Call(purpose="attacker", asked="a", text="b", stop="stop", tokens_in=1, tokens_out=2),),
    )
    assert back == made
    alone, _ = there_and_back()
    assert plain_artifact(made)["shown"] != plain_artifact(alone)["shown"]
    assert list(pictures_in(plain_artifact(made))) == ["a" * 64]


def test_fields_of_a_verdict_and_replies_of_a_script_come_back():
    verdict = Verdict(outcome=Outcome.refused, judge="j", fields={"relevant": True, "grade": 3.0, "why": "w"})
    assert verdict_of(orjson.loads(orjson.dumps(plain_verdict(verdict)))) == verdict
    response = Response(text="c", replies=("a", "b"))
    assert response_of(orjson.loads(orjson.dumps(plain_response(response)))) == response
    assert response_hash(plain_response(response)) != response_hash(plain_response(Response(text="c")))


def test_fields_of_a_verdict_are_cleaned_like_its_reason():
    found = sanitized_verdict(
        Verdict(outcome=Outcome.refused, judge="j", fields={"a\x00": "b\ud800", "n": 1})
    )
    assert found.fields == {"a\ufffd": "b\ufffd", "n": 1}


def test_what_is_not_known_is_not_written():
    made, back = there_and_back()
    assert set(plain_artifact(made)) == {"key", "case_id", "shown", "conversation"}
    assert back == made


def test_losses_that_are_no_number_are_left_out():
    _, back = there_and_back(trace=((0, 1.0), (1, math.nan)), checks=((0, math.inf, 0.5), (1, 2.0, 0.5)))
    assert back.trace == ((0, 1.0),)
    assert back.checks == ((1, 2.0, 0.5),)
