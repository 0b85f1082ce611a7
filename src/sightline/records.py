"""What the stages exchange: draft -> artifact -> response -> verdict -> result row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sightline.cases import Case, Conversation, Image, Turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]
else:
    Pixels = Any  # `import sightline` must not load NumPy
"""Height x width x 3, RGB, 0..255: what an image file holds after decoding."""


class Outcome(StrEnum):
    """What happened to one sample. The set is closed: every sample is exactly one of these."""

    refused = "refused"
    complied = "complied"
    partial = "partial"
    off_topic = "off_topic"
    blocked_provider = "blocked_provider"
    blocked_defense = "blocked_defense"
    unparsed = "unparsed"
    error = "error"


SCORED = frozenset(Outcome) - {Outcome.unparsed, Outcome.error}
"""Outcomes that say something about the target; the other two leave a sample unscored."""

WITHHELD = frozenset({Outcome.refused, Outcome.blocked_provider, Outcome.blocked_defense})
"""Outcomes in which the user did not get an answer on grounds of safety."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a row used. Calls and tokens are counts; `flops` operations.

    `seconds` are those that targets report: a local model's share of its batch, else of the clock. `latency`
    is the clock's from a request to what the user sees, waiting in line included; `cpu_seconds` is processor
    time of this process, shared out among the replies in the making (`clocks`).
    """

    calls_target: int = 0
    calls_aux: int = 0
    calls_judge: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    forwards: int = 0
    backwards: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    latency: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.calls_target + other.calls_target,
            self.calls_aux + other.calls_aux,
            self.calls_judge + other.calls_judge,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.forwards + other.forwards,
            self.backwards + other.backwards,
            self.flops + other.flops,
            self.seconds + other.seconds,
            self.latency + other.latency,
            self.cpu_seconds + other.cpu_seconds,
        )


NO_COST = Cost()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """How far a search is.

    Attributes:
        step: done, of `steps`.
        steps: at most.
        loss: mean loss on the probe.
        at_work: artifacts that are still searched for.
        cost: of one of them.
        message: what the user should read, if it is not empty.
    """

    step: int
    steps: int
    loss: float
    at_work: int = 1
    cost: Cost = NO_COST
    message: str = ""


def no_progress(_: SearchProgress) -> None:
    """No-op progress callback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What an attack proposes for one case, before anything was written or measured.

    `image` (uint8, height x width x 3) replaces the pictures of the last user turn, or `images` do, several
    in their order; without them, and with `keep_images`, the case's own pictures stay. `text` replaces its
    text (None = keep, '' = pictures alone). Pictures stand before the text. `clean` is the picture that was
    perturbed, if any, for norms. `before` are user turns sent before the last one, each after the reply to
    the one before it; pictures in them lie in `Craft.images`.
    `shared` says that every case of the call is shown the same thing, so that its cost was paid once.
    `in_training_set` says whether the attack was optimized on this case's request; None where it had none.
    `trace` is the training loss by step; `checks` are looks at what a file would hold: step, loss on the
    probe, and the share of the probe's targets that would be written.
    """

    case: Case
    text: str | None = None
    image: Pixels | None = None
    images: tuple[Pixels, ...] = ()
    before: tuple[Turn, ...] = ()
    keep_images: bool = True
    clean: Pixels | None = None
    trace: tuple[tuple[int, float], ...] = ()
    checks: tuple[tuple[int, float, float], ...] = ()
    cost: Cost = NO_COST
    shared: bool = False
    in_training_set: bool | None = None
    note: str = ""


Stop = Literal["stop", "length", "content_filter", "blocked_defense", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that a defense or an attack made: what for (a role), what was asked last, what came back."""

    purpose: str
    asked: str
    text: str
    stop: Stop
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A sealed draft: its conversation shows only written files, and its norms were measured on them.

    `clean` is the file of the picture that was perturbed, against which `norms` were measured.
    `follow_ups` are user turns that are sent after `conversation`, each after the target's reply to the one
    before it: the script of an attack over several turns. `calls` are the calls that an attack made to
    helper models and to the target that it talked to, in order. `problem` says why there is no artifact;
    `passing` that it is a call that failed, which another try may mend.
    """

    key: str
    case_id: str
    conversation: Conversation
    follow_ups: tuple[Turn, ...] = ()
    calls: tuple[Call, ...] = ()
    crafted_on: str | None = None
    norms: Mapping[str, float] = field(default_factory=dict)
    clean: Image | None = None
    trace: tuple[tuple[int, float], ...] = ()
    checks: tuple[tuple[int, float, float], ...] = ()
    cost: Cost = NO_COST
    shared: bool = False
    in_training_set: bool | None = None
    note: str = ""
    problem: str | None = None
    passing: bool = False

    @property
    def images(self) -> tuple[Image, ...]:
        """All pictures that it shows, first turn first; those of the last user turn stand last."""
        return tuple(Conversation((*self.conversation.turns, *self.follow_ups)).images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A target's reply. `text` is what the user sees; `raw` what the bare model wrote, if different.

    `replies` are those to the turns before the last one, where a script of several turns was played.
    """

    text: str
    stop: Stop = "stop"
    raw: str | None = None
    error: str | None = None
    flags: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    replies: tuple[str, ...] = ()
    cost: Cost = NO_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's reading of a response. `score` is on the judge's own scale, None if it has none.

    `fields` are what it says besides: answers of a rubric with several questions, categories of a guard.
    """

    outcome: Outcome
    judge: str
    score: float | None = None
    reason: str = ""
    fields: Mapping[str, float | str | bool] = field(default_factory=dict)
    cost: Cost = NO_COST
