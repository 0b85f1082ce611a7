"""What the loop is given and what it gives back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from sightline.budget import Clock
from sightline.errors import UsageError, require
from sightline.records import Cost, Pixels
from sightline.whitebox.checkpoint import Checkpoint
from sightline.whitebox.constraints import Constraint, EmbedBox
from sightline.whitebox.objectives import Objective, Probed
from sightline.whitebox.optimizers import Optimizer
from sightline.whitebox.samplers import Sampler
from sightline.whitebox.victim import Pair

PROBE_PAIRS = 16
#: points of a loss curve, at most
CURVE_POINTS = 200

Stop = Callable[[Probed], Tensor]
"""Which artifacts are done, bool (n,), judged on the probe batch."""


def all_forced(probed: Probed) -> Tensor:
    """Done when greedy decoding writes the target of every probe pair with every victim.

    Raises:
        UsageError: for an objective without victims, which writes nothing.
    """
    if probed.forced.shape[1] == 0:
        raise UsageError("nothing is written without victims and pairs: stop with below(loss) instead")
    return probed.forced.all(1)


def below(loss: float) -> Stop:
    """Done when the loss on the probe batch is at most `loss`."""
    return lambda probed: probed.loss <= loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """The inner maximum of a min-max: nudges of the prompts' embeddings that raise the loss (CroPA).

    nudges <- box(nudges + alpha * sign(gradient)), in the same pass as the picture's step, at the steps
    `every`, 2 `every`, ... up to `until`, where steps count from 0 (as in CroPA's release). Only the prompts
    of that step move, in every token from behind the picture to the answer. Nudges start at 0, and the probe
    batch is judged without them.
    """

    alpha: float
    every: int = 1
    until: int | None = None
    box: EmbedBox = field(default_factory=EmbedBox)

    def __post_init__(self) -> None:
        require(self.alpha > 0, "alpha", self.alpha, "more than 0")
        require(self.every >= 1, "every", self.every, "at least 1 step")
        require(self.until is None or self.until >= 1, "until", self.until, "at least 1 step, or None")

    def due(self, step: int) -> bool:
        """Whether the nudges move at this step."""
        return step > 0 and step % self.every == 0 and (self.until is None or step <= self.until)

    def moved(self, nudges: Tensor, grad: Tensor) -> Tensor:
        """The next nudges; the gradient is that of the loss which the picture lowers."""
        return self.box.project(nudges + self.alpha * grad.sign())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What is minimized, over what, and how.

    Attributes:
        objective: towards what.
        constraint: over which pictures.
        optimizer: how.
        sampler: with which pairs at each step.
        probe: the pairs on which the best theta is chosen and success is judged, always the same; None
            takes the first 16 of the sampler's pool.
        stop: when an artifact is done; None goes on to the end.
        rival: of a min-max.
        views: other constraints on the same thetas, under which the probe batch is judged in place of
            `constraint`, such as a moving patch at several places: losses are averaged over them, and
            every target counts once for each of them.

    Raises:
        UsageError: for a rival with more than one victim.
    """

    objective: Objective
    constraint: Constraint
    optimizer: Optimizer[Any]
    sampler: Sampler
    probe: tuple[Pair, ...] | None = None
    stop: Stop | None = None
    rival: Rival | None = None
    views: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        if self.rival is not None and len(self.objective.victims) != 1:
            raise UsageError(
                f"nudges of prompts belong to one victim's embeddings, the objective has "
                f"{len(self.objective.victims)}: give it one, or leave `rival` out"
            )

    @property
    def judged(self) -> tuple[Pair, ...]:
        """The pairs of the probe batch."""
        return self.sampler.pool[:PROBE_PAIRS] if self.probe is None else self.probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is: mean probe loss of the artifacts still at work, and what one of them has cost."""

    step: int
    steps: int
    loss: float
    at_work: int
    cost: Cost
    message: str = ""


def _unheard(_: Any) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The world outside of a run.

    Attributes:
        report: told of every check, and of what else the user should know.
        keep: given the whole run at every check, to save it; None saves nothing.
        clock: seconds from any origin.
    """

    report: Callable[[Progress], None] = _unheard
    keep: Callable[[Checkpoint], None] | None = None
    clock: Clock = time.monotonic


@dataclass(frozen=True, slots=True)
class Check:
    """One look at an artifact as a file would hold it: probe loss, and share of probe targets it forces."""

    step: int
    loss: float
    forced: float

    def plain(self) -> list[float]:
        """As a checkpoint holds it."""
        return [self.step, self.loss, self.forced]


def better(check: Check, done: bool, best: Check | None, best_done: bool) -> bool:
    """Whether a look is to be kept: done where the best one is not, or else of a lower, finite loss."""
    lower = math.isfinite(check.loss) and (best is None or check.loss < best.loss)
    return done > best_done or (lower and done == best_done)


Ending = Literal["steps", "stopped", "budget", "broken"]
"""All steps done; done before; budget spent; the loss was no longer a finite number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What a run found; every tuple has one entry per artifact.

    Attributes:
        theta: the best ones, (n, ...).
        pixels: what the files are to hold.
        best: the check at which the best theta was found.
        endings: why it ended.
        losses: training loss by step, at most 200 points.
        checks: probe loss and success by step.
        costs: of each artifact; seconds are its share of the batch's time.
    """

    theta: Tensor
    pixels: tuple[Pixels, ...]
    best: tuple[Check, ...]
    endings: tuple[Ending, ...]
    losses: tuple[tuple[tuple[int, float], ...], ...]
    checks: tuple[tuple[Check, ...], ...]
    costs: tuple[Cost, ...]


def no_nudges(problem: Problem, n: int, device: torch.device) -> tuple[Tensor, dict[Any, tuple[int, int]]]:
    """Zero nudges of all prompts, (n, prompts, tokens, width), and each prompt's place in them and tokens."""
    (victim,) = problem.objective.victims
    prompts = list(dict.fromkeys(pair.prompt for pair in problem.sampler.pool))
    shapes = [victim.prompt_width(prompt) for prompt in prompts]
    spans = {prompt: (place, shapes[place][0]) for place, prompt in enumerate(prompts)}
    longest, width = max(tokens for tokens, _ in shapes), shapes[0][1]
    return torch.zeros(n, len(prompts), longest, width, device=device), spans
