"""Train the detoxifier of `mllm_protector`: a model that writes a harmful answer anew.

Pi et al., EMNLP 2024: the instruction to rewrite, the request and the answer in, the corrected answer out,
with the loss on the latter alone; where both answers of the data are unsafe it is a fixed refusal. Here the
harmful answers are the base's own to requests to refuse, corrected to the refusal of the data. Ours: benign
answers are rewritten to themselves, so that a false alarm of the detector costs little. Pictures are left
out, as at inference. It is the setting `detoxifier` of `mllm_protector`, with the same `wording` and `form`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.cases import Conversation
from sightline.defenses._detecting import Form
from sightline.defenses._texts import filled, wording
from sightline.judges._rubrics import BRACKETS
from sightline.recipes._mixing import REFUSAL, batches, sorted_out
from sightline.registry import recipe
from sightline.rng import numpy_rng
from sightline.testbed.wordings import REFUSAL as TESTBED_REFUSAL
from sightline.tuning import Example, Lesson, Part, Plan, Recipe, Schedule, check_settings


@recipe(
    "detoxifier",
    role="defense",
    paper="arXiv:2401.02906",
    source="pipilurj/MLLM-protector (layout and loss, by our specification); own texts",
    data=("../defenses/texts/mllm_protector.yaml",),
    presets={"testbed": {"wording": "testbed", "refusal": TESTBED_REFUSAL, "rate": 2e-4}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Detoxifier(Recipe):
    """Settings.

    Attributes:
        wording: name of a set of texts of `mllm_protector`.
        form: `as_trained` shows request and answer, `as_released` the answer alone.
        refusal: of rows that have none of their own.
        ratio: share of requests to refuse with their twins among all rows seen; the rest is general.
        steps, batch, pairs, frozen, rate, schedule, warmup, every: as in `safety_sft`.
    """

    wording: str = "natural"
    form: Form = "as_trained"
    refusal: str = REFUSAL
    ratio: float = 0.75
    pairs: bool = True
    steps: int = 120
    batch: int = 16
    frozen: tuple[Part, ...] = ("tower", "bridge", "embeddings")
    rate: float = 2e-5
    schedule: Schedule = "cosine"
    warmup: int = 5
    every: int = 0

    def __post_init__(self) -> None:
        wording("mllm_protector", self.wording, "wording of recipe 'detoxifier'")
        check_settings(self)

    def wants_own(self, lesson: Lesson) -> bool:  # noqa: ARG002
        """All: what the base answers is what is rewritten."""
        return True

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """See `Recipe.plan`."""
        found = sorted_out(lessons, pairs=self.pairs)
        return Plan(
            examples=tuple(map(self._example, lessons)),
            batches=batches(
                found.safety,
                found.general,
                steps=self.steps,
                batch=self.batch,
                ratio=self.ratio,
                order="mixed",
                rng=numpy_rng("detoxifier", seed),
            ),
            rate=self.rate,
            schedule=self.schedule,
            warmup=self.warmup,
            frozen=self.frozen,
            every=self.every,
        )

    def _example(self, lesson: Lesson) -> Example:
        texts = wording("mllm_protector", self.wording, "wording")
        text = texts["rewrite" if self.form == "as_trained" else "rewrite_released"]
        request, reply = (each.translate(BRACKETS) for each in (lesson.prompt.last_user_text(), lesson.own))
        asked = Conversation.user(filled(text, request=request, reply=reply))
        safe = (lesson.given or self.refusal) if lesson.label == "refuse" else lesson.own
        return Example(prompt=asked, chosen=safe)
