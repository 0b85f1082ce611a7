"""Kahneman-Tversky optimization: answers that are desirable or not, each on its own, without pairs.

Ethayarajh et al., ICML 2024, eq. 7, on the rows of SPA-VL (see `safety_dpo`), of which it needs less: for a
request to refuse the refusal is desirable and the base's own answer is not; for its benign twin the other way
round. General rows rehearse the base's own answers as desirable ones. Each row is seen with either of its
answers, in turn; answers that are both wanted and given by the base already are only rehearsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.errors import UsageError, require
from sightline.recipes._mixing import REFUSAL, batches, benign_answer, refusal_of, sorted_out
from sightline.registry import recipe
from sightline.rng import numpy_rng
from sightline.testbed.wordings import REFUSAL as TESTBED_REFUSAL
from sightline.tuning import Example, Lesson, Part, Plan, Recipe, Schedule, check_settings, lora_of


@recipe(
    "safety_kto",
    role="defense",
    paper="Ethayarajh et al., ICML 2024",
    source="ContextualAI/HALOs",
    presets={"testbed": {"refusal": TESTBED_REFUSAL, "rate": 2.5e-5, "ratio": 0.75}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyKTO(Recipe):
    """Settings: the loss, and what is mixed.

    Attributes:
        batch: rows per update; at least 2, since what others answer says how far the model is from the base.
        beta: how strongly the model is held to the base.
        desirable, undesirable: weights of the two kinds of answers.
        ratio: share of requests to refuse with their twins among all rows seen; the rest is general.
        pairs, style, refusal, frozen, lora, lora_alpha, rate, schedule, warmup, every: as in `safety_sft`.
    """

    steps: int = 60
    batch: int = 16
    beta: float = 0.1
    desirable: float = 1.0
    undesirable: float = 1.0
    ratio: float = 0.5
    pairs: bool = True
    style: Literal["considered", "bare"] = "considered"
    refusal: str = REFUSAL
    frozen: tuple[Part, ...] = ("tower", "bridge", "embeddings")
    lora: int = 0
    lora_alpha: float = 0.0
    rate: float = 1e-6
    schedule: Schedule = "cosine"
    warmup: int = 5
    every: int = 20

    def __post_init__(self) -> None:
        require(0 < self.beta <= 100, "beta", self.beta, "more than 0, at most 100")
        require(self.batch >= 2, "batch", self.batch, "at least 2 rows per update")
        for name in ("desirable", "undesirable"):
            require(0 < getattr(self, name) <= 100, name, getattr(self, name), "more than 0, at most 100")
        check_settings(self)

    def wants_own(self, lesson: Lesson) -> bool:  # noqa: ARG002
        """All lessons: what the base answers is judged, or rehearsed."""
        return True

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """See `Recipe.plan`.

        Raises:
            UsageError: if the base refuses all requests already.
        """
        rng = numpy_rng("safety_kto", seed)
        found = sorted_out(lessons, pairs=self.pairs)
        refusals = [refusal_of(each, self.style, self.refusal) for each in lessons]
        units = [unit for unit in found.safety if refusals[unit[0]] != lessons[unit[0]].own.strip()]
        if found.safety and not units:
            raise UsageError(
                "the base refuses all these requests in these words already: there is nothing to teach"
            )
        count = len(lessons)
        # example `number` has the desirable answer of a lesson, `count + number` the other one
        safety = [tuple(place + number for number in unit) for unit in units for place in (0, count)]
        return Plan(
            examples=tuple(
                Example(
                    prompt=each.prompt,
                    chosen=refusal if (each.label == "refuse") == wanted else benign_answer(each),
                    desirable=wanted,
                )
                for wanted in (True, False)
                for each, refusal in zip(lessons, refusals, strict=True)
            ),
            batches=batches(
                safety,
                found.general,
                steps=self.steps,
                batch=self.batch,
                ratio=self.ratio,
                order="mixed",
                rng=rng,
            ),
            loss="kto",
            beta=self.beta,
            weights=(self.desirable, self.undesirable),
            rate=self.rate,
            schedule=self.schedule,
            warmup=self.warmup,
            frozen=self.frozen,
            lora=lora_of(self.lora, self.lora_alpha),
            every=self.every,
        )
