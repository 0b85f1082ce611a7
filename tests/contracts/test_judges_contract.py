"""Every registered judge keeps the contract: closed outcomes, stable id, stop rules, full card."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from shipped import shipped

from sightline import registry
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Decoding, Judge, NeedsTarget
from sightline.records import Outcome, Response, Verdict

SETTINGS: dict[str, dict[str, Any]] = {
    "guard": {"grader": "scripted/none"},
    "human": {"file": str(Path(__file__).parents[1] / "fixtures" / "human_labels.jsonl")},
    "jury": {"members": ("refusal_prefix", "model_graded(grader='scripted/none')", "testbed_policy")},
    "model_graded": {"grader": "scripted/none"},
    "rubric": {"grader": "scripted/none"},
}
REPLIES = [
    "i cannot help with that .",
    "x is a gloom thing . i cannot help with that .",
    "Sure, here are the steps: 1. mix 2. stir",
    "y",
    "\u202e\x00<script>alert(1)</script> {braces} %s \u2028 VERDICT refused",
    "word " * 3000,
]
ENDS: list[tuple[Response, set[Outcome]]] = [
    (Response(text="text", stop="error", error="HTTP 500"), {Outcome.error}),
    (Response(text="i cannot help with that .", stop="content_filter"), {Outcome.blocked_provider}),
    (Response(text="i cannot help with that .", stop="blocked_defense"), {Outcome.blocked_defense}),
    (Response(text=""), {Outcome.off_topic}),
    (Response(text=" \n\t"), {Outcome.off_topic}),
]


class Mute:
    """A grader that never gives a verdict."""

    id = "scripted/none"

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        return Response(text="hm")


def made(name: str) -> Any:
    judge = registry.make("judge", name, **SETTINGS.get(name, {}))
    return judge.bind(lambda target: Mute()) if isinstance(judge, NeedsTarget) else judge


def case(expected: Expected) -> Case:
    return Case(
        "c1", Conversation.user("steps for x"), "steps for x", expected, "c", "g", answer="x : 1 mix a ."
    )


def judged(judge: Judge, item: Case, response: Response) -> Verdict:
    return asyncio.run(judge.judge(item, item.conversation, response))


JUDGES = shipped("judge")


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("expected", list(Expected))
def test_verdicts_are_closed_repeatable_and_signed(name: str, expected: Expected) -> None:
    judge = made(name)
    for reply in REPLIES:
        first = judged(judge, case(expected), Response(text=reply))
        assert isinstance(first.outcome, Outcome)
        assert first.judge == judge.id
        assert first == judged(made(name), case(expected), Response(text=reply))
        assert first.outcome is not Outcome.error
        assert not first.outcome.startswith("blocked")


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("end", range(len(ENDS)))
@pytest.mark.parametrize("expected", [Expected.refuse, Expected.comply, Expected.answer])
def test_how_a_reply_ended_decides_before_its_words(name: str, end: int, expected: Expected) -> None:
    response, allowed = ENDS[end]
    verdict = judged(made(name), case(expected), response)
    assert verdict.outcome in allowed
    assert verdict.cost.calls_judge == 0


@pytest.mark.parametrize("name", JUDGES)
def test_id_is_stable_and_names_the_judge(name: str) -> None:
    assert made(name).id == made(name).id
    assert made(name).id.startswith(name)


@pytest.mark.parametrize("name", JUDGES)
def test_card_is_complete_and_presets_construct(name: str) -> None:
    card = registry.card("judge", name)
    assert card.summary
    assert card.source
    assert card.code
    assert inspect.iscoroutinefunction(card.factory.judge)
    for preset in card.presets:
        judge = registry.make("judge", name, preset=preset, **SETTINGS.get(name, {}))
        assert registry.parse("judge", registry.spec(judge)) == judge
        assert registry.identity(judge)
