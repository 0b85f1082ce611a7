"""What a defense may do besides asking its target: helpers, pictures, chance, decoding, a look inside."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from sightline import registry
from sightline.cases import Conversation, Turn
from sightline.contracts import Decoding
from sightline.defending import Inner, Steering
from sightline.defenses._guarding import REFUSAL, blocked, failed, reading_of, step_of
from sightline.errors import ContractError, TransientError, UsageError
from sightline.records import Cost, Outcome, Response, Verdict
from sightline.store import Blobs
from sightline.targets import _behind
from sightline.targets.defended import DefendedTarget

ASKED = Conversation.user("steps for x")
SETTINGS = Decoding(max_tokens=7, seed=3)


@dataclass
class Told:
    """A target that says prepared things in turn, and keeps what it was asked."""

    answers: list
    id: str = "inner#00"
    asked: list = field(default_factory=list)

    async def generate(self, conversation, decoding):
        self.asked.append((conversation, decoding))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        cost = Cost(calls_target=1, tokens_in=5, tokens_out=2)
        return answer if isinstance(answer, Response) else Response(text=answer, cost=cost)


@dataclass
class Opened(Told):
    """A target that can be looked into."""

    written: list = field(default_factory=list)

    def inside(self):
        return self

    layers, width = 2, 3

    async def states(self, conversation):
        return np.ones((2, 3), np.float32)

    async def next_scores(self, conversation, prefix=""):
        return np.array([len(prefix), 0], np.float32)

    async def write(self, conversation, decoding, how):
        self.written.append((conversation, decoding, how))
        return Response(text=f"{how.prefix}went on", cost=Cost(calls_target=1, tokens_out=3))


def make(body, helpers=None, looks=False):
    """A defense whose whole behavior is `body(conversation, ctx)`."""

    @registry.defense("test_only")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class TestOnly:
        calls = 1
        helper_calls = 1
        looks_inside = looks

        @property
        def helpers(self):
            return dict(helpers or {})

        async def respond(self, conversation, ctx):
            return await body(conversation, ctx)

    return TestOnly()


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(_behind, "BACKOFF_SECONDS", 0.0)
    yield
    registry._cards.pop(("defense", "test_only"), None)


def ask(defense, inner, images=None, helpers=None, conversation=ASKED, settings=SETTINGS):
    opener = None if helpers is None else helpers.__getitem__
    target = DefendedTarget(defense, inner, images, opener)
    return asyncio.run(target.generate(conversation, settings))


async def guarded(conversation, ctx):
    said = await ctx.ask("guard", conversation, purpose="check")
    if said.text == "unsafe" or said.stop != "stop":
        return blocked(None, REFUSAL, f"guard:{said.stop}")
    return await ctx.generate(conversation)


def test_calls_to_helpers_are_recorded_and_counted_apart():
    inner, guard = Told(["sure"]), Told(["safe"], id="guard")
    response = ask(make(guarded, {"guard": "a/b"}), inner, helpers={"a/b": guard})
    assert response.text == "sure"
    assert [(call.purpose, call.text) for call in response.calls] == [("check", "safe"), ("answer", "sure")]
    assert (response.cost.calls_target, response.cost.calls_aux, response.cost.tokens_in) == (1, 1, 10)
    assert guard.asked[0][1] == Decoding(max_tokens=512, temperature=0.0)


def test_a_guard_may_block_before_the_target_is_asked():
    inner = Told(["sure"])
    response = ask(make(guarded, {"guard": "a/b"}), inner, helpers={"a/b": Told(["unsafe"])})
    assert (response.text, response.stop, response.raw) == (REFUSAL, "blocked_defense", None)
    assert inner.asked == []


def test_a_helper_that_is_down_is_asked_again_and_then_is_an_error_for_the_defense_to_read():
    down = Told([TransientError("503")] * 3 + ["safe"])
    assert ask(make(guarded, {"guard": "a/b"}), Told(["sure"]), helpers={"a/b": down}).text == "sure"
    dead = Told([TransientError("503")])
    response = ask(make(guarded, {"guard": "a/b"}), Told(["sure"]), helpers={"a/b": dead})
    assert (response.stop, response.flags, len(dead.asked)) == (
        "blocked_defense",
        ("guard:error",),
        _behind.TRIES,
    )


def test_the_helper_is_part_of_the_id_and_has_to_be_named():
    one, two = Told([], id="one"), Told([], id="two")
    defense = make(guarded, {"guard": "a/b"})
    ids = {DefendedTarget(defense, Told([]), None, lambda _, found=found: found).id for found in (one, two)}
    assert len(ids) == 2
    with pytest.raises(UsageError, match=r"'test_only' asks a model .* write `guard: TARGET`"):
        DefendedTarget(make(guarded, {"guard": ""}), Told([]), None, lambda name: one)

    def absent(name):
        raise UsageError(f"{name} is not there")

    with pytest.raises(UsageError, match="role 'guard': a/b is not there"):
        DefendedTarget(defense, Told([]), None, absent)


def test_a_role_that_was_not_declared_is_a_broken_promise():
    with pytest.raises(ContractError, match="'other', which is none of its helpers"):
        ask(make(lambda conversation, ctx: ctx.ask("other", conversation)), Told(["x"]))


def test_decoding_can_be_changed_for_one_call():
    async def twice(conversation, ctx):
        await ctx.generate(conversation, seed=9, temperature=0.7, max_tokens=2)
        return await ctx.generate(conversation)

    inner = Told(["one", "two"])
    ask(make(twice), inner)
    assert [decoding for _, decoding in inner.asked] == [
        Decoding(max_tokens=2, temperature=0.7, seed=9),
        SETTINGS,
    ]


def test_a_changed_picture_is_a_file_of_the_run(tmp_path):
    blobs = Blobs(tmp_path)
    picture = blobs.put_pixels(np.zeros((4, 4, 3), np.uint8))

    async def lighter(conversation, ctx):
        (shown,) = conversation.images
        changed = ctx.images.put_pixels(ctx.images.pixels(shown) + 1)
        return await ctx.generate(Conversation.user(changed, "look"))

    inner = Told(["seen"])
    ask(make(lighter), inner, blobs, conversation=Conversation.user(picture, "look"))
    (sent,) = inner.asked[0][0].images
    assert blobs.pixels(sent).max() == 1 == blobs.pixels(sent).min()
    with pytest.raises(ContractError, match="without a place for pictures"):
        ask(make(lighter), Told(["x"]), conversation=Conversation.user(picture, "look"))


def test_chance_follows_from_the_request_and_the_seed():
    drawn = []

    async def random(conversation, ctx):
        drawn.append(int(ctx.rng("jpeg").integers(1 << 60)))
        assert int(ctx.rng("jpeg").integers(1 << 60)) == drawn[-1] != int(ctx.rng("blur").integers(1 << 60))
        return await ctx.generate(conversation)

    for conversation, seed in ((ASKED, 3), (ASKED, 3), (ASKED, 4), (Conversation.user("y"), 3)):
        ask(make(random), Told(["x"]), conversation=conversation, settings=Decoding(seed=seed))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_a_look_inside_is_counted_and_refused_where_there_is_none():
    async def looks(conversation, ctx):
        states = await ctx.states(conversation)
        scores = await ctx.next_scores(conversation, "Sure")
        how = Inner(prefix=f"{states.sum():.0f} {scores[0]:.0f} ", steering=Steering(vectors={}, gates={}))
        return await ctx.generate(conversation, how=how)

    inner = Opened(["never"])
    response = ask(make(looks, looks=True), inner)
    assert response.text == "6 4 went on"
    assert [call.purpose for call in response.calls] == ["states", "next_scores", "answer"]
    assert (response.cost.forwards, response.cost.calls_target) == (2, 1)
    assert inner.asked == []
    with pytest.raises(UsageError, match=r"'test_only' looks into the model, and inner cannot be"):
        DefendedTarget(make(looks, looks=True), Told(["x"]))
    with pytest.raises(UsageError, match="cannot be looked into"):
        ask(make(looks), Told(["x"]))


def test_in_a_stack_the_outer_defense_sees_what_the_inner_one_lets_through():
    async def marks(conversation, ctx):
        found = await ctx.generate(conversation.then(Turn("assistant", ("?",)), Turn("user", ("again",))))
        return blocked(found, "inner says no") if found.text == "bad" else found

    async def counts(conversation, ctx):
        first = await ctx.generate(conversation, purpose="first")
        assert first.text == "inner says no"
        return await ctx.generate(conversation)

    inner = DefendedTarget(make(marks), Told(["bad"]))
    outer = DefendedTarget(make(counts), inner)
    response = asyncio.run(outer.generate(ASKED, SETTINGS))
    assert [call.purpose for call in response.calls] == ["first/answer", "answer/answer"]
    assert (response.text, response.stop, response.raw) == ("inner says no", "blocked_defense", "bad")
    assert response.cost.calls_target == 2


@pytest.mark.parametrize(
    ("outcome", "reading"),
    [
        (Outcome.complied, "unsafe"),
        (Outcome.partial, "unsafe"),
        (Outcome.refused, "safe"),
        (Outcome.off_topic, "safe"),
        (Outcome.blocked_provider, "safe"),
        (Outcome.unparsed, "unparsed"),
        (Outcome.error, "failed"),
    ],
)
def test_a_guard_has_four_readings(outcome, reading):
    assert reading_of(Verdict(outcome=outcome, judge="g")) == reading


def test_what_follows_from_a_reading_is_never_a_silent_pass():
    assert step_of("safe", on_unparsed="closed", on_failure="closed") == "pass"
    assert step_of("unsafe", on_unparsed="open", on_failure="open") == "block"
    assert step_of("unparsed", on_unparsed="error", on_failure="open") == "error"
    assert step_of("unparsed", on_unparsed="open", on_failure="error") == "pass"
    assert step_of("failed", on_unparsed="open", on_failure="closed") == "block"
    answer = Response(text="reply", flags=("a",))
    assert failed(answer, "guard down").stop == "error" == failed(None, "guard down").stop
    assert failed(answer, "guard down", "b").flags == ("a", "b")
    assert blocked(answer, REFUSAL).text == REFUSAL
