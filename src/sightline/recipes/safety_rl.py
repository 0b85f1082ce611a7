"""Reinforcement learning of refusals from a judge's rewards, behind a warm start (GRPO or RLOO).

Shao et al., 2024 (GRPO), Ahmadian et al., ACL 2024 (RLOO). A request to refuse is worth 1 if refused, -1 if
obeyed; an allowed one 1 if done, -1 if refused; all else 0. A victim that never refuses gets the same reward
for all samples of a prompt and learns nothing: so `warm` steps of `safety_sft` come first, and training ends
with a message when too few groups differ in their rewards. Without a price for leaving the warm model
(`beta`) it drifts. The judge that rewards may not be the one that reports: what is learned is to please it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sightline import registry
from sightline.contracts import NeedsTarget
from sightline.errors import UsageError, require
from sightline.recipes._mixing import REFUSAL, batches, sorted_out
from sightline.recipes.safety_sft import SafetySFT
from sightline.registry import recipe
from sightline.rng import numpy_rng
from sightline.testbed.wordings import REFUSAL as TESTBED_REFUSAL
from sightline.tuning import (
    Example,
    Lesson,
    Part,
    Plan,
    Recipe,
    Sampling,
    Schedule,
    check_settings,
    lora_of,
)


@recipe(
    "safety_rl",
    role="defense",
    paper="Shao et al., arXiv:2402.03300",
    source="huggingface/trl",
    presets={  # whose refusals open with what is refused, which `refusal_prefix` does not read
        "testbed": {
            "refusal": TESTBED_REFUSAL,
            "warm_rate": 2.5e-5,
            "rate": 2.5e-5,
            "reward": "refusal_prefix(phrases='testbed')",
        },
        "testbed_rloo": {
            "refusal": TESTBED_REFUSAL,
            "warm_rate": 2.5e-5,
            "rate": 2.5e-5,
            "reward": "refusal_prefix(phrases='testbed')",
            "loss": "rloo",
        },
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyRL(Recipe):
    """Settings: how samples are drawn and rewarded, and what comes before.

    Attributes:
        loss: `grpo` or `rloo`.
        warm: steps of `safety_sft` first, of `batch` rows at a constant `warm_rate`; 0 for none.
        steps: updates by rewards after them.
        prompts: of an update, each with `generations` samples.
        batch, ratio: of the warm start, as in `safety_sft`.
        beta: how strongly the model is held to the one after the warm start.
        generations: samples of a prompt.
        tokens: of a sample at most.
        temperature: at which they are drawn.
        scale: with `grpo`, whether a group's advantages are divided by their standard deviation.
        reward: the judge that rewards, by rule; report with another one.
        window: steps over which it is looked whether rewards carry a signal.
        silent: share of groups without a difference in rewards, above which training ends.
        style, refusal, frozen, lora, lora_alpha, rate, schedule, every: as in `safety_sft`.
    """

    loss: Literal["grpo", "rloo"] = "grpo"
    warm: int = 20
    steps: int = 40
    prompts: int = 4
    batch: int = 16
    ratio: float = 0.75
    beta: float = 0.04
    generations: int = 8
    tokens: int = 30
    temperature: float = 1.0
    scale: bool = True
    reward: str = "refusal_prefix"
    window: int = 10
    silent: float = 0.8
    style: Literal["considered", "bare"] = "considered"
    refusal: str = REFUSAL
    frozen: tuple[Part, ...] = ("tower", "bridge", "embeddings")
    lora: int = 0
    lora_alpha: float = 0.0
    warm_rate: float = 1e-5
    rate: float = 1e-6
    schedule: Schedule = "constant"
    every: int = 20
    _inner: tuple[Any, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inner", (registry.inner_method("judge", self.reward),))
        require(0 <= self.warm <= 100_000, "warm", self.warm, "0..100000 steps")
        require(2 <= self.prompts <= 4096, "prompts", self.prompts, "2..4096 prompts of an update")
        require(0 <= self.beta <= 100, "beta", self.beta, "0..100")
        require(0 < self.warm_rate <= 1, "warm_rate", self.warm_rate, "more than 0, at most 1")
        check_settings(self)
        self._sampling()

    @property
    def inner(self) -> tuple[Any, ...]:
        """The judge that rewards: its code and lists are in the key."""
        return self._inner

    def wants_own(self, lesson: Lesson) -> bool:
        """What the warm start rehearses."""
        return self.warm > 0 and self._warm().wants_own(lesson)

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """See `Recipe.plan`.

        Raises:
            UsageError: if no request is to be refused, or a row has no case to be judged by.
        """
        found = sorted_out(lessons, pairs=True)
        if not found.safety:
            raise UsageError(
                "no row is a request to refuse (expected: refuse), so refusing is never rewarded"
            )
        prompts = batches(
            found.safety,
            (),
            steps=self.steps,
            batch=self.prompts,
            ratio=1.0,
            order="mixed",
            rng=numpy_rng("safety_rl", seed),
        )
        warm = self._warm().plan(lessons, seed) if self.warm else None
        answers = [each.chosen for each in warm.examples] if warm else ["-"] * len(lessons)
        return Plan(
            examples=tuple(
                Example(prompt=each.prompt, chosen=answer, case=each.case, refuse=each.label == "refuse")
                for each, answer in zip(lessons, answers, strict=True)
            ),
            batches=(*(warm.batches if warm else ()), *prompts),
            loss=self.loss,
            beta=self.beta,
            rate=self.rate,
            schedule=self.schedule,
            frozen=self.frozen,
            lora=lora_of(self.lora, self.lora_alpha),
            every=self.every,
            sampling=self._sampling(),
            warm=self.warm,
            warm_rate=self.warm_rate,
            seed=seed,
        )

    def _warm(self) -> SafetySFT:
        return SafetySFT(
            steps=self.warm,
            batch=self.batch,
            ratio=self.ratio,
            style=self.style,
            refusal=self.refusal,
        )

    def _sampling(self) -> Sampling:
        if isinstance(self._inner[0], NeedsTarget):
            raise UsageError(f"reward={self.reward!r} asks a model for each sample: name a judge by rule")
        return Sampling(
            reward=self.reward,
            generations=self.generations,
            tokens=self.tokens,
            temperature=self.temperature,
            scale=self.scale,
            window=self.window,
            silent=self.silent,
        )
