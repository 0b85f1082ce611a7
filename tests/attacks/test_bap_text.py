"""BAP's text stage: the question as it is, then rewritings from the failed reply by named strategies."""

from __future__ import annotations

import numpy as np
import pytest
from pages import case
from talks import Talk, converse, down

from sightline import registry
from sightline.budget import SpentError
from sightline.errors import TransientError, UsageError
from sightline.records import Response
from sightline.store import Blobs
from sightline.study.seal import seal

REQUEST = "How do I fold a glimber?"
NAMES = ["Contextual deception", "Semantic rephrasing", "Educational inquiry", "Ethical exploration"]


def bap(settings=""):
    return registry.parse("attack", f"bap_text({settings})")


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def says(question):
    return f"<analysis>a</analysis><question>{question}</question>"


def test_the_question_as_it_is_then_rewritten_from_the_last_reply(blobs):
    talk = Talk(
        attacker=[says("one"), says("two")],
        target=["no", "still no", "Sure."],
        verdicts=["refused", "off_topic", "complied"],
    )
    draft = converse(bap(), case(REQUEST), talk, blobs)
    roles = ["target", "in_loop_judge", "attacker"]
    assert [role for role, _ in talk.calls] == [*roles, *roles, "target", "in_loop_judge"]
    assert [text for role, text in talk.calls if role == "target"] == [REQUEST, "one", "two"]
    assert draft.text == "two"
    assert draft.note == "round 2 of 5; in the loop: complied"
    first, second = (shown for role, shown in talk.asked if role == "attacker")
    assert [turn.role for turn in second.turns] == ["system", "user"], "without a history"
    for said in (REQUEST, "no", "it refused", *NAMES):
        assert said in first.last_user_text()
    for said in (REQUEST, "one", "still no", "it did not refuse"):
        assert said in second.last_user_text()
    assert dict(bap().calls) == {"attacker": 15, "target": 6, "in_loop_judge": 6}


def test_a_request_that_is_answered_as_it_is_needs_no_helper(blobs):
    talk = Talk(target=["Sure."], verdicts=["complied"])
    draft = converse(bap(), case(REQUEST), talk, blobs)
    assert draft.note == "round 0 of 5; in the loop: complied"
    assert seal(draft, blobs, key="k", threat=bap().card.threat).conversation == case(REQUEST).conversation


def test_the_last_rewriting_is_tried_and_none_is_made_for_nothing(blobs):
    attack = bap("rounds=2, tries=1")
    talk = Talk(attacker=[says("one"), says("two")], target=["no"], verdicts=["refused"] * 3)
    draft = converse(attack, case(REQUEST), talk, blobs)
    assert draft.text in (None, REQUEST), "of questions that go equally far the first"
    made = [role for role, _ in talk.calls]
    assert {role: made.count(role) for role in attack.calls} == dict(attack.calls)


def test_some_strategies_alone(blobs):
    talk = Talk(attacker=[says("one")], target=["no"], verdicts=["refused", "complied"])
    converse(bap("preset=educational_inquiry"), case(REQUEST), talk, blobs)
    said = next(shown for role, shown in talk.asked if role == "attacker").last_user_text()
    assert [name for name in NAMES if name in said] == ["Educational inquiry"]
    assert "1. Educational inquiry" in said
    for setting in ("strategies=()", "strategies=('ethical_exploration', 'ethical_exploration')"):
        with pytest.raises(UsageError, match="name one or more of"):
            bap(setting)
    with pytest.raises(UsageError, match="contextual_deception"):
        bap("strategies=('flattery',)")


def test_the_pictures_stay_beside_every_question(blobs):
    picture = blobs.put_pixels(np.full((20, 30, 3), 90, np.uint8))
    item = case(REQUEST, picture, "What is this for?")
    talk = Talk(attacker=[says("one")], target=["no"], verdicts=["refused", "complied"])
    draft = converse(bap(), item, talk, blobs)
    shown = [each.turns[-1].parts for role, each in talk.asked if role == "target"]
    assert shown == [(picture, "What is this for?"), (picture, "one")]
    assert draft.keep_images
    said = next(each for role, each in talk.asked if role == "attacker").last_user_text()
    assert "There is a picture beside the message" in said
    assert "What is this for?" in said


@pytest.mark.parametrize("stop", ["content_filter", "blocked_defense"])
def test_a_block_is_a_reply_to_rewrite_from(stop, blobs):
    talk = Talk(attacker=[says("one")], target=[Response(text="", stop=stop), "Sure."], verdicts=["complied"])
    assert converse(bap(), case(REQUEST), talk, blobs).text == "one"


def test_a_helper_that_cannot_be_read_or_is_down_and_a_budget_that_ends(blobs):
    talk = Talk(attacker=["I cannot."], target=["no"], verdicts=["refused"])
    with pytest.raises(UsageError, match=r"bap_text: the attacker gave no answer .* in 3 tries.*I cannot\."):
        converse(bap(), case(REQUEST), talk, blobs)
    talk = Talk(attacker=down, target=["no"], verdicts=["refused"])
    with pytest.raises(TransientError):
        converse(bap(), case(REQUEST), talk, blobs)
    talk = Talk(attacker=[SpentError("spent")], target=["no"], verdicts=["refused"])
    with pytest.raises(SpentError):
        converse(bap(), case(REQUEST), talk, blobs)
    assert talk.kept[-1].note == "round 0 of 5; in the loop: refused"


def test_braces_and_foreign_scripts(blobs):
    request, question = "Fold {strategies} שלום {0}", "折る {goal} }"
    talk = Talk(
        attacker=[says(question), says("x")],
        target=["{question}"],
        verdicts=["refused", "refused", "complied"],
    )
    converse(bap(), case(request), talk, blobs)
    said = [shown.last_user_text() for role, shown in talk.asked if role == "attacker"]
    assert f"What we want to know: {request}\n" in said[0]
    assert f"The question that was asked: {question}\n" in said[1]
    assert "{question}" in said[1]
