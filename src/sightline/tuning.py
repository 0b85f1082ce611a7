"""What a recipe of training is: lessons in, a plan of batches out. Backends carry plans out.

A recipe is a function (base target, cases, settings, seed) -> trained target, cut in two: what it decides
(which answers are taught, in which order, by which loss) is a `Plan`, made of plain values here; how weights
are changed is the business of a backend (`sightline.training`). A defense and an attack by fine-tuning
differ in nothing but the role on their cards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from sightline.callables import RecipeCall
from sightline.cases import Case, Conversation, Eps
from sightline.errors import UsageError, require

Label = Literal["refuse", "comply", "general"]
"""Of a lesson: a request to refuse, a request to comply with, or a question that any model answers."""
Part = Literal["tower", "bridge", "language", "embeddings"]
"""Of a multimodal model: vision encoder, what joins it to the language model, that model, its words."""
PARTS: tuple[Part, ...] = ("tower", "bridge", "language", "embeddings")
Loss = Literal["nll", "dpo", "kto", "grpo", "rloo", "features"]
Schedule = Literal["cosine", "constant"]
Backend = Literal["loop", "trl"]
"""Who carries a plan out: ours, for all families and losses, or TRL's trainers (extra `train`)."""
LABELS: Mapping[str, Label] = {"refuse": "refuse", "comply": "comply", "answer": "general"}
"""By what a case expects; a case that expects anything else teaches nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A case that a model may be trained on.

    Attributes:
        id: of the case.
        prompt: what is asked; ends with a user turn.
        label: what a safe model does.
        source: the benchmark that it comes from.
        group: lessons and cases of one group are about one thing.
        twin: id of the case with the same words and the other label, '' if there is none.
        given: the answer that the data give, '' if none.
        own: the answer of the base model before training, '' if it was not asked.
        refusal: a refusal in the words of this case, '' if the data give none.
        asked: for the testbed's invented requests, the harmless recipe that is asked for.
        response, rating, critique, refinement: an answer with the feedback that the data give on it: 1 to 4,
            what is good or bad in it, how to mend it; '' if they give none.
        case: whose replies judges read; not part of what identifies the lesson, which the others say.
    """

    id: str
    prompt: Conversation
    label: Label
    source: str
    group: str
    twin: str = ""
    given: str = ""
    own: str = ""
    refusal: str = ""
    asked: str = ""
    response: str = ""
    rating: str = ""
    critique: str = ""
    refinement: str = ""
    case: Case | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt with the answer that is taught and, for losses of preference, the one it is preferred to.

    With `kto` there is one answer, `chosen`, and `desirable` says whether to give it more or less often.
    Losses of rewards have none but the model's samples, judged as replies to `case`; `refuse` says what for.
    """

    prompt: Conversation
    chosen: str
    rejected: str = ""
    desirable: bool = True
    case: Case | None = None
    refuse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model learns from its own samples.

    Attributes:
        reward: the judge that rewards; another one should report.
        generations: samples of each prompt, a group.
        tokens: of a sample at most.
        temperature: at which they are drawn.
        scale: with `grpo`, whether advantages are divided by the group's standard deviation.
        window: steps over which it is looked whether rewards carry a signal.
        silent: share of groups without a difference in rewards, above which training stops.
    """

    reward: str
    generations: int = 8
    tokens: int = 30
    temperature: float = 1.0
    scale: bool = True
    window: int = 10
    silent: float = 0.8

    def __post_init__(self) -> None:
        require(2 <= self.generations <= 1024, "generations", self.generations, "2..1024 samples of a prompt")
        require(1 <= self.tokens <= 4096, "tokens", self.tokens, "1..4096")
        require(0 < self.temperature <= 10, "temperature", self.temperature, "more than 0, at most 10")
        require(1 <= self.window <= 1000, "window", self.window, "1..1000 steps")
        require(0 < self.silent <= 1, "silent", self.silent, "more than 0, at most 1, a share of groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters on every linear layer of the parts trained; their scale is alpha / rank."""

    rank: int
    alpha: float

    def __post_init__(self) -> None:
        require(1 <= self.rank <= 4096, "lora", self.rank, "1..4096, a rank; 0 for all weights")
        require(0 < self.alpha <= 1e6, "lora_alpha", self.alpha, "more than 0, at most 1000000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Robust:
    """How pictures are attacked while a tower is trained against it, and what of the tower may not move.

    Attributes:
        eps: bound of the change of every value.
        alpha: size of a step of the attack.
        steps: of the attack on each batch.
        features: `patches`, what the language model reads, or the `pooled` vector.
        seed: of random starts.
    """

    eps: Eps
    alpha: Eps
    steps: int
    features: Literal["patches", "pooled"]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a backend needs to know.

    Attributes:
        examples: what is taught.
        batches: for every step the numbers of its examples.
        loss: `nll`, `dpo` or `kto`, see `training.losses`; `grpo` or `rloo`, see `training.rollouts`;
            `features`: how far attacked pictures move the tower's features; answers are not looked at.
        beta: of all but `nll` and `features`.
        weights: with `kto`, of desirable and of undesirable answers.
        nll_weight: with `dpo`, the weight of the chosen answers' `nll`, which is added.
        rate: peak learning rate of AdamW.
        schedule: `cosine` down to zero, or `constant`; both after `warmup` steps.
        warmup: steps of linear growth.
        frozen: parts that stay as they are.
        lora: adapters that are trained in place of the weights.
        every: steps between checkpoints, each of them a target; 0 for none but the last.
        at: further numbers of steps after which a checkpoint is kept.
        robust: of `features`: the attack.
        system: a line that the trained target puts before every conversation, '' for none.
        sampling: of losses of rewards.
        warm: with `sampling`, first steps, which are of `nll`.
        warm_rate: their learning rate.
        seed: of samples.
    """

    examples: tuple[Example, ...]
    batches: tuple[tuple[int, ...], ...]
    loss: Loss = "nll"
    beta: float = 0.1
    nll_weight: float = 0.0
    weights: tuple[float, float] = (1.0, 1.0)
    rate: float = 1e-3
    schedule: Schedule = "cosine"
    warmup: int = 0
    weight_decay: float = 0.0
    frozen: tuple[Part, ...] = ()
    lora: Lora | None = None
    every: int = 0
    at: tuple[int, ...] = ()
    robust: Robust | None = None
    system: str = ""
    sampling: Sampling | None = None
    warm: int = 0
    warm_rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _check_counts(warmup=self.warmup, every=self.every)

    @property
    def steps(self) -> int:
        """Number of updates."""
        return len(self.batches)

    @property
    def saved(self) -> tuple[int, ...]:
        """Numbers of updates after which a checkpoint is kept, without the last."""
        regular = range(self.every, self.steps, self.every) if self.every else ()
        return tuple(sorted({*regular, *(step for step in self.at if 0 < step < self.steps)}))

    @property
    def seen(self) -> int:
        """Examples seen, repeats included."""
        return sum(map(len, self.batches))


class Recipe(RecipeCall, Protocol):
    """Decides what is taught; a frozen dataclass of settings."""

    __slots__ = ()

    def wants_own(self, lesson: Lesson) -> bool:
        """Whether the base model is asked for its own answer to this lesson before training begins."""
        ...

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """What to teach, in which order; the same for the same lessons and seed.

        Raises:
            UsageError: if the lessons lack what the recipe needs.
        """
        ...


@runtime_checkable
class Rewarded(Protocol):
    """A recipe whose model is rewarded by a judge, which then should not be the one that reports."""

    @property
    def reward(self) -> str:
        """The judge, by its name with settings."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is: steps done, of how many, and the loss of the last one."""

    step: int
    steps: int
    loss: float
    seconds: float = field(compare=False, default=0.0)


def lora_of(rank: int, alpha: float) -> Lora | None:
    """Adapters of recipes' settings: rank 0 is none, alpha 0 twice the rank.

    Raises:
        UsageError: for settings out of range.
    """
    require(rank >= 0, "lora", rank, "a rank; 0 trains all weights")
    require(alpha >= 0, "lora_alpha", alpha, "0 (twice the rank) or more")
    return Lora(rank=rank, alpha=alpha or 2.0 * rank) if rank else None


def check_settings(recipe: Any, frozen: Sequence[Part] | None = None) -> None:
    """Make sure of the settings that recipes have in common; those that a recipe lacks are not looked at.

    Args:
        recipe: with `steps`, `batch` and `rate`, and perhaps `ratio`, `lora`, `warmup`, `every`.
        frozen: parts that stay as they are; by default the recipe's setting.

    Raises:
        UsageError: naming the setting, its value and what is allowed.
    """
    require(1 <= recipe.steps <= 1_000_000, "steps", recipe.steps, "1..1000000 updates")
    require(1 <= recipe.batch <= 4096, "batch", recipe.batch, "1..4096 rows")
    require(0 < recipe.rate <= 1, "rate", recipe.rate, "more than 0, at most 1")
    ratio = getattr(recipe, "ratio", 0.0)
    require(0 <= ratio <= 1, "ratio", ratio, "0..1, a share of all rows")
    _check_counts(warmup=getattr(recipe, "warmup", 0), every=getattr(recipe, "every", 0))
    lora_of(getattr(recipe, "lora", 0), getattr(recipe, "lora_alpha", 0.0))
    check_parts(recipe.frozen if frozen is None else frozen)


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        require(0 <= value <= 1_000_000, name, value, "0..1000000 updates")


def check_parts(frozen: Sequence[Any]) -> None:
    """Check that something is left to train.

    Raises:
        UsageError: if all parts are frozen.
    """
    if set(frozen) >= set(PARTS):
        raise UsageError(
            f"frozen={tuple(frozen)!r}: nothing is left to train; leave out a part, such as 'language'"
        )
