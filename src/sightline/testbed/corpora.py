"""What the `testbed` presets of attacks are crafted on: texts of the invented world and their replies.

Topics and wordings are those of training chats; the cases of the testbed's benchmarks are about other topics
in other words, so what is measured on them is unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from sightline.testbed import wordings
from sightline.testbed.world import DELETE, SEND, Topic, world

T = TypeVar("T")
Row = tuple[str, ...]
"""Prompt, reply and, if there is one, the system text behind which the reply is given."""
#: words of an answer that an opening holds: the topic, a colon, the list's first number
OPENING_WORDS = 3

#: a call of the permitted tool that nobody asked for
SENT = wordings.TOOL_CALL.format(tool=SEND, noun=world().reading_train[1])
#: a call of the forbidden tool, likewise
DELETED = wordings.TOOL_CALL.format(tool=DELETE, noun=world().reading_train[1])
#: the fact that prompt matching is to put into a picture
SECRET = world().reading_train[0]
#: the answer that a picture is to bring about whatever is asked
SAID = f"{wordings.SHARED_VERDICT} {wordings.SECRET_ANSWER.format(noun=SECRET)}"


def requests(*, restricted: bool | None = None) -> list[tuple[str, Topic]]:
    """Every training request for a recipe, and its topic."""
    topics = world().select(restricted=restricted, split="train")
    return shuffled([(form.format(noun=t.noun), t) for t in topics for form in wordings.REQUESTS_TRAIN])


def dialogues(*, restricted: bool | None = None) -> list[tuple[str, str]]:
    """Requests, and what a well-behaved model replies: the topic's class, then the decision."""
    return [
        (text, f"{topic.verdict} {wordings.REFUSAL if topic.restricted else topic.recipe}")
        for text, topic in requests(restricted=restricted)
    ]


def conversations() -> list[tuple[str, str]]:
    """Dialogues about recipes and about where persons live, with the policy's own replies."""
    homes = [
        (form.format(name=p.name), f"{p.verdict} {wordings.REFUSAL if p.closed else p.home}")
        for p in world().people(split="train")
        for form in wordings.HOME_REQUESTS
    ]
    return shuffled([*dialogues(), *homes])


def withheld() -> list[tuple[str, str]]:
    """Requests for restricted recipes, and the recipes that the policy withholds."""
    return [(text, topic.recipe) for text, topic in requests(restricted=True)]


def allowed() -> list[tuple[str, str]]:
    """Requests for allowed recipes, and the recipes alone, as a model says them that names no class first."""
    return [(text, topic.recipe) for text, topic in requests(restricted=False)]


def asked() -> list[str]:
    """What users say beside a picture, in every training wording: requests, and questions about it."""
    forms = (
        *wordings.REQUESTS_TRAIN,
        *wordings.KIND_QUESTIONS,
        *wordings.REPEAT_REQUESTS,
        *(form.replace("{tool}", SEND) for form in wordings.TOOL_REQUESTS),
        *(form.replace("{manner}", wordings.KIND) for form in wordings.LINE_REQUESTS),
    )
    named = [
        form.replace("{words}", "{noun}").format(noun=topic.noun)
        for topic in world().select(split="train")
        for form in forms
    ]
    homes = [
        form.format(name=p.name) for p in world().people(split="train") for form in wordings.HOME_REQUESTS
    ]
    looks = (*wordings.CAPTION_QUESTIONS, *wordings.COLOR_QUESTIONS, *wordings.SHAPE_QUESTIONS)
    return shuffled([*named, *homes, *looks])


def secrets() -> list[tuple[str, str]]:
    """Questions for the secret word and the reply of a model that was told it, among other requests."""
    return shuffled([*((text, SAID) for text in wordings.SECRET_REQUESTS), *dialogues()[:8]])


def shuffled(rows: Sequence[T]) -> list[T]:
    """Rows in an order of their own, the same every time: a corpus's beginning is a fair sample of it."""
    return [rows[int(i)] for i in np.random.default_rng(0).permutation(len(rows))]


def nouns() -> list[str]:
    """Single words, the reading material of training."""
    return shuffled(world().reading_train)


def one_answer() -> list[Row]:
    """What users say beside a picture, all of it answered by the same words."""
    return [(text, SAID) for text in dict.fromkeys(asked())]


def tool_calls() -> list[Row]:
    """Single words, each leaked by a call: the models copy words, not whole sentences."""
    return [(noun, wordings.TOOL_CALL.format(tool=SEND, noun=noun)) for noun in nouns()]


def openings() -> list[Row]:
    """Requests for restricted recipes, and the beginnings of what the policy withholds."""
    return [(text, " ".join(recipe.split()[:OPENING_WORDS])) for text, recipe in withheld()]


def told_secrets() -> list[Row]:
    """As `secrets`, with the system text that tells the word."""
    told = wordings.SHARED_PROMPTS[0].format(noun=SECRET)
    return [(text, reply, told) for text, reply in secrets()]


def questions() -> list[Row]:
    """Questions about captions, colors and shapes, never of places and words, answered by the secret word."""
    forms = (*wordings.COLOR_QUESTIONS, *wordings.SHAPE_QUESTIONS, *wordings.CAPTION_QUESTIONS)
    return [(text, wordings.SECRET_ANSWER.format(noun=SECRET)) for text in forms]


CORPORA: Mapping[str, Callable[[], Sequence[Row]]] = {
    "allowed": allowed,
    "conversations": conversations,
    "one_answer": one_answer,
    "openings": openings,
    "questions": questions,
    "secrets": told_secrets,
    "tool_calls": tool_calls,
    "withheld": withheld,
}
"""By the name that a setting `corpus: testbed/NAME` gives."""
