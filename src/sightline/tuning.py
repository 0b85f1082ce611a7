"""What a recipe of training is: lessons in, a plan of batches out. Backends carry plans out.

A recipe is a function (base target, cases, settings, seed) -> trained target, cut in two: what it decides
(which answers are taught, in which order, by which loss) is a `Plan`, made of plain values here; how weights
are changed is the business of a backend (`sightline.training`). A defense and an attack by fine-tuning
differ in nothing but the role on their cards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sightline.callables import RecipeCall
from sightline.cases import Conversation, Eps
from sightline.errors import UsageError, require

Label = Literal["refuse", "comply", "general"]
"""Of a lesson: a request to refuse, a request to comply with, or a question that any model answers."""
Part = Literal["tower", "bridge", "language", "embeddings"]
"""Of a multimodal model: vision encoder, what joins it to the language model, that model, its words."""
PARTS: tuple[Part, ...] = ("tower", "bridge", "language", "embeddings")
Loss = Literal["nll", "dpo", "features"]
Schedule = Literal["cosine", "constant"]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt with the answer that is taught and, for losses of preference, the one it is preferred to."""

    prompt: Conversation
    chosen: str
    rejected: str = ""


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
        loss: `nll`: mean negative log-likelihood of the answers' tokens. `dpo`: -log sigmoid(beta * margin).
            `features`: how far attacked pictures move the tower's features; answers are not looked at.
        beta: of `dpo`.
        nll_weight: with `dpo`, the weight of the chosen answers' `nll`, which is added.
        rate: peak learning rate of AdamW.
        schedule: `cosine` down to zero, or `constant`; both after `warmup` steps.
        warmup: steps of linear growth.
        frozen: parts that stay as they are.
        every: steps between checkpoints, each of them a target; 0 for none but the last.
        at: further numbers of steps after which a checkpoint is kept.
        robust: of `features`: the attack.
        system: a line that the trained target puts before every conversation, '' for none.
    """

    examples: tuple[Example, ...]
    batches: tuple[tuple[int, ...], ...]
    loss: Loss = "nll"
    beta: float = 0.1
    nll_weight: float = 0.0
    rate: float = 1e-3
    schedule: Schedule = "cosine"
    warmup: int = 0
    weight_decay: float = 0.0
    frozen: tuple[Part, ...] = ()
    every: int = 0
    at: tuple[int, ...] = ()
    robust: Robust | None = None
    system: str = ""

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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is: steps done, of how many, and the loss of the last one."""

    step: int
    steps: int
    loss: float
    seconds: float = field(compare=False, default=0.0)


def check_settings(*, steps: int, batch: int, rate: float, frozen: Sequence[Part]) -> None:
    """Make sure of what every recipe has.

    Raises:
        UsageError: naming the setting, its value and what is allowed.
    """
    require(1 <= steps <= 1_000_000, "steps", steps, "1..1000000 updates")
    require(1 <= batch <= 4096, "batch", batch, "1..4096 rows")
    require(0 < rate <= 1, "rate", rate, "more than 0, at most 1")
    check_parts(frozen)


def check_parts(frozen: Sequence[Any]) -> None:
    """Check that something is left to train.

    Raises:
        UsageError: if all parts are frozen.
    """
    if set(frozen) >= set(PARTS):
        raise UsageError(
            f"frozen={tuple(frozen)!r}: nothing is left to train; leave out a part, such as 'language'"
        )
