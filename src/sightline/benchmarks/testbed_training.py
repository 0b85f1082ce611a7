"""Rows to train the testbed's models on, all of them about topics, words and scenes that no other case shows.

Each restricted topic of the training split is asked for in drawn requests, beside an allowed topic (its twin)
drawn in the same layout with the same text; `layout=written` asks for both in words. `split=heldout` has the
held-out topics alike: to measure on, never to train on. General rows: allowed topics that are nobody's twin,
drawn too (expected: answer, and no answer given: the model's own is what is kept), text requests of allowed
topics, questions about scenes, words to read.

A request to refuse says in its wordings how it is refused in the policy's words, and the harmless recipe that
it asks for. `subset`: `requests` (drawn, with twins), `general`, or `all`; of the general rows, `chat` are
the text requests and `pictures` the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from sightline.benchmarks._testbed import JUDGE, recipe_wordings
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Benchmark, Release
from sightline.errors import UsageError
from sightline.registry import benchmark
from sightline.testbed import render, wordings
from sightline.testbed.world import Split, Topic, world

LAYOUTS = {
    "figstep": (render.figstep_page, wordings.FIGSTEP_TEXTS),
    "typography": (render.typography_page, wordings.TYPOGRAPHY_TEXTS),
}
WRITTEN = "written"
Style = Literal["own", "bare", "considered"]
TEXTS = 3
"""Texts in which each drawn request is asked; general ones in the first alone."""
SCENES, READ = 60, 60


@benchmark(
    "testbed_training",
    source="Sightline",
    presets={"requests": {"subset": "requests"}, "general": {"subset": "general"}},
    judge=JUDGE,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TestbedTraining(Benchmark):
    """Settings.

    Attributes:
        subset: which rows.
        split: topics of training, or held-out ones to measure on.
        layout: how requests are drawn; one of them alone leaves the other for the test. `written`: in words;
            `all`: drawn in both layouts, and written.
        style: how allowed requests are answered: `own` = as the model does; `bare` = the recipe alone, as
            visual tuning data does; `considered` = what kind of thing it is first.
    """

    __test__: ClassVar[bool] = False
    needs_root: ClassVar[bool] = False

    subset: Literal["requests", "general", "chat", "pictures", "all"] = "all"
    split: Split = "train"
    layout: Literal["figstep", "typography", "both", "written", "all"] = "both"
    style: Style = "own"

    def __post_init__(self) -> None:
        if self.split == "heldout" and self.subset != "requests":
            raise UsageError(
                "split='heldout' has requests alone: set subset='requests'; testbed_requests has the rest"
            )

    def cases(self, release: Release) -> Iterator[Case]:
        """All cases of the subset, in a fixed order."""
        restricted, allowed, others = topics(self.split)
        layouts = [self.layout] if self.layout in LAYOUTS else list(LAYOUTS) * (self.layout != "written")
        asked = [*layouts, *([WRITTEN] if self.layout in (WRITTEN, "all") else [])]
        if self.subset in ("requests", "all"):
            for topic, twin in zip(restricted, allowed, strict=True):
                for layout in asked:
                    yield from _requested(topic, layout, release, twin)
                    yield from _requested(twin, layout, release, topic, style=self.style)
        if self.subset in ("general", "pictures", "all"):
            for topic in others:
                for layout in layouts:
                    yield from _requested(topic, layout, release, style=self.style)
        if self.subset in ("general", "chat", "all"):
            yield from _asked(others, self.style)
        if self.subset in ("general", "pictures", "all"):
            yield from _scenes(release)
            yield from _words(release)


def topics(split: Split) -> tuple[list[Topic], list[Topic], list[Topic]]:
    """Restricted topics, allowed ones beside them (those that sound restricted first), other allowed ones."""
    restricted = list(world().select(restricted=True, split=split))
    allowed = sorted(
        world().select(restricted=False, split=split), key=lambda topic: not topic.gloom_sounding
    )
    return restricted, allowed[: len(restricted)], allowed[len(restricted) :]


def _answer(topic: Topic, style: Style) -> str | None:
    """The harmless recipe of an allowed topic in a style; None where the model's own is kept."""
    return {"own": None, "bare": topic.recipe, "considered": f"{topic.verdict} {topic.recipe}"}[style]


def _requested(
    topic: Topic, layout: str, release: Release, twin: Topic | None = None, *, style: Style = "own"
) -> Iterator[Case]:
    if layout == WRITTEN:
        texts: Sequence[str] = [text.format(noun=topic.noun) for text in wordings.REQUESTS_TRAIN]
        shown: tuple[Image, ...] = ()
    else:
        page, texts = LAYOUTS[layout]
        shown = (release.draw(page(topic.noun).pixels),)
    expected = Expected.refuse if topic.restricted else Expected.comply if twin else Expected.answer
    refusal = f"{topic.verdict} {wordings.REFUSAL}"
    for number, text in enumerate(texts[: TEXTS if twin else 1], start=1):
        yield Case(
            id=f"testbed/training/{layout}/{topic.noun}/{number}",
            conversation=Conversation.user(*shown, text),
            behavior=f"steps for {topic.noun}",
            expected=expected,
            category=topic.kind,
            group=topic.noun,
            twin=f"testbed/training/{layout}/{twin.noun}/{number}" if twin else None,
            answer=None if topic.restricted else _answer(topic, style),
            wordings={**recipe_wordings(topic), "refusal": refusal, "asked": topic.recipe},
        )


def _asked(found: list[Topic], style: Style) -> Iterator[Case]:
    for index, topic in enumerate(found):
        text = wordings.REQUESTS_TRAIN[index % len(wordings.REQUESTS_TRAIN)].format(noun=topic.noun)
        yield _general(f"text/{topic.noun}", Conversation.user(text), text, topic.noun, _answer(topic, style))


def _scenes(release: Release) -> Iterator[Case]:
    for index, scene in enumerate(world().scenes_train[:SCENES]):
        image = release.draw(render.scene_page(scene).pixels)
        asked = (
            (wordings.CAPTION_QUESTIONS, scene.caption),
            (wordings.COLOR_QUESTIONS, scene.color),
            (wordings.SHAPE_QUESTIONS, scene.shape),
            (wordings.POSITION_QUESTIONS, scene.position),
        )
        questions, answer = asked[index % len(asked)]
        text = questions[index % 3]
        yield _general(
            f"scene/{index + 1}", Conversation.user(image, text), text, f"training scene {index + 1}", answer
        )


def _words(release: Release) -> Iterator[Case]:
    for index, word in enumerate(world().reading_train[:READ]):
        image = release.draw(render.typography_page(word).pixels)
        text = wordings.READ_QUESTIONS[index % 3]
        yield _general(f"reading/{word}", Conversation.user(image, text), text, word, word)


def _general(id: str, conversation: Conversation, behavior: str, group: str, answer: str | None) -> Case:
    return Case(
        id=f"testbed/training/{id}",
        conversation=conversation,
        behavior=behavior,
        expected=Expected.answer,
        category="general",
        group=group,
        answer=answer,
    )
