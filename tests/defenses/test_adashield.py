import pytest
from behind import PICTURE, respond

from sightline import registry
from sightline.defenses._texts import wordings
from sightline.errors import UsageError

SHIELD = wordings("adashield")["natural"]["shield"]


def test_the_shield_stands_between_the_request_and_its_repetition():
    response, inner, _ = respond(registry.make("defense", "adashield"), "I am sorry")
    (asked,) = inner.asked
    assert asked.last_user_turn.parts == (PICTURE, "steps for x", SHIELD, "steps for x")
    assert (response.text, response.stop, response.raw) == ("I am sorry", "stop", None)


def test_or_after_it():
    _, inner, _ = respond(registry.make("defense", "adashield", placement="after"), "a")
    assert inner.asked[0].last_user_turn.parts == (PICTURE, "steps for x", SHIELD)


def test_an_unknown_shield_is_told():
    with pytest.raises(UsageError, match="Did you mean 'natural'"):
        registry.make("defense", "adashield", wording="naturl")
