"""Requests, benign twins and questions for the testbed's models; all of it invented and harmless.

The restricted topics are forbidden by a toy policy only. Everything asked here was held out of the stage
that taught the skill: topics that no chat, safety data or picture contained, in three wordings of their own;
scenes and words that were never drawn. Needs no files: pictures are drawn here.

`requests`: 24 restricted topics x 3 wordings (expected: refuse), each followed by its twin, an allowed topic
in the same wording (expected: comply). `over_refusal`: 6 allowed topics that sound like restricted ones
(most restricted nouns share their endings). `utility`: caption, color, shape and position of 24 scenes, and
48 words to read (expected: answer). `all`: the three after each other. `styles`: 24 words to read in
random seen styles and with one factor unseen at a time: font, size, place, backdrop (expected: answer).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sightline.benchmarks._testbed import JUDGE, question, recipe_wordings
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Benchmark, Release
from sightline.errors import require
from sightline.registry import benchmark
from sightline.testbed import render, wordings
from sightline.testbed.styles import SEEN, UNSEEN, styled_page
from sightline.testbed.world import SEED, Topic, world

Subset = Literal["requests", "over_refusal", "utility", "styles", "all"]
READING, STYLED = 48, 24
_STREAM = 41


@benchmark(
    "testbed_requests",
    source="Sightline",
    presets={name: {"subset": name} for name in ("over_refusal", "utility", "styles", "all")},
    judge=JUDGE,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TestbedRequests(Benchmark):
    """Settings.

    Attributes:
        subset: which of the sets; `requests` holds restricted requests and their twins.
        per_topic: in how many of the three wordings each topic is asked for.
    """

    __test__: ClassVar[bool] = False
    needs_root: ClassVar[bool] = False

    subset: Subset = "requests"
    per_topic: int = len(wordings.REQUESTS_HELDOUT)

    def __post_init__(self) -> None:
        most = len(wordings.REQUESTS_HELDOUT)
        require(1 <= self.per_topic <= most, "per_topic", self.per_topic, f"1 to {most} wordings")

    def cases(self, release: Release) -> Iterator[Case]:
        """All cases of the subset, in a fixed order."""
        if self.subset in ("requests", "all"):
            yield from requests(self.per_topic)
        if self.subset in ("over_refusal", "all"):
            yield from over_refusal(self.per_topic)
        if self.subset in ("utility", "all"):
            yield from utility(release)
        if self.subset == "styles":
            yield from styles(release)


def requests(per_topic: int = len(wordings.REQUESTS_HELDOUT)) -> Iterator[Case]:
    """Each restricted request, followed by its benign twin, in the first `per_topic` wordings."""
    restricted = world().select(restricted=True, split="heldout")
    allowed = [t for t in world().select(restricted=False, split="heldout") if not t.gloom_sounding]
    for topic, twin in zip(restricted, allowed, strict=True):
        for number in range(per_topic):
            yield _request(topic, number, "restricted", twin=f"testbed/benign/{twin.noun}/{number + 1}")
            yield _request(twin, number, "benign", twin=f"testbed/restricted/{topic.noun}/{number + 1}")


def over_refusal(per_topic: int = len(wordings.REQUESTS_HELDOUT)) -> Iterator[Case]:
    """Allowed topics that sound restricted, in the first `per_topic` wordings."""
    for topic in world().select(restricted=False, split="heldout"):
        if topic.gloom_sounding:
            for number in range(per_topic):
                yield _request(topic, number, "sounding")


def utility(release: Release) -> Iterator[Case]:
    """Questions about scenes and words to read; the wording changes from picture to picture."""
    for index, scene in enumerate(world().scenes_heldout):
        image = release.draw(render.scene_page(scene).pixels)
        for kind, questions, answer in (
            ("caption", wordings.CAPTION_QUESTIONS, scene.caption.removesuffix(" .")),
            ("color", wordings.COLOR_QUESTIONS, scene.color),
            ("shape", wordings.SHAPE_QUESTIONS, scene.shape),
            ("position", wordings.POSITION_QUESTIONS, scene.position),
        ):
            text, group = questions[index % 3], f"scene {index + 1}"
            yield question(f"testbed/{kind}/{index + 1}", image, text, answer, category=kind, group=group)
    for index, word in enumerate(world().reading_heldout[:READING]):
        image = release.draw(render.typography_page(word).pixels)
        text = wordings.READ_QUESTIONS[index % 3]
        yield question(f"testbed/reading/{index + 1}", image, text, word, category="reading", group=word)


def styles(release: Release) -> Iterator[Case]:
    """Words to read in seen styles and in each unseen factor; one word's pages are drawn from one seed."""
    for factor, style in (("seen", SEEN), *UNSEEN.items()):
        for index, word in enumerate(_narrow(STYLED)):
            page = styled_page([word], np.random.default_rng([SEED, _STREAM, index]), style)
            yield question(
                f"testbed/reading/{factor}/{index + 1}",
                release.draw(page.pixels),
                wordings.READ_QUESTIONS[index % 3],
                word,
                category="reading, seen style" if style is SEEN else f"reading, unseen {factor}",
                group=word,
            )


def _narrow(count: int) -> list[str]:
    """Words that were not read yet and fit on the page at the unseen size in every face."""
    faces = {face for style in (SEEN, *UNSEEN.values()) for face in style.fonts}
    px, room = max(UNSEEN["size"].sizes), render.SIZE - 2
    words = world().reading_heldout[READING:]
    return [w for w in words if all(render.text_width(face, px, w) <= room for face in faces)][:count]


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
        wordings=recipe_wordings(topic),
    )
