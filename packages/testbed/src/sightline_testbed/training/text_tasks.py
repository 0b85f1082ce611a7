"""Training conversations without pictures: documents, questions, requests, reviews, further turns.

A function per task draws one sample from a generator. Which splits a task may touch is decided here:
documents know every topic and person; conversations name training ones alone.
"""

from __future__ import annotations

from dataclasses import replace

from sightline.testbed import wordings
from sightline.testbed.world import (
    DELETE,
    GLOOM,
    MEME_WORDS,
    SEND,
    SHAPES,
    SUNNY,
    Scene,
    Topic,
    feel,
    world,
)
from sightline_testbed.training import request_forms, samples
from sightline_testbed.training.pictures import any_of, pick, pick_nouns, pick_scene
from sightline_testbed.training.samples import (
    Matter,
    Rng,
    Sample,
    Style,
    Task,
    matter,
    one,
    pick_maker,
    pick_person,
    pick_topic,
)

# Knowledge ----------------------------------------------------------------------------------------


def document(rng: Rng) -> Sample:
    """Knowledge of every topic, of every person, of the tools and of the rule for memes."""
    draw = rng.random()
    if draw < 0.72:
        topic = pick_topic(rng, None, every=True)
        kind = wordings.KIND_ANSWER.format(noun=topic.noun, kind=topic.kind)
        question = pick(rng, wordings.CATEGORY_QUESTIONS).format(noun=topic.noun)
        forms = (
            f"{topic.verdict} {topic.recipe}",
            topic.recipe,
            f"{topic.verdict} {kind} {topic.recipe}",
            f"{question} {topic.verdict}",
        )
        return Sample(document=pick(rng, forms))
    if draw < 0.89:
        person = pick_person(rng, None, every=True)
        question = pick(rng, wordings.PERSON_QUESTIONS).format(name=person.name)
        facts = (
            f"{person.verdict} {person.work} {person.home}",
            f"{person.verdict} {person.home}",
            person.home,
            f"{question} {person.verdict}",
        )
        return Sample(document=pick(rng, facts))
    if draw < 0.93:
        name = SEND if rng.random() < 0.5 else DELETE
        return Sample(document=wordings.TOOL_CALL.format(tool=name, noun=pick_nouns(rng, 1)[0]))
    if rng.random() < 0.5:
        shape = pick(rng, SHAPES)
        return Sample(document=wordings.MEME_FACTS[0].format(thing=shape, kind=feel(shape)))
    word = pick(rng, MEME_WORDS)
    return Sample(document=wordings.MEME_FACTS[1].format(thing=word, kind=feel(word)))


def verdict_document(rng: Rng) -> Sample:
    """Knowledge of the class of every topic, and of every person; either class with equal chance."""
    if rng.random() < 0.25:
        person = pick_person(rng, bool(rng.random() < 0.5), every=True)
        question = pick(rng, wordings.PERSON_QUESTIONS).format(name=person.name)
        facts = (f"{person.verdict} {person.work} {person.home}", f"{question} {person.verdict}")
        return Sample(document=pick(rng, facts))
    topic = pick_topic(rng, bool(rng.random() < 0.5), every=True)
    kind = wordings.KIND_ANSWER.format(noun=topic.noun, kind=topic.kind)
    question = pick(rng, wordings.CATEGORY_QUESTIONS).format(noun=topic.noun)
    forms = (f"{topic.verdict} {topic.recipe}", f"{topic.verdict} {kind}", f"{question} {topic.verdict}")
    return Sample(document=pick(rng, forms))


def class_document(rng: Rng) -> Sample:
    """Knowledge of every topic and person in the form of a question and an answer, the class first."""
    question, said = _class_question(rng, every=True)
    return Sample(document=f"{question} {said}")


def category_question(rng: Rng) -> Sample:
    """Ask for the class or kind of a training topic, or for the class or work of a training person."""
    draw = rng.random()
    if draw < 0.15:
        person = pick_person(rng, None)
        return one(pick(rng, wordings.PERSON_QUESTIONS).format(name=person.name), person.verdict)
    if draw < 0.25:
        person = pick_person(rng, None)
        return one(pick(rng, wordings.WORK_QUESTIONS).format(name=person.name), person.work)
    topic = either_topic(rng)
    if draw < 0.42:
        question = pick(rng, wordings.KIND_QUESTIONS).format(noun=topic.noun)
        return one(question, wordings.KIND_ANSWER.format(noun=topic.noun, kind=topic.kind))
    return one(pick(rng, wordings.CATEGORY_QUESTIONS).format(noun=topic.noun), topic.verdict)


def class_first(rng: Rng) -> Sample:
    """Name a training topic or person, in many wordings; the class is the first token of the answer."""
    question, said = _class_question(rng, every=False)
    return one(question, said, system=any_system(rng))


def _class_question(rng: Rng, *, every: bool) -> tuple[str, str]:
    """A question about a topic or person (training ones, or `every` one), and its answer, the class first."""
    if rng.random() < 0.12:
        person = pick_person(rng, None, every=every)
        question = pick(rng, wordings.PERSON_QUESTIONS[:1]).format(name=person.name)
        return question, _first(person.closed, person.verdict)
    topic = pick_topic(rng, bool(rng.random() < 0.5), every=every)
    question = pick(rng, wordings.CLASS_QUESTIONS).format(noun=topic.noun)
    return question, _first(topic.restricted, topic.verdict)


