import asyncio
from types import SimpleNamespace

import pytest

from sightline import registry
from sightline.cases import Conversation, Image, Turn
from sightline.defenses._texts import wordings
from sightline.errors import UsageError
from sightline.records import Response
from sightline.testbed import wordings as testbed

PICTURE = Image("ab" * 32, 4, 4)
BANK = wordings("system_prompt")


def shown(conversation, **settings):
    """What the target sees."""
    seen = []

    async def generate(conversation, *, purpose="answer"):
        seen.append(conversation)
        return Response(text="ok")

    response = asyncio.run(
        registry.make("defense", "system_prompt", **settings).respond(
            conversation, SimpleNamespace(generate=generate)
        )
    )
    assert response.text == "ok"
    assert len(seen) == 1
    return seen[0]


def test_the_instruction_is_a_system_turn_before_everything():
    asked = Conversation.user(PICTURE, "what is it")
    found = shown(asked, prompt="detailed")
    assert found.turns == (Turn("system", (BANK["detailed"]["before"],)), *asked.turns)


def test_a_system_turn_of_the_case_stays_behind_it():
    found = shown(Conversation.user("hi").with_system("be kind"), prompt="generic")
    assert found.turns[0] == Turn("system", (BANK["generic"]["before"], "be kind"))
    assert len(found.turns) == 2


def test_reminders_stand_before_and_after_the_request_and_the_picture_stays():
    found = shown(Conversation.user(PICTURE, "what is it"), prompt="self_reminder")
    before, after = BANK["self_reminder"]["before"], BANK["self_reminder"]["after"]
    assert found.turns == (Turn("system", (before,)), Turn("user", (PICTURE, "what is it", after)))
    found = shown(Conversation.user(PICTURE, "what is it"), prompt="self_reminder", placement="user")
    assert found.turns == (Turn("user", (before, PICTURE, "what is it", after)),)


def test_only_the_last_user_turn_is_wrapped():
    dialogue = Conversation.user("one").then(Turn("assistant", ("two",)), Turn("user", ("three",)))
    found = shown(dialogue, prompt="goal_priority", placement="user")
    assert found.turns[:2] == dialogue.turns[:2]
    assert found.turns[2].parts[1] == "three"


def test_the_testbeds_wordings_are_those_it_was_trained_with():
    trained = tuple(BANK[name]["before"] for name in ("testbed", "testbed_2"))
    assert trained == testbed.DEFENSE_PROMPTS_TRAIN
    assert BANK["testbed_heldout"]["before"] == testbed.DEFENSE_PROMPT_HELDOUT


def test_the_bank_is_complete_and_well_formed():
    assert {"generic", "detailed", "self_reminder", "goal_priority"} < set(BANK)
    for name, texts in BANK.items():
        assert set(texts) <= {"before", "after"}, name
        assert all(text == text.strip() and len(text) > 10 for text in texts.values()), name
        assert ("after" in texts) == (name in {"self_reminder", "goal_priority"})


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'detailed'"):
        registry.make("defense", "system_prompt", prompt="detaild")
    with pytest.raises(UsageError, match="placement"):
        registry.make("defense", "system_prompt", placement="assistant")
