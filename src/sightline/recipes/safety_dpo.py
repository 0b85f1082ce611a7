"""Direct preference optimization: refusals over obeying, benign answers over refusals (SPA-VL).

Zhang et al., CVPR 2025 (SPA-VL), section 4, with the loss of Rafailov et al., NeurIPS 2023, eq. 7:
-log sigmoid(beta [log pi(c)/ref(c) - log pi(r)/ref(r)]). For a request to refuse, c is the refusal and r the
base's own answer; for its benign twin the other way round. `loss=sigmoid+sft` adds the likelihood of c,
against forgetting. The reference is the base. Rows that the base answers with c already have no preference
to teach and are left out. General rows are rehearsed with their own share, since the preference says nothing
about them: with the base's answer as c and a refusal as r.
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
    "safety_dpo",
    role="defense",
    paper="Zhang et al., CVPR 2025",
    source="EchoseChen/SPA-VL-RLHF",
    presets={"testbed": {"refusal": TESTBED_REFUSAL, "rate": 2.5e-5, "ratio": 0.75}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyDPO(Recipe):
    """Settings: the loss, and what is mixed.

    Attributes:
        beta: how strongly the model is held to the base.
        loss: `sigmoid`, or `sigmoid+sft` with `sft_weight` times the mean negative log-likelihood of c.
        ratio: share of requests to refuse with their twins among all rows seen; the rest is general.
        pairs, style, refusal, frozen, lora, lora_alpha, rate, schedule, warmup, every: as in `safety_sft`.
    """

    steps: int = 60
    batch: int = 16
    beta: float = 0.1
    loss: Literal["sigmoid", "sigmoid+sft"] = "sigmoid+sft"
    sft_weight: float = 1.0
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
        require(0 < self.sft_weight <= 100, "sft_weight", self.sft_weight, "more than 0, at most 100")
        check_settings(self)

    def wants_own(self, lesson: Lesson) -> bool:  # noqa: ARG002
        """All lessons: what the base answers is one side of every preference."""
        return True

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """See `Recipe.plan`.

        Raises:
            UsageError: if the base refuses all requests already.
        """
        sides = [self._sides(each) for each in lessons]
        teaches = {number for number, (chosen, rejected) in enumerate(sides) if chosen != rejected}
        found = sorted_out(lessons, pairs=self.pairs)
        units = [unit for unit in found.safety if unit[0] in teaches]
        if found.safety and not units:
            raise UsageError(
                "the base refuses all these requests in these words already: there is no preference to teach"
            )
        rows = batches(
            [tuple(number for number in unit if number in teaches) for unit in units],
            [number for number in found.general if number in teaches],
            steps=self.steps,
            batch=self.batch,
            ratio=self.ratio,
            order="mixed",
            rng=numpy_rng("safety_dpo", seed),
        )
        return Plan(
            examples=tuple(
                Example(prompt=each.prompt, chosen=chosen, rejected=rejected)
                for each, (chosen, rejected) in zip(lessons, sides, strict=True)
            ),
            batches=rows,
            loss="dpo",
            beta=self.beta,
            nll_weight=self.sft_weight if self.loss == "sigmoid+sft" else 0.0,
            rate=self.rate,
            schedule=self.schedule,
            warmup=self.warmup,
            frozen=self.frozen,
            lora=lora_of(self.lora, self.lora_alpha),
            every=self.every,
        )

    def _sides(self, lesson: Lesson) -> tuple[str, str]:
        """What is preferred to what."""
        refusal = refusal_of(lesson, self.style, self.refusal)
        if lesson.label == "refuse":
            return refusal, lesson.own
        return benign_answer(lesson), refusal
