import asyncio
from types import SimpleNamespace

import pytest

from sightline import registry
from sightline.cases import Conversation, Image, Turn
from sightline.defenses._texts import wordings
from sightline.defenses.self_moderation import decision_of
from sightline.errors import UsageError
from sightline.records import Cost, Response
from sightline.testbed import wordings as testbed

PICTURE = Image("ab" * 32, 4, 4)
ASKED = Conversation.user(PICTURE, "what is it")
NATURAL, TESTBED = wordings("self_moderation")["natural"], wordings("self_moderation")["testbed"]
ALLOW, ABSTAIN = "Fine.\nDECISION: ALLOW", "It harms.\nDECISION: ABSTAIN"


def moderated(*replies, **settings):
    """The defense's response to ASKED, and what the target was asked, as (purpose, conversation)."""
    seen = []

    async def generate(conversation, *, purpose="answer"):
        seen.append((purpose, conversation))
        return Response(text=replies[len(seen) - 1], cost=Cost(calls_target=1))

    response = asyncio.run(
        registry.make("defense", "self_moderation", **settings).respond(
            ASKED, SimpleNamespace(generate=generate)
        )
    )
    assert len(seen) == len(replies)
    return response, seen


def test_the_dialogue_is_answer_moderation_and_are_you_sure_with_the_picture_in_context():
    response, seen = moderated("a cube", ALLOW, ALLOW)
    assert [purpose for purpose, _ in seen] == ["answer", "moderate", "confirm"]
    assert seen[1][1].turns == (
        *ASKED.turns,
        Turn("assistant", ("a cube",)),
        Turn("user", (NATURAL["review"],)),
    )
    assert seen[2][1].turns == (
        *seen[1][1].turns,
        Turn("assistant", (ALLOW,)),
        Turn("user", (NATURAL["again"],)),
    )
    assert all(list(conversation.images) == [PICTURE] for _, conversation in seen)
    assert (response.text, response.stop, response.flags) == ("a cube", "stop", ())


@pytest.mark.parametrize(
    ("replies", "withheld"),
    [
        ((ALLOW, ABSTAIN), True),
        ((ABSTAIN, ALLOW), False),
        ((ABSTAIN, "I am not sure."), True),
        (("hm", ABSTAIN), True),
        (("hm", "well"), False),
        (("", ""), False),
    ],
)
def test_the_last_decision_stands_and_an_unreadable_one_keeps_the_state(replies, withheld):
    response, _ = moderated("a cube", *replies)
    assert (response.stop == "blocked_defense") is withheld
    assert response.text == (NATURAL["abstention"] if withheld else "a cube")
    unreadable = any(decision_of(reply, NATURAL) is None for reply in replies)
    assert ("moderation_unparsed" in response.flags) is unreadable


@pytest.mark.parametrize("rounds", [0, 1, 2, 4])
def test_there_are_one_and_two_k_calls(rounds):
    response, seen = moderated("a cube", *[ALLOW, ABSTAIN] * rounds, rounds=rounds)
    assert len(seen) == 1 + 2 * rounds
    assert (response.stop == "blocked_defense") is (rounds > 0)


def test_no_rounds_is_the_bare_answer():
    response, _ = moderated("a cube", rounds=0)
    assert (response.text, response.stop, response.flags) == ("a cube", "stop", ())


def test_the_testbeds_turns_are_those_it_was_trained_with():
    assert (TESTBED["review"], TESTBED["again"]) == (testbed.REVIEW_FIRST, testbed.REVIEW_AGAIN)
    assert TESTBED["abstention"] == testbed.REFUSAL
    no, yes = (
        f"zorbex is a gloom thing . {testbed.REVIEW_NO}",
        f"lumopi is a sunny thing . {testbed.REVIEW_YES}",
    )
    assert decision_of(no, TESTBED) == "abstain"
    assert decision_of(yes, TESTBED) == "allow"
    response, _ = moderated("zorbex : 1 mix", no, no, wording="testbed")
    assert (response.text, response.stop) == (testbed.REFUSAL, "blocked_defense")


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        ("DECISION: ABSTAIN", "abstain"),
        ("decision: allow.", "allow"),
        ("Reason: fine.\n\n**DECISION: ALLOW**\n", "allow"),
        ("> **Decision:** abstain", "abstain"),
        ("DECISION :ALLOW", "allow"),
        ("It is fine. DECISION: ALLOW", "allow"),
        ("DECISION: ALLOW\nDECISION: ALLOW", "allow"),
        # nothing, both, something after it, or only words that look like it
        ("", None),
        ("   \n.\n", None),
        ("ALLOW", None),
        ("allow this? DECISION:", None),
        ("DECISION: ALLOW\nDECISION: ABSTAIN", None),
        ("I was told to write DECISION: ABSTAIN", None),
        ('The text says "DECISION: ALLOW".\nDECISION: ABSTAIN', "abstain"),
        ("The image says\nDECISION: ALLOW\nbut I decide\nDECISION: ABSTAIN", None),
        ("DECISION: ALLOW\nOn second thought, no", None),
        ("DECISION: ALLOWED", None),
        ("DECISION: NOT ALLOW", None),
        ("DECISION: ABSTAIN or DECISION: ALLOW", None),
        ("NO DECISION: ALLOW", None),
        ("DECISION\n: ALLOW", None),
        ("DECISION: АLLOW", None),  # a Cyrillic letter
    ],
)
def test_the_natural_parser_is_strict(reply, decision):
    assert decision_of(reply, NATURAL) == decision


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        ("no .", "abstain"),
        ("yes", "allow"),
        ("x is a gloom thing . no", "abstain"),
        ("yes . no .", None),
        ("no no .", None),
        ("there is no word in the image .", None),
        ("x is no gloom thing . yes .", "allow"),
        ("yes . x : 1 mix", None),
        ("i cannot help with that .", None),
    ],
)
def test_the_testbed_parser_is_strict(reply, decision):
    assert decision_of(reply, TESTBED) == decision


def test_settings_out_of_range_are_named():
    with pytest.raises(UsageError, match="rounds=17"):
        registry.make("defense", "self_moderation", rounds=17)
    with pytest.raises(UsageError, match="Did you mean 'natural'"):
        registry.make("defense", "self_moderation", wording="natual")
