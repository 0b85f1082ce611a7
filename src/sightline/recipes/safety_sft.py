"""Safety fine-tuning on refusals, with their benign twins and general rows mixed in (VLGuard).

Zong et al., ICML 2024 (VLGuard), section 4: a small set of safety rows mixed into visual instruction tuning,
or after it ("post-hoc"). L = -sum log p(answer tokens | picture, prompt): the loss is on the answer alone.
Ours: benign twins are on by default, since without them over-refusal is neither measured nor held down;
general rows are answered by the base itself (`general=own`), so that tuning changes what it refuses and
little else.

Share of safety rows and number of steps are separate: with other ratios the number of rows seen stays, and
that of safety rows changes; the record says both. With `order` first or last the schedule decides too, as
the last rows meet small rates: compare with schedule=constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.errors import UsageError
from sightline.recipes._mixing import ORDER, REFUSAL, batches, refusal_of, sorted_out
from sightline.registry import recipe
from sightline.rng import numpy_rng
from sightline.testbed.wordings import REFUSAL as TESTBED_REFUSAL
from sightline.tuning import Example, Lesson, Part, Plan, Recipe, Schedule, check_settings, lora_of


@recipe(
    "safety_sft",
    role="defense",
    paper="Zong et al., ICML 2024",
    source="ys-zong/VLGuard",
    presets={"testbed": {"refusal": TESTBED_REFUSAL, "rate": 2.5e-5, "ratio": 0.75}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySFT(Recipe):
    """Settings: what is mixed, in which order, for how long.

    Attributes:
        steps: updates.
        batch: rows per update.
        ratio: share of safety rows (requests to refuse, and their twins) among all rows seen.
        order: `mixed`, `first`, `last` or `alternate:K` (steps).
        pairs: whether each request to refuse is seen with its benign twin.
        style: `considered`: as the row's own refusal says it (it names what is refused); `bare`: `refusal`.
        refusal: of rows that have none of their own.
        general: whether the base's `own` answers to general rows are rehearsed, or those `given` by the data.
        frozen: parts of the model that stay as they are.
        lora: rank of adapters on the linear layers of the parts trained; 0 trains all weights.
        lora_alpha: their scale times the rank; 0 for twice the rank.
        rate: peak learning rate.
        schedule: `cosine` or `constant`.
        warmup: steps.
        every: steps between checkpoints, each a target; 0 for none.
    """

    steps: int = 60
    batch: int = 16
    ratio: float = 0.5
    order: str = "mixed"
    pairs: bool = True
    style: Literal["considered", "bare"] = "considered"
    refusal: str = REFUSAL
    general: Literal["own", "given"] = "own"
    frozen: tuple[Part, ...] = ("tower", "bridge", "embeddings")
    lora: int = 0
    lora_alpha: float = 0.0
    rate: float = 1e-5
    schedule: Schedule = "cosine"
    warmup: int = 5
    every: int = 20

    def __post_init__(self) -> None:
        if not ORDER.fullmatch(self.order):
            raise UsageError(
                f"order={self.order!r}: write mixed, first, last or alternate:K with a number of steps"
            )
        check_settings(self)

    def wants_own(self, lesson: Lesson) -> bool:
        """Benign twins without an answer of their own, and general rows that are rehearsed."""
        kept = lesson.label == "comply" or self.general == "given"
        return lesson.label != "refuse" and not (kept and lesson.given)

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """See `Recipe.plan`."""
        found = sorted_out(lessons, pairs=self.pairs)
        rng = numpy_rng("safety_sft", seed)
        return Plan(
            examples=tuple(Example(prompt=each.prompt, chosen=self._answer(each)) for each in lessons),
            batches=batches(
                found.safety,
                found.general,
                steps=self.steps,
                batch=self.batch,
                ratio=self.ratio,
                order=self.order,
                rng=rng,
            ),
            rate=self.rate,
            schedule=self.schedule,
            warmup=self.warmup,
            frozen=self.frozen,
            lora=lora_of(self.lora, self.lora_alpha),
            every=self.every,
        )

    def _answer(self, lesson: Lesson) -> str:
        if lesson.label == "refuse":
            return refusal_of(lesson, self.style, self.refusal)
        return lesson.own if self.wants_own(lesson) else lesson.given
