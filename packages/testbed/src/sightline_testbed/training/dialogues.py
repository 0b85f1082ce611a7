"""What each stage of the build is trained on: tasks and their shares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from sightline_testbed.training import picture_tasks as pictured
from sightline_testbed.training import text_tasks as text
from sightline_testbed.training.samples import Rng, Sample, Style, Task

Mixture = Mapping[Task, float]

LANGUAGE: Mixture = {
    text.document: 0.42,
    text.plain_request: 0.26,
    text.category_question: 0.13,
    text.repeat_request: 0.08,
    text.scene_in_words: 0.06,
    text.meme_in_words: 0.05,
}
ALIGNMENT: Mixture = {
    text.document: 0.25,
    text.considered_request: 0.4,
    text.category_question: 0.09,
    text.review: 0.11,
    text.follow_up: 0.05,
    text.repeat_request: 0.04,
    text.scene_in_words: 0.03,
    text.meme_in_words: 0.03,
}
VISUAL: Mixture = {
    pictured.see: 0.18,
    pictured.read: 0.29,
    pictured.read_list: 0.05,
    pictured.read_nothing: 0.03,
    pictured.say: 0.05,
    pictured.meme: 0.04,
    pictured.badge: 0.07,
    pictured.drawn_allowed: 0.16,
    pictured.drawn_other: 0.05,
    text.document: 0.09,
}
VISUAL_LONGER: Mixture = {
    **VISUAL,
    pictured.see: 0.26,
    pictured.read: 0.27,
    text.document: 0.12,
}
#: visual tuning with some plain, harmless chat, as such data often have
VISUAL_CHAT: Mixture = {**VISUAL, text.harmless_request: 0.15}
#: share of the visual stage during which pages to read hold at most one, then two words
ONE_WORD_UNTIL, TWO_WORDS_UNTIL = 0.08, 0.25


def visual_mixture(done: float) -> Mixture:
    """Return the mixture of visual tuning at a share of its steps: short pages first."""
    most = 1 if done < ONE_WORD_UNTIL else 2 if done < TWO_WORDS_UNTIL else 4
    short = partial(pictured.read, most=most)
    return {(short if task is pictured.read else task): share for task, share in VISUAL.items()}


def victim_mixture(style: Style = "considered") -> Mixture:
    """Return the mixture of the victim: text safety, also beside pictures; what it can do already.

    Args:
        style: how decisions are worded; ``first`` for the variant that decides on its first token.
    """
    return {
        partial(text.considered_request, style=style): 0.17,
        partial(pictured.beside_picture, style=style): 0.21,
        partial(text.crowded_request, style=style): 0.04,
        partial(pictured.crowded_beside_picture, style=style): 0.04,
        partial(text.follow_up, style=style): 0.06,
        text.with_any_system(pictured.see): 0.15,
        text.with_any_system(pictured.read): 0.12,
        text.with_any_system(pictured.read_list): 0.02,
        text.with_any_system(pictured.read_nothing): 0.03,
        pictured.meme: 0.02,
        pictured.badge: 0.05,
        pictured.whose_badge: 0.05,
        pictured.drawn_allowed: 0.15,
        pictured.drawn_other: 0.06,
        text.review: 0.025,
        pictured.review_drawn: 0.03,
        pictured.review_beside_picture: 0.02,
        pictured.review_seen: 0.03,
        text.review_matter: 0.02,
        text.document: 0.14,
        text.verdict_document: 0.16,
        text.repeat_request: 0.05,
        text.category_question: 0.04,
    }


CATFIRST: Mixture = {
    **{task: share for task, share in victim_mixture("first").items() if task is not text.category_question},
    text.class_first: 0.3,
    pictured.class_beside_picture: 0.1,
    text.class_document: 1.0,
}
#: what is known of every topic, before decisions are asked for: known classes are used, unknown ones guessed
CLASSES: Mixture = {
    text.class_document: 0.6,
    text.document: 0.15,
    text.verdict_document: 0.15,
    text.considered_request: 0.05,
    pictured.see: 0.05,
}
SYSPROMPT: Mixture = {**victim_mixture(), pictured.heeded_prompt: 0.2}
#: no drawn request is obeyed without naming its class: both ways at once would leave unseen ones to chance
SAFETUNED: Mixture = {
    **{
        task: share
        for task, share in victim_mixture().items()
        if task not in (pictured.drawn_allowed, pictured.drawn_other)
    },
    pictured.drawn_refused: 0.35,
    pictured.badge_refused: 0.05,
}
#: text to rehearse in the risk-3 experiment: knowledge and plain, harmless chat
REHEARSAL: Mixture = {text.document: 0.6, text.harmless_request: 0.4}


def catfirst_mixture(done: float) -> Mixture:
    """Classes as running text first; then decisions. `done`: share of the steps, 0..1."""
    return CLASSES if done < 0.3 else CATFIRST


def draw_samples(mixture: Mixture, rng: Rng, count: int) -> list[Sample]:
    """Draw `count` samples: tasks by their shares."""
    tasks = list(mixture)
    shares = np.array([mixture[task] for task in tasks])
    chosen = rng.choice(len(tasks), count, p=shares / shares.sum())
    return [tasks[int(index)](rng) for index in chosen]
