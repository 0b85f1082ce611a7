import asyncio
from dataclasses import dataclass, field, replace

import pytest

from sightline import registry
from sightline.cases import Conversation, Image, Turn
from sightline.contracts import Decoding
from sightline.errors import ContractError, TransientError, UsageError
from sightline.records import Cost, Response
from sightline.targets.defended import DefendedTarget

PICTURE = Image("ab" * 32, 4, 4)
ASKED = Conversation.user(PICTURE, "steps for x")
SETTINGS = Decoding(max_tokens=7, seed=3)


@dataclass
class Inner:
    """A target that gives prepared answers in turn and keeps what it was asked."""

    answers: list
    id: str = "inner"
    asked: list = field(default_factory=list)

    async def generate(self, conversation, decoding):
        self.asked.append((conversation, decoding))
        answer = self.answers[len(self.asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def said(text, *, stop="stop", flags=(), tokens=2):
    cost = Cost(calls_target=1, tokens_in=10, tokens_out=tokens, flops=1e3)
    return Response(text=text, stop=stop, flags=flags, cost=cost)


def make(body):
    """A defense whose whole behavior is the coroutine function `body`, as a third party would write it."""

    @registry.defense("test_only")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class TestOnly:
        async def respond(self, conversation, ctx):
            return await body(conversation, ctx.generate)

    return TestOnly()


@pytest.fixture(autouse=True)
def _forget_test_defense():
    yield
    registry._cards.pop(("defense", "test_only"), None)


def ask(defense, inner, conversation=ASKED):
    return asyncio.run(DefendedTarget(defense, inner).generate(conversation, SETTINGS))


async def twice(conversation, generate):
    first = await generate(conversation)
    second = await generate(
        conversation.then(Turn("assistant", (first.text,)), Turn("user", ("sure ?",))), purpose="check"
    )
    return Response(text="shown", stop="stop", flags=("mine", *second.flags))


def test_every_inner_call_is_recorded_and_counted():
    inner = Inner([said("one", flags=("batch1",)), said("two", tokens=5)])
    response = ask(make(twice), inner)
    assert [(c.purpose, c.asked, c.text, c.tokens_in, c.tokens_out) for c in response.calls] == [
        ("answer", "steps for x", "one", 10, 2),
        ("check", "sure ?", "two", 10, 5),
    ]
    cost = replace(response.cost, latency=0.0, cpu_seconds=0.0)
    assert cost == Cost(calls_target=2, tokens_in=20, tokens_out=7, flops=2e3)
    assert response.raw == "one"
    assert response.flags == ("batch1", "mine")
    assert [decoding for _, decoding in inner.asked] == [SETTINGS, SETTINGS]


def test_raw_is_kept_only_where_the_user_sees_something_else():
    async def same(conversation, generate):
        return await generate(conversation)

    response = ask(make(same), Inner([said("one")]))
    assert (response.text, response.raw, len(response.calls)) == ("one", None, 1)


def test_nested_defenses_keep_the_bare_models_calls_and_first_answer():
    inner = Inner([said("one"), said("two"), said("three"), said("four")])
    middle = DefendedTarget(make(twice), inner)
    response = ask(make(twice), middle)
    assert [call.purpose for call in response.calls] == [
        "answer/answer",
        "answer/check",
        "check/answer",
        "check/check",
    ]
    assert response.cost.calls_target == len(response.calls) == len(inner.asked) == 4
    assert response.raw == "one"


@pytest.mark.parametrize("stop", ["content_filter", "error"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_block_or_an_error_inside_is_passed_on_not_made_a_refusal(stop, place):
    """D11, and the toolbox defect that turned exceptions into blocks."""
    answers = [said("one"), said("two")]
    answers[place] = Response(text="", stop=stop, error="why", cost=Cost(calls_target=1))
    inner = Inner(answers)
    response = ask(make(twice), inner)
    assert (response.stop, response.error) == (stop, "why")
    assert len(inner.asked) == place + 1  # the defense is left at once
    assert response.cost.calls_target == place + 1
    assert response.raw == (None if place == 0 else "one")


def test_a_defense_that_swallows_the_interruption_cannot_hide_the_error():
    async def swallow(conversation, generate):
        try:
            return await generate(conversation)
        except Exception:
            return Response(text="I cannot help.", stop="blocked_defense")

    response = ask(make(swallow), Inner([Response(text="", stop="error", error="500")]))
    assert (response.stop, response.error, response.text) == ("error", "500", "")


@pytest.mark.parametrize("failure", [TransientError("429"), UsageError("no such case")])
def test_exceptions_of_the_inner_target_propagate(failure):
    with pytest.raises(type(failure)):
        ask(make(twice), Inner([failure]))


def test_an_exception_of_the_defense_propagates():
    async def broken(conversation, generate):
        await generate(conversation)
        raise UsageError("no detector weights")

    with pytest.raises(UsageError, match="no detector weights"):
        ask(make(broken), Inner([said("one")]))


def test_a_defense_cannot_answer_with_another_model():
    """D12: text that did not come from the target is no answer of the target."""

    async def foreign(conversation, generate):
        return Response(text="my own answer")

    with pytest.raises(ContractError, match="without asking its target"):
        ask(make(foreign), Inner([]))

    async def guard(conversation, generate):
        return Response(text="blocked", stop="blocked_defense")

    response = ask(make(guard), Inner([]))
    assert (response.stop, response.cost.calls_target, response.calls, response.raw) == (
        "blocked_defense",
        0,
        (),
        None,
    )


def test_a_defense_must_return_a_response():
    async def nothing(conversation, generate):
        await generate(conversation)

    with pytest.raises(ContractError, match="returned NoneType"):
        ask(make(nothing), Inner([said("one")]))


def test_an_unreadable_picture_never_reaches_the_defense():
    """D1."""
    inner = Inner([said("one")])
    broken = Conversation.user(Image("", 0, 0, problem="row 7: truncated"), "text")
    with pytest.raises(UsageError, match="row 7"):
        ask(make(twice), inner, broken)
    assert inner.asked == []


def test_a_defense_cannot_send_an_unreadable_picture_either():
    async def swap(conversation, generate):
        return await generate(conversation.with_last_user(Image("", 0, 0, problem="lost"), "text"))

    with pytest.raises(UsageError, match="lost"):
        ask(make(swap), Inner([said("one")]))


def test_the_id_follows_settings_and_inner_target():
    one = DefendedTarget(registry.make("defense", "self_moderation"), Inner([])).id
    two = DefendedTarget(registry.make("defense", "self_moderation", rounds=2), Inner([])).id
    three = DefendedTarget(registry.make("defense", "self_moderation"), Inner([], id="other")).id
    assert len({one, two, three}) == 3
    assert one.endswith(":inner")
    assert three.endswith(":other")
