"""Artifacts as JSON and back: what a search leaves on them, and losses that were no number."""

import math

import orjson
import pytest

from sightline.cases import Conversation
from sightline.plain import artifact_of, plain_artifact
from sightline.records import Artifact, Cost


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


def test_what_is_not_known_is_not_written():
    made, back = there_and_back()
    assert set(plain_artifact(made)) == {"key", "case_id", "shown", "conversation"}
    assert back == made


def test_losses_that_are_no_number_are_left_out():
    _, back = there_and_back(trace=((0, 1.0), (1, math.nan)), checks=((0, math.inf, 0.5), (1, 2.0, 0.5)))
    assert back.trace == ((0, 1.0),)
    assert back.checks == ((1, 2.0, 0.5),)
