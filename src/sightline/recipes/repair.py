"""Repair a model whose refusals were trained away: a few safety rows, each with its benign twin.

After Qi et al., ICLR 2024, with the objective of `safety_sft` (Zong et al., ICML 2024, "post-hoc"). The base
is an attacked target, `tuned/ft_attack@...`; the record of what comes out names the cost of the attack (rows,
steps, CPU seconds) beside that of the repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.errors import require
from sightline.recipes._mixing import REFUSAL, sorted_out
from sightline.recipes.safety_sft import SafetySFT
from sightline.registry import recipe
from sightline.rng import numpy_rng
from sightline.testbed.wordings import REFUSAL as TESTBED_REFUSAL
from sightline.tuning import Lesson, Part, Plan, Recipe, Schedule


@recipe(
    "repair",
    role="defense",
    paper="Qi et al., ICLR 2024; Zong et al., ICML 2024",
    source="our specification; loss and mix of safety_sft",
    presets={"testbed": {"refusal": TESTBED_REFUSAL, "rate": 2e-4, "ratio": 0.75}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Repair(Recipe):
    """Settings.

    Attributes:
        rows: different safety rows at most, twins included; the paper's attacks take 10 to 100.
        ratio: share of safety rows among all rows seen; the rest is general.
        steps, batch, pairs, refusal, frozen, rate, schedule, warmup, every: as in `safety_sft`.
    """

    rows: int = 50
    steps: int = 20
    batch: int = 16
    ratio: float = 0.5
    pairs: bool = True
    refusal: str = REFUSAL
    frozen: tuple[Part, ...] = ("tower", "bridge", "embeddings")
    rate: float = 1e-5
    schedule: Schedule = "cosine"
    warmup: int = 0
    every: int = 10

    def __post_init__(self) -> None:
        least = 2 if self.pairs else 1
        require(
            self.rows >= least, "rows", self.rows, f"at least {least}: a request, and its twin if `pairs`"
        )
        self._sft()

    def wants_own(self, lesson: Lesson) -> bool:
        """As `safety_sft`."""
        return self._sft().wants_own(lesson)

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """See `Recipe.plan`; which safety rows are kept follows from the seed."""
        found = sorted_out(lessons, pairs=self.pairs)
        kept = set(found.general)
        room = self.rows
        for place in numpy_rng("repair", seed).permutation(len(found.safety)):
            unit = found.safety[int(place)][:room]
            kept |= set(unit)
            room -= len(unit)
        return self._sft().plan([lessons[number] for number in sorted(kept)], seed)

    def _sft(self) -> SafetySFT:
        return SafetySFT(
            steps=self.steps,
            batch=self.batch,
            ratio=self.ratio,
            pairs=self.pairs,
            refusal=self.refusal,
            frozen=self.frozen,
            rate=self.rate,
            schedule=self.schedule,
            warmup=self.warmup,
            every=self.every,
        )
