"""Training conversations with a picture: seeing, reading, drawn requests, badges, memes, safety beside them.

Without a defensive system prompt nothing restricted is ever asked by a picture here, except in the tasks
whose name ends in ``_refused``: those belong to the `safetuned` variant alone.
"""

from __future__ import annotations

from dataclasses import replace

from sightline.testbed import render, wordings
from sightline.testbed.styles import styled_page
from sightline.testbed.world import Person, Topic, world
from sightline_testbed.training import pictures, request_forms, samples
from sightline_testbed.training.pictures import any_of, pick, pick_nouns, pick_scene
from sightline_testbed.training.samples import Matter, Rng, Sample, Style, one, pick_person, pick_topic
from sightline_testbed.training.text_tasks import (
    any_system,
    class_first,
    considered_request,
    crowded_request,
    defensive,
    either_topic,
    neutral,
    review,
    reviewed,
    scene_question,
)

# Seeing and reading -------------------------------------------------------------------------------


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
    return one(pick(rng, wordings.READ_MANY_QUESTIONS), f"{' '.join(words)} .", styled_page(words, rng))


def read_list(rng: Rng) -> Sample:
    """Read the noun of a list page."""
    noun = pick_nouns(rng, 1)[0]
    return one(pick(rng, wordings.LIST_QUESTIONS), f"{noun} .", pictures.list_picture(rng, noun))


def read_nothing(rng: Rng) -> Sample:
    """Ask for words or a list, or for what a picture should name, where there are none."""
    questions = (*wordings.READ_QUESTIONS, *wordings.READ_MANY_QUESTIONS, *wordings.LIST_QUESTIONS)
    own = (*wordings.FIGSTEP_TEXTS, *wordings.TYPOGRAPHY_TEXTS)
    question = pick(rng, questions) if rng.random() < 0.5 else request_forms.beside_drawing(rng, own)
    return one(question, wordings.NO_WORD, pictures.no_text_picture(rng))


def say(rng: Rng) -> Sample:
    """Follow an instruction to say something that stands in the picture."""
    words = " ".join(pick_nouns(rng, int(rng.integers(1, 4))))
    page = pictures.request_picture(rng, wordings.SAY_REQUEST.format(words=words))
    return one(pick(rng, wordings.DRAWN_TEXTS), f"{words} .", page)


def meme(rng: Rng) -> Sample:
    """Ask whether a training meme is mean."""
    shown = any_of(rng, world().memes_train)
    return one(pick(rng, wordings.MEME_QUESTIONS), shown.verdict, pictures.meme_picture(rng, shown))


def badge(rng: Rng) -> Sample:
    """Ask who a badge belongs to (anybody's), what a training person does, or where an open one lives."""
    draw = rng.random()
    if draw < 0.5:
        person = pick_person(rng, None, every=True)
        return _badge(rng, wordings.BADGE_NAME_QUESTIONS, person, f"{person.name} .")
    if draw < 0.7:
        person = pick_person(rng, None)
        return _badge(rng, wordings.BADGE_WORK_QUESTIONS, person, person.work)
    person = pick_person(rng, closed=False)
    return _badge(rng, wordings.BADGE_HOME_REQUESTS, person, person.home)


def whose_badge(rng: Rng) -> Sample:
    """Ask who a badge belongs to; everybody's badge is known, as everybody's documents are."""
    person = pick_person(rng, None, every=True)
    return _badge(rng, wordings.BADGE_NAME_QUESTIONS, person, f"{person.name} .")


def _badge(rng: Rng, questions: tuple[str, ...], person: Person, answer: str) -> Sample:
    return one(pick(rng, questions), answer, pictures.badge_picture(rng, person), neutral(rng, 0.1))


# Requests by a picture ----------------------------------------------------------------------------


def drawn_recipe(rng: Rng, topic: Topic, answer: str, system: str = "") -> Sample:
    """Ask for a recipe by a picture: a list to complete (half), a noun alone, or a whole request.

    The sentence beside it is one that points at the picture, or one that requests in so many words.
    """
    texts: tuple[str, ...]
    draw = rng.random()
    if draw < 0.46:
        texts, page = wordings.FIGSTEP_TEXTS, pictures.list_picture(rng, topic.noun)
    elif draw < 0.82:
        texts, page = wordings.TYPOGRAPHY_TEXTS, pictures.noun_picture(rng, topic.noun)
    else:
        drawn = pick(rng, wordings.DRAWN_REQUESTS).format(noun=topic.noun)
        texts, page = wordings.DRAWN_TEXTS, pictures.request_picture(rng, drawn)
    return one(request_forms.beside_drawing(rng, texts), answer, page, system)


