"""What the card asks: requests, questions and pages, all held out of the stage that taught the skill.

Topics, persons, words, scenes and memes are those that no chat, safety data or picture of the tuning stages
contained (badges excepted: whose badge it is has to be known); wordings are of their own where they exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sightline.testbed import render, styles, wordings
from sightline.testbed.world import (
    DELETE,
    SEED,
    SEND,
    Meme,
    Person,
    Scene,
    Topic,
    world,
)
from sightline_testbed.evaluation.answering import Ask
from sightline_testbed.training import pictures, request_forms

#: how a request is drawn: page and the kind of sentence beside it; whose words are also typed
LAYOUTS, TYPED = ("figstep", "typography", "asked"), ("figstep", "typography")
#: pages with a word in every unseen style; pages of several words
STYLED, SEVERAL = 48, 32


def text_requests(topics: Sequence[Topic]) -> list[Ask]:
    """Ask for the recipe in the three held-out wordings."""
    return [
        Ask(user=wording.format(noun=topic.noun), subject=topic.noun, group=topic.noun)
        for topic in topics
        for wording in wordings.REQUESTS_HELDOUT
    ]


def worded(topics: Sequence[Topic], name: str) -> list[Ask]:
    """Ask for the recipe in one of the held-out requests of `request_forms`; a second noun is allowed."""
    others = world().select(restricted=False, split="train")
    return [
        Ask(user=request_forms.heldout(name, topic.noun, other.noun), subject=topic.noun, group=topic.noun)
        for topic, other in zip(topics, others, strict=False)
    ]


def typed_words(topics: Sequence[Topic], layout: str) -> list[Ask]:
    """Type the words of the `figstep` or `typography` page and the sentence beside it, in that order."""
    said, texts = {
        "figstep": (" ".join(wordings.FIGSTEP_LINES), wordings.FIGSTEP_TEXTS),
        "typography": ("{noun}", wordings.TYPOGRAPHY_TEXTS),
    }[layout]
    return [
        Ask(user=f"{said.format(noun=topic.noun)} {text}", subject=topic.noun, group=topic.noun)
        for topic in topics
        for text in texts[:3]
    ]


def beside(asks: Sequence[Ask], kind: str) -> list[Ask]:
    """Put an irrelevant picture beside text requests: `scene`, `blank` or `noise`."""
    rng = np.random.default_rng([SEED, 10])
    scenes = world().scenes_heldout

    def draw() -> render.Picture:
        if kind == "scene":
            return render.random_scene(scenes[int(rng.integers(len(scenes)))], rng)
        return render.blank() if kind == "blank" else render.noise(rng)

    return [replace(ask, pixels=draw().pixels) for ask in asks]


def drawn_requests(topics: Sequence[Topic], layout: str) -> list[Ask]:
    """Ask by the canonical `figstep` or `typography` page, with three user texts each.

    Layout `asked` is the typography page beside held-out sentences that request in so many words.
    """
    draw, texts = {
        "figstep": (render.figstep_page, wordings.FIGSTEP_TEXTS),
        "typography": (render.typography_page, wordings.TYPOGRAPHY_TEXTS),
        "asked": (render.typography_page, request_forms.ASKED_HELDOUT),
    }[layout]
    return [
        Ask(user=text, subject=topic.noun, group=topic.noun, pixels=draw(topic.noun).pixels)
        for topic in topics
        for text in texts[:3]
    ]


def styled_requests(topics: Sequence[Topic], factor: str) -> list[Ask]:
    """Ask by a noun drawn in a seen style (`seen`) or with one unseen factor."""
    rng = np.random.default_rng([SEED, 13])
    style = styles.SEEN if factor == "seen" else styles.UNSEEN[factor]
    return [
        Ask(
            user=wordings.TYPOGRAPHY_TEXT,
            subject=topic.noun,
            group=topic.noun,
            pixels=styles.styled_page([topic.noun], rng, style).pixels,
        )
        for topic in topics
        if styles.fits(topic.noun, style)
    ]


def scene_asks() -> dict[str, list[Ask]]:
    """Ask about held-out scenes: caption, color, shape, position; three wordings, two pictures each."""
    rng = np.random.default_rng([SEED, 11])
    kinds: Mapping[str, tuple[tuple[str, ...], Callable[[Scene], str]]] = {
        "caption": (wordings.CAPTION_QUESTIONS, lambda s: s.caption),
        "color": (wordings.COLOR_QUESTIONS, lambda s: s.color),
        "shape": (wordings.SHAPE_QUESTIONS, lambda s: s.shape),
        "position": (wordings.POSITION_QUESTIONS, lambda s: s.position),
    }
    return {
        name: [
            Ask(
                user=text,
                subject=truth(scene),
                group=scene.caption,
                pixels=render.random_scene(scene, rng).pixels,
            )
            for scene in world().scenes_heldout
            for text in questions[:3] * 2
        ]
        for name, (questions, truth) in kinds.items()
    }


def reading_asks() -> dict[str, list[Ask]]:
    """Read held-out words: one in a seen style, one with each unseen factor, pages of two to four."""
    words = world().reading_heldout
    found: dict[str, list[Ask]] = {}
    for number, (factor, style) in enumerate({"seen": styles.SEEN, **styles.UNSEEN}.items()):
        rng = np.random.default_rng([SEED, 12, number])
        name = "read a word" if factor == "seen" else f"read a word, unseen {factor}"
        found[name] = [
            Ask(
                user=wordings.READ_QUESTIONS[index % 3],
                subject=word,
                group=word,
                pixels=styles.styled_page([word], rng, style).pixels,
            )
            for index, word in enumerate(words if factor == "seen" else words[:STYLED])
            if styles.fits(word, style)
        ]
    rng = np.random.default_rng([SEED, 12, 9])
    found["read 2-4 words"] = [
        _read_several([words[(3 * index + place) % len(words)] for place in range(2 + index % 3)], index, rng)
        for index in range(SEVERAL)
    ]
    return found


def _read_several(lines: Sequence[str], index: int, rng: np.random.Generator) -> Ask:
    return Ask(
        user=wordings.READ_MANY_QUESTIONS[index % 3],
        subject=" ".join(lines),
        group=lines[0],
        pixels=styles.styled_page(lines, rng).pixels,
    )


def meme_asks() -> list[Ask]:
    """Ask whether held-out memes are mean, in three looks each; the truth is `yes` or `no`."""
    rng = np.random.default_rng([SEED, 14])

    def ask(meme: Meme, number: int) -> Ask:
        return Ask(
            user=wordings.MEME_QUESTIONS[number],
            subject="yes" if meme.mean else "no",
            group=f"{meme.shape} {meme.word}",
            pixels=pictures.meme_picture(rng, meme).pixels,
        )

    return [ask(meme, number) for meme in world().memes_heldout for number in range(3)]


# The other matters --------------------------------------------------------------------------------


def home_texts(people: Sequence[Person]) -> list[Ask]:
    """Ask in text where persons live, in both held-out wordings."""
    return [
        Ask(user=wording.format(name=person.name), subject=person.name, group=person.name)
        for person in people
        for wording in wordings.HOME_REQUESTS_HELDOUT
    ]


def badges(people: Sequence[Person], questions: Sequence[str]) -> list[Ask]:
    """Ask about the canonical badge of each person, once per question."""
    return [
        Ask(user=text, subject=person.name, group=person.name, pixels=render.badge_page(person).pixels)
        for person in people
        for text in questions
    ]


def secrets(*, closed: bool) -> list[Ask]:
    """Ask in text for the secret word of a system prompt, in both held-out wordings."""
    prompt = wordings.SECRET_PROMPT if closed else wordings.SHARED_PROMPTS[0]
    return [
        Ask(user=wording, subject=word, group=word, system=prompt.format(noun=word))
        for word in world().reading_heldout[:24]
        for wording in wordings.SECRET_REQUESTS_HELDOUT
    ]


def tools(*, forbidden: bool) -> list[Ask]:
    """Ask in text for a call of a tool, in both held-out wordings."""
    name = DELETE if forbidden else SEND
    return [
        Ask(user=wording.format(tool=name, noun=word), subject=word, group=word)
        for word in world().reading_heldout[24:48]
        for wording in wordings.TOOL_REQUESTS_HELDOUT
    ]


def lines(*, mean: bool) -> list[Ask]:
    """Ask in text for a mean or a kind line about a word, in both held-out wordings."""
    manner = wordings.MEAN if mean else wordings.KIND
    return [
        Ask(user=wording.format(manner=manner, noun=word), subject=word, group=word)
        for word in world().reading_heldout[48:72]
        for wording in wordings.LINE_REQUESTS_HELDOUT
    ]


def drawn(asks: Sequence[Ask]) -> list[Ask]:
    """Draw the text of requests into the picture, canonically; the user text only points at it."""
    return [
        replace(ask, user=wordings.DRAWN_TEXTS[0], pixels=render.request_page(pictures.wrap(ask.user)).pixels)
        for ask in asks
    ]


def further_turns(topics: Sequence[Topic]) -> list[Ask]:
    """Ask for a recipe after an allowed recipe was asked for and given."""
    first = world().select(restricted=False, split="train")
    return [
        Ask(
            user=wordings.FOLLOW_UP_HELDOUT.format(noun=topic.noun),
            subject=topic.noun,
            group=topic.noun,
            history=(
                (wordings.REQUESTS_HELDOUT[0].format(noun=other.noun), f"{other.verdict} {other.recipe}"),
            ),
        )
        for topic, other in zip(topics, first, strict=False)
    ]
