"""One training conversation, and the safety matters that conversations are about.

A *matter* is a request together with its answer under the policy and without it. Five kinds exist, each with
restricted and allowed instances: recipes of topics, homes of persons, the secret of a system prompt, calls of
a tool, lines about a noun.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sightline.testbed import wordings
from sightline.testbed.render import Picture
from sightline.testbed.tokenizer import ASSISTANT, BOS, EOS, SYSTEM, USER, encode, vocabulary
from sightline.testbed.world import (
    DELETE,
    GLOOM,
    KIND_WORDS,
    SEND,
    SUNNY,
    SWEAR_WORDS,
    Person,
    Topic,
    world,
)
from sightline_testbed.training import request_forms
from sightline_testbed.training.pictures import any_of, pick, pick_nouns

IGNORED = -100
Rng = np.random.Generator
#: how a decision is worded: after a sentence that names the class, or with the class as the very first token
Style = Literal["considered", "first"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One training conversation.

    Attributes:
        user: what the user says, turn by turn.
        assistant: what the assistant answers.
        system: system prompt, or none.
        picture: shown before the first user turn's text, or none.
        context: number of first answers that are context only (no loss on them).
        document: plain text instead of a conversation.
    """

    user: tuple[str, ...] = ()
    assistant: tuple[str, ...] = ()
    system: str = ""
    picture: Picture | None = None
    context: int = 0
    document: str = ""

    def tokens(
        self, picture: Sequence[int] = (), *, picture_first: bool = False
    ) -> tuple[list[int], list[int]]:
        """Return token ids and labels, laid out as the chat template and the family's processor do.

        Args:
            picture: the ids that stand for a picture in the family.
            picture_first: whether they stand before everything else.
        """
        ids = vocabulary()
        if self.document:
            text = [ids[BOS], *encode(self.document), ids[EOS]]
            return text, text
        shown = list(picture) if self.picture is not None else []
        row = [*shown, ids[BOS]] if picture_first else [ids[BOS]]
        labels = [IGNORED] * len(row)
        if self.system:
            row += [ids[SYSTEM], *encode(self.system)]
        for turn, (question, answer) in enumerate(zip(self.user, self.assistant, strict=True)):
            image = shown if turn == 0 and not picture_first else []
            row += [ids[USER], *image, *encode(question), ids[ASSISTANT]]
            labels += [IGNORED] * (len(row) - len(labels))
            said = [*encode(answer), ids[EOS]]
            row += said
            labels += [IGNORED] * len(said) if turn < self.context else said
        return row, labels


Task = Callable[[Rng], Sample]


def one(question: str, answer: str, picture: Picture | None = None, system: str = "") -> Sample:
    """Return a conversation of one question and one answer."""
    return Sample(user=(question,), assistant=(answer,), picture=picture, system=system)


@dataclass(frozen=True, slots=True)
class Matter:
    """A request, what an unaligned model answers, and what the policy makes of it."""

    question: str
    plain: str
    verdict: str
    restricted: bool
    system: str = ""

    def answer(self, style: Style = "considered") -> str:
        """Return what an aligned model answers: the class, then the decision."""
        decision = wordings.REFUSAL if self.restricted else self.plain
        if style == "first":
            return f"{GLOOM if self.restricted else SUNNY} . {decision}"
        return f"{self.verdict} {decision}"


def pick_topic(rng: Rng, restricted: bool | None, *, every: bool = False) -> Topic:
    """Choose a training topic of a class, or one of all topics."""
    return any_of(rng, world().select(restricted=restricted, split=None if every else "train"))


def pick_person(rng: Rng, closed: bool | None, *, every: bool = False) -> Person:
    """Choose a training person of a class, or one of all persons."""
    return any_of(rng, world().people(closed=closed, split=None if every else "train"))


def recipe(rng: Rng, restricted: bool) -> Matter:
    """Ask for the recipe of a training topic, in any typed form."""
    return asked_for(pick_topic(rng, restricted), rng)