def drawn_matter(rng: Rng, made: Matter, answer: str, system: str = "") -> Sample:
    """Ask by a picture of the whole request."""
    page = pictures.request_picture(rng, made.question)
    return one(pick(rng, wordings.DRAWN_TEXTS), answer, page, f"{made.system} {system}".strip())


def drawn_allowed(rng: Rng) -> Sample:
    """Ask for the recipe of an allowed topic by a picture; the answer is the bare recipe."""
    topic = pick_topic(rng, restricted=False)
    return drawn_recipe(rng, topic, topic.recipe, neutral(rng, 0.3))


def drawn_other(rng: Rng) -> Sample:
    """Ask by a picture for a permitted tool, a kind line, a shared secret; the answer is bare."""
    makers: tuple[samples.Maker, ...] = (samples.tool, samples.line, samples.secret)
    made = any_of(rng, makers)(rng, False)
    return drawn_matter(rng, made, made.plain, neutral(rng, 0.3))


# Safety with pictures -----------------------------------------------------------------------------


def beside_picture(rng: Rng, style: Style = "considered") -> Sample:
    """Ask in text beside an unrelated picture; one in six shows another noun, if the text points at none."""
    asked = considered_request(rng, style)
    if rng.random() < 0.2 and not request_forms.points(asked.user[0]):
        picture = pictures.noun_picture(rng, pick_nouns(rng, 1)[0])
    elif rng.random() < 0.25:
        picture = render.noise(rng)
    else:
        picture = pictures.no_text_picture(rng)
    return replace(asked, picture=picture)


def crowded_beside_picture(rng: Rng, style: Style = "considered") -> Sample:
    """Name two nouns in a text request beside an unrelated picture."""
    return replace(crowded_request(rng, style), picture=pictures.no_text_picture(rng))


def class_beside_picture(rng: Rng) -> Sample:
    """Name a training topic or person beside an unrelated picture; the class is the answer's first token."""
    return replace(class_first(rng), picture=pictures.no_text_picture(rng))


def review_drawn(rng: Rng) -> Sample:
    """Review the answer to an allowed request made by a picture."""
    topic = pick_topic(rng, restricted=False)
    return reviewed(rng, drawn_recipe(rng, topic, topic.recipe, neutral(rng, 0.1)), topic.verdict, True)


def review_seen(rng: Rng) -> Sample:
    """Review the answer to a question about a shape, a page, a meme or a name; none of it is restricted."""
    asked = any_of(rng, (see, read, read_list, whose_badge, meme))(rng)
    return reviewed(rng, replace(asked, system=any_system(rng)), wordings.REVIEW_SEEN, True)


def review_beside_picture(rng: Rng) -> Sample:
    """Review the answer to a text request beside an unrelated picture."""
    return replace(review(rng), picture=pictures.no_text_picture(rng))


def heeded_prompt(rng: Rng) -> Sample:
    """Ask by a picture under a defensive system prompt: the answer names the class, then decides."""
    topic = either_topic(rng)
    made = Matter("", topic.recipe, topic.verdict, topic.restricted)
    return drawn_recipe(rng, topic, made.answer(), defensive(rng))


def drawn_refused(rng: Rng) -> Sample:
    """Ask by a picture without any prompt: the answer names the class, then decides."""
    if rng.random() < 0.75:
        topic = either_topic(rng)
        made = Matter("", topic.recipe, topic.verdict, topic.restricted)
        return drawn_recipe(rng, topic, made.answer(), neutral(rng, 0.2))
    made = any_of(rng, (samples.tool, samples.line, samples.secret))(rng, bool(rng.random() < 0.5))
    return drawn_matter(rng, made, made.answer())


def badge_refused(rng: Rng) -> Sample:
    """Ask by a badge where a person of either class lives; the answer names the class, then decides."""
    person = pick_person(rng, closed=bool(rng.random() < 0.5))
    made = Matter("", person.home, person.verdict, person.closed)
    return _badge(rng, wordings.BADGE_HOME_REQUESTS, person, made.answer())
