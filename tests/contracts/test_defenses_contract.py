"""What every registered defense keeps, whoever wrote it."""

import asyncio
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blind import BLIND
from shipped import shipped

from sightline import registry
from sightline.cases import Conversation, Image, Turn
from sightline.contracts import Decoding
from sightline.defending import NeedsHelpers
from sightline.defenses._readers import READERS
from sightline.defenses._texts import wording
from sightline.defenses.cider import Cider
from sightline.digests import digest, sha256_bytes
from sightline.fitting import Learned, write_state
from sightline.records import Cost, Response
from sightline.store import Blobs, encode_png
from sightline.targets.defended import DefendedTarget

PIXELS = [np.full((4, 4, 3), level, np.uint8) for level in (90, 200)]
PICTURE, OTHER = (Image(sha256_bytes(encode_png(pixels)), 4, 4) for pixels in PIXELS)
CONVERSATIONS = {
    "text": Conversation.user("what is it"),
    "picture": Conversation.user(PICTURE, "what is it"),
    "pictures": Conversation.user(PICTURE, OTHER, "what is it"),
    "picture only": Conversation.user(PICTURE),
    "system": Conversation.user(PICTURE, "what is it").with_system("be kind"),
    "dialogue": Conversation.user(PICTURE, "one").then(Turn("assistant", ("two",)), Turn("user", ("three",))),
}

CHANGES_PICTURES = {"purify", "smoothing", "jailguard"}
CHANGES_TEXT = {"smoothing", "jailguard"}
DETECTED = {"mllm_protector", "eta"}
"""Those with a detector, which answers in the words of their wording."""


LEARNED = {
    "inferaligner": Learned(
        {"s": np.ones((1, 2)), "t": np.ones((1, 2)), "bias": np.array([-9.0])}, {"layers": [0]}
    ),
    "hidden_detect": Learned(
        facts={"first": 0, "last": 0, "blocks": 1, "threshold": 2.0, "tokens": [0], "wording": "natural"}
    ),
}
"""What those that learn have learned of `Inner`, in which nothing is harmful."""
STATES = Path(tempfile.mkdtemp())


def learned(found):
    """The defense with a state."""
    what, path = LEARNED[found.card.name], STATES / f"{digest(registry.spec(found))}.json"
    if "wording" in what.facts:
        what = replace(what, facts={**what.facts, "wording": found.wording})
    write_state(path, found.card.name, "inner", what, {})
    return replace(found, state=str(path))


def made(name, preset):
    """A defense; one that asks helpers with some named, one that learns with a state."""
    found = registry.make("defense", name, preset=preset)
    if name in LEARNED:
        found = learned(found)
    needs = isinstance(found, NeedsHelpers) and "" in found.helpers.values()
    setting = "detector" if name in DETECTED else "model"
    return replace(found, **{setting: "a/helper"}) if needs else found


def methods():
    return [
        pytest.param(made(name, preset), id=f"{name}-{preset}")
        for name in shipped("defense")
        for preset in ("default", *registry.card("defense", name).presets)
    ]


class Guard:
    """A helper that finds everything safe, in the grammar of Llama Guard or in the words of a wording."""

    id = "guard"

    def __init__(self, defense):
        asked = defense.card.name in DETECTED
        self.safe = wording("mllm_protector", defense.wording, "wording")["safe"] if asked else "safe"

    async def generate(self, conversation, decoding):
        return Response(text=self.safe, cost=Cost(calls_target=1, tokens_in=3, tokens_out=1))


class Inner:
    id = "inner"

    def __init__(self, stop="stop"):
        self.stop = stop
        self.asked = []

    def inside(self):
        return self

    async def states(self, conversation):
        return np.ones((1, 2), np.float32)

    async def lens(self, states):
        return states

    async def write(self, conversation, decoding, how):
        return await self.generate(conversation, decoding)

    async def generate(self, conversation, decoding):
        self.asked.append(conversation)
        if self.stop == "stop":
            return Response(text="a cube", cost=Cost(calls_target=1, tokens_in=3, tokens_out=2))
        return Response(text="", stop=self.stop, error="why", cost=Cost(calls_target=1))


@pytest.fixture(autouse=True)
def _blind(monkeypatch):
    """No test here needs the extra `ocr`, nor the tower of a model."""
    monkeypatch.setitem(READERS, "rapidocr", BLIND)
    monkeypatch.setattr(Cider, "_drop", lambda *_: 0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """`run(defense, inner, conversation)`, with the pictures above at hand."""
    blobs = Blobs(tmp_path_factory.mktemp("pictures"))
    for pixels in PIXELS:
        blobs.put_pixels(pixels)
    return lambda defense, inner, conversation: asyncio.run(
        DefendedTarget(defense, inner, blobs, lambda name: Guard(defense)).generate(conversation, Decoding())
    )


@pytest.mark.parametrize("defense", methods())
@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_the_request_reaches_the_target_whole_and_every_call_is_counted(run, defense, kind):
    conversation, inner = CONVERSATIONS[kind], Inner()
    response = run(defense, inner, conversation)
    assert response.cost.calls_target == len(inner.asked) > 0
    looks = sum(call.purpose == "states" for call in response.calls)
    assert response.cost.calls_target + response.cost.calls_aux + looks == len(response.calls)
    assert looks == response.cost.forwards
    assert len(inner.asked) <= defense.calls
    assert all(asked.turns[-1].role == "user" for asked in inner.asked)
    first = inner.asked[0]  # the answer; later calls may ask for a caption, or in text alone
    if defense.card.name in CHANGES_PICTURES:
        assert len(list(first.images)) == len(list(conversation.images))
    else:
        assert list(first.images) == list(conversation.images)
    words = "\n".join(turn.text for turn in first.turns)
    if defense.card.name not in CHANGES_TEXT:
        assert all(turn.text in words for turn in conversation.turns)
    assert response.stop in ("stop", "blocked_defense")
    assert (response.raw is None) == (response.text == "a cube")


@pytest.mark.parametrize("defense", methods())
@pytest.mark.parametrize("stop", ["content_filter", "error"])
def test_a_block_or_an_error_is_passed_on(run, defense, stop):
    response = run(defense, Inner(stop), CONVERSATIONS["picture"])
    assert (response.text, response.stop, response.error) == ("", stop, "why")


@pytest.mark.parametrize("defense", methods())
def test_the_same_request_gives_the_same_response(run, defense):
    one, two = (run(defense, Inner(), CONVERSATIONS["picture"]) for _ in range(2))
    clocks = {"seconds": 0.0, "latency": 0.0, "cpu_seconds": 0.0}
    assert replace(one, cost=replace(one.cost, **clocks)) == replace(two, cost=replace(two.cost, **clocks))


@pytest.mark.parametrize("defense", methods())
def test_its_spec_reads_back_and_its_card_is_complete(defense):
    assert registry.parse("defense", registry.spec(defense)) == defense
    card = defense.card
    assert card.summary.endswith(".")
    assert card.source
    assert re.fullmatch(r"[0-9a-f]{32}", card.code)
    module = Path(__file__).parents[1] / "defenses" / f"test_{card.name}.py"
    assert module.exists(), "every defense has a test file of its own"
