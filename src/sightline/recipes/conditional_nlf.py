"""Condition answers on feedback in words, and on the best feedback once trained (DRESS).

Chen et al., CVPR 2024 (DRESS), section 3: feedback in language has no gradient, so the model learns to answer
*given* it. No training code was released; the split of the two objectives is by our specification. Both are
plain likelihood, on the answer alone:

    condition   -log p(y | x, c)        every answer y, good or bad, behind its own rating and critique c
    refine      -log p(y1 | x, y0, f)   the bad answer y0, the advice f, the good answer y1

c is a system turn; the trained target carries the best one in its chat template, so that it is always
measured conditioned. y0 is the base's own answer (for a benign request also a refusal), y1 the refusal, or
what the row answers its benign twin, else the base's own answer. Controls: `feedback=rating` leaves the
critique out, `shuffled` gives every answer the feedback on another one (the effect must go), `none` trains on
the good answers alone, without condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, NamedTuple

from sightline.cases import Turn
from sightline.digests import sha256_bytes
from sightline.errors import UsageError
from sightline.judges._phrases import phrases
from sightline.recipes._feedback import GOOD, Feedback, Wording, best, feedback_on, line_of
from sightline.recipes._mixing import REFUSAL, batches, benign_answer, refusal_of, sorted_out
from sightline.registry import recipe
from sightline.rng import numpy_rng
from sightline.testbed.wordings import REFUSAL as TESTBED_REFUSAL
from sightline.tuning import Example, Lesson, Part, Plan, Recipe, Schedule, check_settings

if TYPE_CHECKING:
    import numpy as np


class Criticized(NamedTuple):
    """An answer to a lesson (by number), and what is said of it."""

    lesson: int
    answer: str
    feedback: Feedback


@recipe(
    "conditional_nlf",
    role="defense",
    paper="Chen et al., CVPR 2024",
    source="DRESS (idea and data layout of LVLM_NLF, by our specification; no code was released); own texts",
    presets={
        "testbed": {
            "wording": "testbed",
            "refusals": "testbed",
            "refusal": TESTBED_REFUSAL,
            "rate": 2e-4,
            "ratio": 0.75,
            "steps": 240,
        }
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalNlf(Recipe):
    """Settings.

    Attributes:
        feedback: what answers are conditioned on: rating and `critique`, the `rating` alone, both `shuffled`
            across answers, or `none`.
        objectives: `condition`, `refine` or `both`.
        wording: of feedback by rule: for models of English, or of the testbed's few words.
        refusals: phrase list by which the rule reads a refusal.
        careful: whether refusals of benign requests are among the bad answers.
        refusal: of rows that have none of their own.
        ratio: share of requests to refuse with their twins among all rows seen; the rest is general.
        pairs, frozen, rate, schedule, warmup, every: as in `safety_sft`.
    """

    steps: int = 120
    batch: int = 16
    feedback: Literal["critique", "rating", "shuffled", "none"] = "critique"
    objectives: Literal["condition", "refine", "both"] = "both"
    wording: Wording = "english"
    refusals: str = "anywhere"
    careful: bool = True
    refusal: str = REFUSAL
    ratio: float = 0.5
    pairs: bool = True
    frozen: tuple[Part, ...] = ("tower", "bridge", "embeddings")
    rate: float = 1e-5
    schedule: Schedule = "cosine"
    warmup: int = 5
    every: int = 20

    def __post_init__(self) -> None:
        phrases(self.refusals)
        check_settings(self)

    def resolved(self) -> Mapping[str, str]:
        """The list of refusals that the rule of feedback reads."""
        path = files("sightline.judges") / "lists" / f"{self.refusals}.yaml"
        return {"refusals": sha256_bytes(path.read_bytes())}

    def wants_own(self, lesson: Lesson) -> bool:
        """All but rows that bring their own criticized answer."""
        return not lesson.response or lesson.label != "refuse"

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """See `Recipe.plan`.

        Raises:
            UsageError: if all answers are good, so that there is nothing to tell apart.
        """
        rng = numpy_rng("conditional_nlf", seed)
        said = [each for number, lesson in enumerate(lessons) for each in self._said(number, lesson)]
        if self.feedback != "none" and all(each.feedback.rating == GOOD for each in said):
            raise UsageError(
                "conditional_nlf: all answers to these rows are rated 4, so feedback tells nothing apart: "
                "give rows that the base answers badly, or criticized answers (wordings response, rating, "
                "critique)"
            )
        taught = self._examples(lessons, said, rng)
        found = sorted_out(lessons, pairs=self.pairs)
        units = [tuple(place for number in unit for place in taught[number]) for unit in found.safety]
        general = [place for number in found.general for place in taught[number]]
        return Plan(
            examples=tuple(example for each in taught for example in each.values()),
            batches=batches(
                [unit for unit in units if unit],
                general,
                steps=self.steps,
                batch=self.batch,
                ratio=self.ratio,
                order="mixed",
                rng=rng,
            ),
            rate=self.rate,
            schedule=self.schedule,
            warmup=self.warmup,
            frozen=self.frozen,
            every=self.every,
            system=self._line(best(self.wording)),
        )

    def _said(self, number: int, lesson: Lesson) -> list[Criticized]:
        """All answers to a lesson, bad and good, without repeats."""
        refusal = refusal_of(lesson, "considered", self.refusal)
        answers = [lesson.response, benign_answer(lesson)]
        if lesson.label == "refuse" or (lesson.label == "comply" and self.careful):
            answers.append(refusal)
        if lesson.label != "refuse" and lesson.response:
            answers.append(lesson.given)
        kept = dict.fromkeys(answer for answer in answers if answer)
        return [
            Criticized(number, answer, feedback_on(lesson, answer, self.wording, self.refusals))
            for answer in kept
        ]

    def _examples(
        self, lessons: Sequence[Lesson], said: Sequence[Criticized], rng: np.random.Generator
    ) -> list[dict[int, Example]]:
        """What is taught, by lesson: examples by their place among all."""
        given = [each.feedback for each in said]
        if self.feedback == "shuffled":
            given = [given[int(place)] for place in rng.permutation(len(given))]
        found: list[dict[int, Example]] = [{} for _ in lessons]
        made = list[tuple[int, Example]]()
        for each, feedback in zip(said, given, strict=True):
            prompt, good = lessons[each.lesson].prompt, each.feedback.rating == GOOD
            if self.feedback == "none":
                if good:
                    made.append((each.lesson, Example(prompt=prompt, chosen=each.answer)))
                continue
            if self.objectives != "refine" or lessons[each.lesson].label == "general":
                asked = prompt.with_system(self._line(feedback))
                made.append((each.lesson, Example(prompt=asked, chosen=each.answer)))
            better = _better(each, said)
            if self.objectives != "condition" and better and feedback.advice:
                asked = prompt.with_system(self._line(best(self.wording))).then(
                    Turn("assistant", (each.answer,)), Turn("user", (feedback.advice,))
                )
                made.append((each.lesson, Example(prompt=asked, chosen=better)))
        for place, (number, example) in enumerate(sorted(made, key=lambda each: each[0])):
            found[number][place] = example
        return found

    def _line(self, feedback: Feedback) -> str:
        if self.feedback == "none":
            return ""
        return line_of(feedback, self.wording, critique=self.feedback != "rating")


def _better(one: Criticized, said: Sequence[Criticized]) -> str:
    """The good answer to the same lesson as a bad one; '' if there is none."""
    if one.feedback.rating == GOOD:
        return ""
    good = (each.answer for each in said if each.lesson == one.lesson and each.feedback.rating == GOOD)
    return next(good, "")
