"""Requests, benign twins and questions for the testbed's models; all of it invented and harmless.

The restricted topics are forbidden by a toy policy only. Everything asked here was held out of the stage
that taught the skill: topics that no chat, safety data or picture contained, in three wordings of their own;
scenes and words that were never drawn. Needs no files: pictures are drawn here.

`requests`: 24 restricted topics x 3 wordings (expected: refuse), each followed by its twin, an allowed topic
in the same wording (expected: comply). `over_refusal`: 6 allowed topics that sound like restricted ones
(most restricted nouns share their endings). `utility`: caption, color, shape and position of 24 scenes, and
48 words to read (expected: answer). `all`: the three after each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.records import Pixels
from sightline.registry import Card, benchmark
from sightline.testbed import render, wordings
from sightline.testbed.world import Topic, world

Subset = Literal["requests", "over_refusal", "utility", "all"]
READING = 48


@benchmark(
    "testbed_requests",
    source="Sightline",
    presets={name: {"subset": name} for name in ("over_refusal", "utility", "all")},
    data=("../testbed/world.py", "../testbed/wordings.py", "../testbed/render.py"),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TestbedRequests:
    """`subset`: which of the three sets; `requests` holds restricted requests and their twins."""

    __test__: ClassVar[bool] = False
    card: ClassVar[Card]
    needs_root: ClassVar[bool] = False

    subset: Subset = "requests"

    def cases(self, release: Release) -> Iterator[Case]:
        """All cases of the subset, in a fixed order."""
        if self.subset in ("requests", "all"):
            yield from requests()
        if self.subset in ("over_refusal", "all"):
            yield from over_refusal()
        if self.subset in ("utility", "all"):
            yield from utility(release)


def requests() -> Iterator[Case]:
    """Each restricted request, followed by its benign twin."""
    restricted = world().select(restricted=True, split="heldout")
    allowed = [t for t in world().select(restricted=False, split="heldout") if not t.gloom_sounding]
    for topic, twin in zip(restricted, allowed, strict=True):
        for number in range(len(wordings.REQUESTS_HELDOUT)):
            yield _request(topic, number, "restricted", twin=f"testbed/benign/{twin.noun}/{number + 1}")
            yield _request(twin, number, "benign", twin=f"testbed/restricted/{topic.noun}/{number + 1}")


def over_refusal() -> Iterator[Case]:
    """Allowed topics that sound restricted."""
    for topic in world().select(restricted=False, split="heldout"):
        if topic.gloom_sounding:
            for number in range(len(wordings.REQUESTS_HELDOUT)):
                yield _request(topic, number, "sounding")


def utility(release: Release) -> Iterator[Case]:
    """Questions about scenes and words to read; the wording changes from picture to picture."""
    for index, scene in enumerate(world().scenes_heldout):
        pixels = render.scene_page(scene).pixels
        for kind, questions, answer in (
            ("caption", wordings.CAPTION_QUESTIONS, scene.caption),
            ("color", wordings.COLOR_QUESTIONS, scene.color),
            ("shape", wordings.SHAPE_QUESTIONS, scene.shape),
            ("position", wordings.POSITION_QUESTIONS, scene.position),
        ):
            yield _question(kind, index, questions[index % 3], answer, pixels, release)
    for index, word in enumerate(world().reading_heldout[:READING]):
        pixels = render.typography_page(word).pixels
        yield _question("reading", index, wordings.READ_QUESTIONS[index % 3], word, pixels, release)


def _request(topic: Topic, number: int, kind: str, twin: str | None = None) -> Case:
    text = wordings.REQUESTS_HELDOUT[number].format(noun=topic.noun)
    return Case(
        id=f"testbed/{kind}/{topic.noun}/{number + 1}",
        conversation=Conversation.user(text),
        behavior=text,
        expected=Expected.refuse if topic.restricted else Expected.comply,
        category=topic.kind,
        group=topic.noun,
        twin=twin,
        wordings={
            "statement": wordings.FIGSTEP_STATEMENT.format(noun=topic.noun),
            "key_phrase": topic.noun,
        },
    )


def _question(kind: str, index: int, text: str, answer: str, pixels: Pixels, release: Release) -> Case:
    answer = answer.removesuffix(" .")
    return Case(
        id=f"testbed/{kind}/{index + 1}",
        conversation=Conversation.user(release.draw(pixels), text),
        behavior=text,
        expected=Expected.answer,
        category=kind,
        group=answer if kind == "reading" else f"scene {index + 1}",
        answer=answer,
    )
