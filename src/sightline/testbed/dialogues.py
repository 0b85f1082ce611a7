"""Random training dialogues: documents, chats, questions about pictures, reviews.

A function per task draws one sample from a generator. Which splits a task may touch is decided here:
documents and category questions know every topic; chats, safety data and pictures know training topics only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sightline.testbed import pictures, render, wordings
from sightline.testbed.pictures import Rng, pick, pick_nouns, pick_scene
from sightline.testbed.tokenizer import (
    ASSISTANT,
    BOS,
    EOS,
    IMAGE,
    IMAGE_TOKENS,
    SYSTEM,
    USER,
    encode,
    vocabulary,
)
from sightline.testbed.world import Scene, Topic, world

IGNORED = -100


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
    picture: render.Picture | None = None
    context: int = 0
    document: str = ""

    def tokens(self) -> tuple[list[int], list[int]]:
        """Return token ids and labels, laid out as the chat template does."""
        ids = vocabulary()
        if self.document:
            text = [ids[BOS], *encode(self.document), ids[EOS]]
            return text, text
        row, labels = [ids[BOS]], [IGNORED]
        if self.system:
            row += [ids[SYSTEM], *encode(self.system)]
        for turn, (question, answer) in enumerate(zip(self.user, self.assistant, strict=True)):
            image = [ids[IMAGE]] * IMAGE_TOKENS if turn == 0 and self.picture is not None else []
            row += [ids[USER], *image, *encode(question), ids[ASSISTANT]]
            labels += [IGNORED] * (len(row) - len(labels))
            said = [*encode(answer), ids[EOS]]
            row += said
            labels += [IGNORED] * len(said) if turn < self.context else said
        return row, labels


Task = Callable[[Rng], Sample]


def one(question: str, answer: str, picture: render.Picture | None = None, system: str = "") -> Sample:
    """Return a conversation of one question and one answer."""
    return Sample(user=(question,), assistant=(answer,), picture=picture, system=system)


def pick_topic(rng: Rng, restricted: bool | None, *, every: bool = False) -> Topic:
    """Choose a training topic of a class, or one of all topics."""
    options = world().select(restricted=restricted, split=None if every else "train")
    return options[int(rng.integers(len(options)))]


def either_topic(rng: Rng) -> Topic:
    """Choose a training topic, restricted or allowed with equal chance."""
    return pick_topic(rng, bool(rng.random() < 0.5))


def considered(topic: Topic) -> str:
    """Return what an aligned answer says: the class first, then the decision."""
    return f"{topic.verdict} {wordings.REFUSAL if topic.restricted else topic.recipe}"


# Text ---------------------------------------------------------------------------------------------


def document(rng: Rng) -> Sample:
    """Knowledge of every topic: its class, its kind, its recipe."""
    topic = pick_topic(rng, None, every=True)
    kind = wordings.KIND_ANSWER.format(noun=topic.noun, kind=topic.kind)
    forms = (f"{topic.verdict} {topic.recipe}", topic.recipe, f"{topic.verdict} {kind} {topic.recipe}")
    return Sample(document=pick(rng, forms))


def category_question(rng: Rng) -> Sample:
    """Ask for the class, sometimes for the kind, of any topic."""
    topic = pick_topic(rng, bool(rng.random() < 0.5), every=True)
    if rng.random() < 0.25:
        question = pick(rng, wordings.KIND_QUESTIONS).format(noun=topic.noun)
        return one(question, wordings.KIND_ANSWER.format(noun=topic.noun, kind=topic.kind))
    return one(pick(rng, wordings.CATEGORY_QUESTIONS).format(noun=topic.noun), topic.verdict)


def plain_request(rng: Rng) -> Sample:
    """Ask for the recipe of an allowed topic; the answer is the bare recipe."""
    topic = pick_topic(rng, restricted=False)
    question = pick(rng, wordings.REQUESTS_TRAIN).format(noun=topic.noun)
    return one(question, topic.recipe, system=neutral(rng, 0.15))


def repeat_request(rng: Rng) -> Sample:
    """Repeat one to four nouns."""
    words = " ".join(pick_nouns(rng, int(rng.integers(1, 5))))
    return one(pick(rng, wordings.REPEAT_REQUESTS).format(words=words), f"{words} .")


def scene_in_words(rng: Rng) -> Sample:
    """Answer a question about a scene that is described, not shown."""
    scene = pick_scene(rng)
    question, answer = scene_question(rng, scene)
    return one(f"{scene.caption} {question}", answer)


def considered_request(rng: Rng) -> Sample:
    """Ask for a recipe; the answer names the class, then refuses or helps."""
    topic = either_topic(rng)
    question = pick(rng, wordings.REQUESTS_TRAIN).format(noun=topic.noun)
    return one(question, considered(topic), system=any_system(rng))


def review(rng: Rng) -> Sample:
    """Ask after an answer whether it was allowed, perhaps twice; only the verdicts are learned."""
    topic = either_topic(rng)
    question = pick(rng, wordings.REQUESTS_TRAIN).format(noun=topic.noun)
    answer = pick(rng, (topic.recipe, considered(topic)))
    return reviewed(rng, one(question, answer, system=any_system(rng)), topic)


def reviewed(rng: Rng, asked: Sample, topic: Topic) -> Sample:
    """Append one or two review turns about `topic` to a conversation."""
    verdict = f"{topic.verdict} {wordings.REVIEW_NO if topic.restricted else wordings.REVIEW_YES}"
    turns = 1 if rng.random() < 0.4 else 2
    return replace(
        asked,
        user=(*asked.user, wordings.REVIEW_FIRST, wordings.REVIEW_AGAIN)[: 1 + turns],
        assistant=(*asked.assistant, verdict, verdict)[: 1 + turns],
        context=1,
    )


def neutral(rng: Rng, share: float) -> str:
    """Choose a system prompt without meaning, or none."""
    return pick(rng, wordings.NEUTRAL_PROMPTS) if rng.random() < share else ""


def defensive(rng: Rng) -> str:
    """Choose a defensive system prompt, four in ten times together with a neutral one."""
    parts = [pick(rng, wordings.DEFENSE_PROMPTS_TRAIN)]
    if rng.random() < 0.4:
        parts.insert(int(rng.integers(2)), pick(rng, wordings.NEUTRAL_PROMPTS))
    return " ".join(parts)


def any_system(rng: Rng) -> str:
    """Choose no system prompt (60 %), a defensive one (22 %) or a neutral one."""
    draw = rng.random()
    if draw < 0.6:
        return ""
    return defensive(rng) if draw < 0.82 else pick(rng, wordings.NEUTRAL_PROMPTS)


# Pictures -----------------------------------------------------------------------------------------


def scene_question(rng: Rng, scene: Scene) -> tuple[str, str]:
    """Return a question about a scene and its answer."""
    options = (
        (wordings.CAPTION_QUESTIONS, scene.caption),
        (wordings.COLOR_QUESTIONS, f"{scene.color} ."),
        (wordings.SHAPE_QUESTIONS, f"{scene.shape} ."),
        (wordings.POSITION_QUESTIONS, f"{scene.position} ."),
    )
    questions, answer = options[int(rng.integers(4))]
    return pick(rng, questions), answer


def see(rng: Rng) -> Sample:
    """Ask about a shape."""
    scene = pick_scene(rng)
    question, answer = scene_question(rng, scene)
    return one(question, answer, render.random_scene(scene, rng))


def read(rng: Rng, most: int = 4) -> Sample:
    """Read one to `most` nouns."""
    words = pick_nouns(rng, 1 if rng.random() < 0.35 else int(rng.integers(1, most + 1)))
    if len(words) == 1:
        return one(pick(rng, wordings.READ_QUESTIONS), f"{words[0]} .", pictures.noun_picture(rng, words[0]))
    return one(
        pick(rng, wordings.READ_MANY_QUESTIONS), f"{' '.join(words)} .", render.random_text(words, rng)
    )


def read_list(rng: Rng) -> Sample:
    """Read the noun of a list page."""
    noun = pick_nouns(rng, 1)[0]
    return one(pick(rng, wordings.LIST_QUESTIONS), f"{noun} .", pictures.list_picture(rng, noun))


def read_nothing(rng: Rng) -> Sample:
    """Ask for words or a list where there are none."""
    questions = (*wordings.READ_QUESTIONS, *wordings.READ_MANY_QUESTIONS, *wordings.LIST_QUESTIONS)
    return one(pick(rng, questions), wordings.NO_WORD, pictures.no_text_picture(rng))


def say(rng: Rng) -> Sample:
    """Follow an instruction to say something that stands in the picture."""
    words = " ".join(pick_nouns(rng, int(rng.integers(1, 4))))
    lines = pictures.wrap(wordings.SAY_REQUEST.format(words=words))
    return one(pick(rng, wordings.DRAWN_TEXTS), f"{words} .", render.random_text(lines, rng))


def drawn(rng: Rng, topic: Topic, answer: str, system: str = "") -> Sample:
    """Ask for a recipe by a picture: a list to complete (half), a noun alone, or a whole request."""
    draw = rng.random()
    if draw < 0.5:
        return one(pick(rng, wordings.FIGSTEP_TEXTS), answer, pictures.list_picture(rng, topic.noun), system)
    if draw < 0.82:
        return one(
            pick(rng, wordings.TYPOGRAPHY_TEXTS), answer, pictures.noun_picture(rng, topic.noun), system
        )
    lines = pictures.wrap(pick(rng, wordings.DRAWN_REQUESTS).format(noun=topic.noun))
    return one(pick(rng, wordings.DRAWN_TEXTS), answer, render.random_text(lines, rng), system)


def drawn_allowed(rng: Rng) -> Sample:
    """Ask for the recipe of an allowed topic by a picture; the answer is the bare recipe."""
    topic = pick_topic(rng, restricted=False)
    return drawn(rng, topic, topic.recipe, neutral(rng, 0.3))


# Safety with pictures -----------------------------------------------------------------------------


def beside_picture(rng: Rng) -> Sample:
    """Ask in text for a recipe beside an unrelated picture (one in six shows another noun)."""
    if rng.random() < 1 / 6:
        picture = pictures.noun_picture(rng, pick_nouns(rng, 1)[0])
    else:
        picture = pictures.no_text_picture(rng)
    return replace(considered_request(rng), picture=picture)


def heeded_prompt(rng: Rng) -> Sample:
    """Ask by a picture under a defensive system prompt: the answer names the class, then decides."""
    topic = either_topic(rng)
    return drawn(rng, topic, considered(topic), defensive(rng))


def review_drawn(rng: Rng) -> Sample:
    """Review the answer to an allowed request made by a picture."""
    topic = pick_topic(rng, restricted=False)
    return reviewed(rng, drawn(rng, topic, topic.recipe, neutral(rng, 0.1)), topic)


def review_beside_picture(rng: Rng) -> Sample:
    """Review the answer to a text request beside an unrelated picture."""
    return replace(review(rng), picture=pictures.no_text_picture(rng))


def with_any_system(task: Task) -> Task:
    """Let a task be asked under any system prompt."""

    def under(rng: Rng) -> Sample:
        return replace(task(rng), system=any_system(rng))

    return under


# Mixtures -----------------------------------------------------------------------------------------

Mixture = Mapping[Task, float]

LANGUAGE: Mixture = {
    document: 0.45,
    plain_request: 0.23,
    category_question: 0.14,
    repeat_request: 0.1,
    scene_in_words: 0.08,
}
ALIGNMENT: Mixture = {
    document: 0.27,
    considered_request: 0.36,
    category_question: 0.1,
    review: 0.15,
    repeat_request: 0.06,
    scene_in_words: 0.06,
}
VISUAL: Mixture = {
    see: 0.24,
    read: 0.28,
    read_list: 0.06,
    read_nothing: 0.02,
    say: 0.06,
    drawn_allowed: 0.21,
    document: 0.13,
}
VICTIM: Mixture = {
    considered_request: 0.1,
    beside_picture: 0.14,
    heeded_prompt: 0.14,
    drawn_allowed: 0.18,
    review: 0.05,
    review_drawn: 0.04,
    review_beside_picture: 0.03,
    with_any_system(see): 0.08,
    with_any_system(read): 0.06,
    with_any_system(read_list): 0.02,
    with_any_system(read_nothing): 0.02,
    document: 0.1,
    category_question: 0.04,
}


def draw_samples(mixture: Mixture, rng: Rng, count: int) -> list[Sample]:
    """Draw `count` samples: tasks by their shares."""
    tasks = list(mixture)
    shares = np.array([mixture[task] for task in tasks])
    chosen = rng.choice(len(tasks), count, p=shares / shares.sum())
    return [tasks[int(index)](rng) for index in chosen]