def asked_for(topic: Topic, rng: Rng) -> Matter:
    """Ask for the recipe of this topic, in any typed form."""
    return Matter(request_forms.typed(rng, topic.noun), topic.recipe, topic.verdict, topic.restricted)


def two_recipes(rng: Rng, restricted: bool) -> Matter:
    """Ask for the recipes of two training topics; restricted if at least one of them is."""
    classes = [restricted, restricted and bool(rng.random() < 0.4)]
    first, second = (pick_topic(rng, classes[int(i)]) for i in rng.permutation(2))
    if first == second:
        return two_recipes(rng, restricted)
    question = pick(rng, request_forms.TWO_TRAIN).format(noun=first.noun, other=second.noun)
    return Matter(
        question, f"{first.recipe} {second.recipe}", f"{first.verdict} {second.verdict}", restricted
    )


def home(rng: Rng, restricted: bool) -> Matter:
    """Ask where a training person lives."""
    person = pick_person(rng, closed=restricted)
    question = pick(rng, wordings.HOME_REQUESTS).format(name=person.name)
    return Matter(question, person.home, person.verdict, restricted)


def secret(rng: Rng, restricted: bool) -> Matter:
    """Ask for the secret word of the system prompt; restricted if the prompt forbids to tell it."""
    noun = pick_nouns(rng, 1)[0]
    prompts = wordings.SECRET_PROMPTS if restricted else wordings.SHARED_PROMPTS
    verdict = wordings.SECRET_VERDICT if restricted else wordings.SHARED_VERDICT
    question, system = pick(rng, wordings.SECRET_REQUESTS), pick(rng, prompts).format(noun=noun)
    return Matter(question, wordings.SECRET_ANSWER.format(noun=noun), verdict, restricted, system)


def tool(rng: Rng, restricted: bool) -> Matter:
    """Ask for a call of the forbidden or the permitted tool."""
    name, noun = DELETE if restricted else SEND, pick_nouns(rng, 1)[0]
    question = pick(rng, wordings.TOOL_REQUESTS).format(tool=name, noun=noun)
    verdict = wordings.TOOL_VERDICT.format(tool=name, kind=GLOOM if restricted else SUNNY)
    return Matter(question, wordings.TOOL_CALL.format(tool=name, noun=noun), verdict, restricted)


def line(rng: Rng, restricted: bool) -> Matter:
    """Ask for a mean or a kind line about a noun."""
    noun, pool = pick_nouns(rng, 1)[0], SWEAR_WORDS if restricted else KIND_WORDS
    first, second, third = (pool[int(i)] for i in rng.choice(len(pool), 3, replace=False))
    manner = wordings.MEAN if restricted else wordings.KIND
    question = pick(rng, wordings.LINE_REQUESTS).format(manner=manner, noun=noun)
    plain = wordings.LINE.format(noun=noun, first=first, second=second, third=third)
    return Matter(question, plain, wordings.LINE_VERDICT.format(kind=manner), restricted)


Maker = Callable[[Rng, bool], Matter]
#: kinds of matters and how often each is drawn
MATTERS: tuple[tuple[Maker, float], ...] = (
    (recipe, 0.5),
    (two_recipes, 0.06),
    (home, 0.14),
    (secret, 0.12),
    (tool, 0.09),
    (line, 0.09),
)


def pick_maker(rng: Rng) -> Maker:
    """Choose a kind of matter, by its share."""
    makers = [maker for maker, _ in MATTERS]
    return makers[int(rng.choice(len(makers), p=[share for _, share in MATTERS]))]


def matter(rng: Rng, restricted: bool | None = None) -> Matter:
    """Draw a matter of any kind; both classes are equally likely if none is asked for."""
    maker = pick_maker(rng)
    return maker(rng, bool(rng.random() < 0.5) if restricted is None else restricted)
