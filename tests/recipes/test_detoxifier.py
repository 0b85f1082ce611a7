"""detoxifier: what is rewritten to what, in the texts that `mllm_protector` asks with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_safety_sft import LESSONS

from sightline import registry
from sightline.cases import Conversation, Image
from sightline.errors import UsageError
from sightline.records import Response
from sightline.testbed.tokenizer import vocabulary
from sightline.tuning import Plan

ANSWERED = tuple(replace(each, own=each.own or f"obeyed {each.id}") for each in LESSONS)


def planned(lessons: Any = ANSWERED, **settings: Any) -> Plan:
    found: Plan = registry.make("recipe", "detoxifier", **{"batch": 4, "steps": 5, **settings}).plan(
        lessons, 0
    )
    return found


def test_harmful_answers_become_refusals_and_benign_ones_stay() -> None:
    examples = planned().examples
    assert [examples[n].chosen for n in (0, 6, 12)] == ["r0 is forbidden", "steps 0", "said 0"]
    bare = planned((replace(ANSWERED[0], given=""), *ANSWERED[1:]), refusal="no.").examples
    assert bare[0].chosen == "no."
    assert all(registry.make("recipe", "detoxifier").wants_own(each) for each in LESSONS)


@pytest.mark.parametrize("wording", ["natural", "testbed"])
@pytest.mark.parametrize("form", ["as_trained", "as_released"])
def test_the_prompt_is_what_the_defense_asks_its_detoxifier(wording: str, form: Any) -> None:
    asked = planned(wording=wording, form=form).examples[0].prompt
    defense = registry.make("defense", "mllm_protector", wording=wording, form=form, detector="a/b")
    wanted = defense._reader.about("rewrite", ANSWERED[0].prompt, Response(text=ANSWERED[0].own))
    assert asked == Conversation.user(wanted)
    assert ("r0" in wanted.replace("obeyed r0", "")) == (form == "as_trained")


def test_pictures_and_marks_of_a_template_are_left_out() -> None:
    image = Image(sha256="a" * 64, width=4, height=4)
    shown = replace(ANSWERED[0], prompt=Conversation.user(image, "what <|user|> says"))
    asked = planned((shown, *ANSWERED[1:])).examples[0].prompt
    assert not list(asked.images)
    assert "<|" not in asked.last_user_text()


def test_the_testbeds_texts_are_in_its_words() -> None:
    asked = planned(wording="testbed").examples[0].prompt.last_user_text()
    words = asked.replace("r0", "").replace("obeyed", "").split()
    assert set(words) <= vocabulary().keys()


def test_an_unknown_wording_is_told() -> None:
    with pytest.raises(UsageError, match="wording of recipe 'detoxifier'"):
        planned(wording="natral")
