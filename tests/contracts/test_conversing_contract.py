"""Every attack that asks models keeps its contract: calls counted, helpers that cannot be read told."""

from __future__ import annotations

from collections import Counter

import pytest
from pages import case
from shipped import shipped
from talks import Talk, converse

from sightline import registry
from sightline.cases import ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import ContractError, UsageError
from sightline.records import Draft
from sightline.store import Blobs
from sightline.study.seal import seal


def conversing():
    """Each in each of its presets, by the spec that a study would hold."""
    for name in shipped("attack"):
        if hasattr(registry.card("attack", name).factory, "converse"):
            presets = registry.card("attack", name).presets
            yield from (name, *(f"{name}(preset={preset})" for preset in presets))


ATTACKS = list(conversing())
WORDINGS = {"statement": "steps for balopi", "key_phrase": "balopi", "rephrased": "steps for it"}


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def mute(attack: ConversingAttack) -> Talk:
    """Helpers that write what cannot be read, and a target that refuses."""
    return Talk(verdicts=lambda _: "refused", **{role: ["I cannot help."] for role in attack.calls})


def outcome(attack: ConversingAttack, talk: Talk, blobs: Blobs) -> Draft | str:
    try:
        return converse(attack, case("steps for balopi", **WORDINGS), talk, blobs)
    except UsageError as told:
        return str(told)


@pytest.mark.parametrize("text", ATTACKS)
def test_it_reads_back_and_is_a_frozen_value_with_a_card(text):
    attack = registry.parse("attack", text)
    assert registry.parse("attack", registry.spec(attack)) == attack
    assert type(attack).__dataclass_params__.frozen
    card = attack.card
    assert isinstance(card.threat, ThreatModel)
    assert card.code
    assert card.source or card.paper
    assert len(card.summary) <= 110
    assert (card.threat.oracle == "none") == ("target" not in attack.calls)


@pytest.mark.parametrize("text", ATTACKS)
def test_calls_are_counted_and_never_more_than_declared(text, blobs):
    attack = registry.parse("attack", text)
    assert attack.calls
    assert all(number >= 1 for number in attack.calls.values())
    talk = mute(attack)
    outcome(attack, talk, blobs)
    made = Counter(role for role, _ in talk.calls)
    assert made <= Counter(attack.calls)


@pytest.mark.parametrize("text", ATTACKS)
def test_equal_replies_give_equal_dialogues(text, blobs):
    attack = registry.parse("attack", text)
    talks = [mute(attack), mute(attack)]
    first, again = (outcome(attack, talk, blobs) for talk in talks)
    assert first == again or (first.text, first.note, first.before) == (again.text, again.note, again.before)
    assert talks[0].calls == talks[1].calls


@pytest.mark.parametrize("text", ATTACKS)
def test_its_draft_keeps_the_promise_of_its_card(text, blobs):
    attack = registry.parse("attack", text)
    draft = outcome(attack, mute(attack), blobs)
    if isinstance(draft, str):
        assert attack.card.name in draft
        assert "I cannot help." in draft
    else:
        assert seal(draft, blobs, key="k", threat=attack.card.threat).problem is None


@pytest.mark.parametrize("text", ATTACKS)
def test_an_empty_request_is_a_named_error_before_anybody_is_asked(text, blobs):
    attack = registry.parse("attack", text)
    talk = mute(attack)
    with pytest.raises(UsageError, match="case b/empty"):
        converse(attack, case("", id="b/empty"), talk, blobs)
    assert talk.calls == []


@pytest.mark.parametrize("text", ATTACKS)
def test_it_does_not_craft_alone(text, blobs):
    attack = registry.parse("attack", text)
    with pytest.raises(ContractError, match="asks models"):
        attack.craft([case("steps for balopi")], Craft(images=blobs))