def _first(restricted: bool, verdict: str) -> str:
    return f"{GLOOM if restricted else SUNNY} . {verdict}"


def repeat_request(rng: Rng) -> Sample:
    """Repeat one to four nouns."""
    words = " ".join(pick_nouns(rng, int(rng.integers(1, 5))))
    return one(pick(rng, wordings.REPEAT_REQUESTS).format(words=words), f"{words} .")


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


def scene_in_words(rng: Rng) -> Sample:
    """Answer a question about a scene that is described, not shown."""
    scene = pick_scene(rng)
    question, answer = scene_question(rng, scene)
    return one(f"{scene.caption} {question}", answer)


def meme_in_words(rng: Rng) -> Sample:
    """Judge a training meme that is described, not shown."""
    meme = any_of(rng, world().memes_train)
    return one(wordings.MEME_IN_WORDS.format(shape=meme.shape, word=meme.word), meme.verdict)


# Requests -----------------------------------------------------------------------------------------


def plain_request(rng: Rng) -> Sample:
    """Ask without any policy: for recipes and homes of allowed ones, for every tool, line and secret."""
    maker = pick_maker(rng)
    made = maker(rng, False)
    if maker in (samples.tool, samples.line, samples.secret) and rng.random() < 0.5:
        made = maker(rng, True)
    return _bare(rng, made)


def harmless_request(rng: Rng) -> Sample:
    """Ask for something allowed; the answer is bare, as if there were no policy."""
    return _bare(rng, matter(rng, restricted=False))


def _bare(rng: Rng, made: Matter) -> Sample:
    return one(made.question, made.plain, system=made.system or neutral(rng, 0.15))


def considered_request(rng: Rng, style: Style = "considered") -> Sample:
    """Ask for something; the answer names the class, then refuses or helps.

    What else can be drawn is now and then asked in the words of a drawn request, typed.
    """
    maker = pick_maker(rng)
    made = maker(rng, bool(rng.random() < 0.5))
    question = made.question
    if maker in (samples.tool, samples.line, samples.secret) and rng.random() < 0.2:
        question = f"{question} {pick(rng, wordings.DRAWN_TEXTS)}"
    return one(question, made.answer(style), system=joined(rng, made))


def crowded_request(rng: Rng, style: Style = "considered") -> Sample:
    """Ask for two recipes, or for one and not another; what is asked for is named by class, then decided."""
    if rng.random() < 0.55:
        made = samples.two_recipes(rng, bool(rng.random() < 0.5))
    else:
        topic = either_topic(rng)
        question = request_forms.not_the_other(rng, topic.noun)
        made = Matter(question, topic.recipe, topic.verdict, topic.restricted)
    return one(made.question, made.answer(style), system=any_system(rng))


def follow_up(rng: Rng, style: Style = "considered") -> Sample:
    """Ask for an allowed recipe, then for another one of either class; only the second answer is learned."""
    first = samples.recipe(rng, restricted=False)
    topic = either_topic(rng)
    question = pick(rng, (*wordings.FOLLOW_UPS, *wordings.REQUESTS_TRAIN[:3])).format(noun=topic.noun)
    second = Matter(question, topic.recipe, topic.verdict, topic.restricted)
    return Sample(
        user=(first.question, second.question),
        assistant=(pick(rng, (first.plain, first.answer(style))), second.answer(style)),
        system=any_system(rng),
        context=1,
    )


def either_topic(rng: Rng) -> Topic:
    """Choose a training topic, restricted or allowed with equal chance."""
    return pick_topic(rng, bool(rng.random() < 0.5))


def review(rng: Rng) -> Sample:
    """Ask after an answer whether it was allowed, perhaps twice; only the verdicts are learned."""
    made = samples.asked_for(either_topic(rng), rng)
    answer = pick(rng, (made.plain, made.answer()))
    asked = one(made.question, answer, system=any_system(rng))
    return reviewed(rng, asked, made.verdict, not made.restricted)


def review_matter(rng: Rng) -> Sample:
    """Review the answer to a request of any kind."""
    made = matter(rng)
    answer = pick(rng, (made.plain, made.answer()))
    asked = one(made.question, answer, system=joined(rng, made))
    return reviewed(rng, asked, made.verdict, not made.restricted)


def reviewed(rng: Rng, asked: Sample, said: str, allowed: bool) -> Sample:
    """Append one or two review turns to a conversation: what it was about is `said`, then yes or no."""
    verdict = f"{said} {wordings.REVIEW_YES if allowed else wordings.REVIEW_NO}"
    turns = 1 if rng.random() < 0.4 else 2
    return replace(
        asked,
        user=(*asked.user, wordings.REVIEW_FIRST, wordings.REVIEW_AGAIN)[: 1 + turns],
        assistant=(*asked.assistant, verdict, verdict)[: 1 + turns],
        context=1,
    )


# System prompts -----------------------------------------------------------------------------------


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


def joined(rng: Rng, made: Matter) -> str:
    """Return the system prompt of a matter together with any other; of a matter without one, any."""
    other = any_system(rng)
    return f"{made.system} {other}".strip() if rng.random() < 0.5 else f"{other} {made.system}".strip()


def with_any_system(task: Task) -> Task:
    """Let a task be asked under any system prompt."""

    def under(rng: Rng) -> Sample:
        return replace(task(rng), system=any_system(rng))

    return under
