"""Models run forward and backward over a batch of artifacts, as many at a time as fit, and counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sightline.budget import Meter
from sightline.errors import UsageError
from sightline.records import Cost
from sightline.whitebox.compute import Draws
from sightline.whitebox.compute import counter as flop_counter
from sightline.whitebox.constraints import Constraint
from sightline.whitebox.objectives import Objective, Probed
from sightline.whitebox.optimizers import Slope
from sightline.whitebox.pixels import unit
from sightline.whitebox.victim import Pair

Say = Callable[[str], None]
Work = Callable[[Sequence[int] | None, int], tuple[Tensor, ...]]
"""Runs some artifacts, or all of them for None, at most so many pictures of each at a time; every result has
the artifacts first."""


@dataclass(frozen=True, slots=True, eq=False)
class Nudges:
    """What is added to prompts' embeddings at one step.

    Attributes:
        values: (n, prompts, tokens, width), 0 behind a prompt's last token.
        spans: per pair of the step, its prompt's place in `values` and its tokens.
        free: whether their gradient is wanted.
    """

    values: Tensor
    spans: tuple[tuple[int, int], ...]
    free: bool


def expanded(objective: Objective, constraint: Constraint) -> Objective:
    """The objective of an artifact for each of the pictures that the constraint makes of it."""
    samples = constraint.samples
    if samples == 1:
        return objective
    return objective.take([i for i in range(len(constraint.clean)) for _ in range(samples)])


class Passes:
    """Runs objectives on artifacts.

    The first pass of every shape is run under PyTorch's FLOP counter; later ones cost the same. A batch
    that does not fit into memory is halved, for good, and run again: its pictures, and where one alone does
    not fit, the pairs that are run beside it.

    Attributes:
        meter: told what every pass costs one artifact.
        piece: pictures at a time; None for all. An artifact's own are split only if it is alone.
        at_once: pairs at a time; None for all.
        counted: FLOPs of a pass for one artifact, by its shape. A run that is taken up has to have them:
            another pass would be counted, and the counter changes how a pass rounds.
    """

    def __init__(self, meter: Meter, say: Say) -> None:
        self.meter = meter
        self.piece: int | None = None
        self.at_once: int | None = None
        self.counted: dict[Hashable, float] = {}
        self._say = say

    def slope(
        self,
        problem: tuple[Objective, Constraint],
        theta: Tensor,
        pairs: tuple[Pair, ...],
        draws: Draws,
        *,
        nudges: Nudges | None = None,
        part: int | None = None,
    ) -> tuple[Slope, Tensor | None]:
        """Loss and gradient of every artifact; and the gradient of free nudges, else None.

        The objective is that of all pictures which the constraint makes (`expanded`).

        Raises:
            UsageError: if the loss has no gradient, or one picture with one pair does not fit into memory.
        """
        objective, constraint = problem

        def piece(index: Sequence[int] | None, most: int) -> tuple[Tensor, ...]:
            return _Step(
                replace(objective, at_once=self.at_once), constraint, theta, pairs, draws, nudges
            ).slope(index, most)

        shape = ("slope", part, *theta.shape, len(pairs), nudges is not None)
        passes = objective.passes * constraint.samples
        size = _Size(len(theta), constraint.samples, len(pairs) if objective.victims else 1)
        loss, grad, *rest = self._counted(shape, size, piece, passes, passes)
        return Slope(loss, grad), (rest[0] if rest else None)

    def probe(self, objective: Objective, levels: Tensor, pairs: tuple[Pair, ...]) -> Probed:
        """What pictures do as a file holds them, uint8 (n, 3, h, w)."""

        def piece(index: Sequence[int] | None, _most: int) -> tuple[Tensor, ...]:
            part = replace(objective if index is None else objective.take(index), at_once=self.at_once)
            return part.probe(unit(levels if index is None else levels[list(index)]), pairs)

        shape = ("probe", *levels.shape, len(pairs))
        size = _Size(len(levels), 1, len(pairs) if objective.victims else 1)
        loss, forced = self._counted(shape, size, piece, objective.passes)
        return Probed(loss, forced)

    def _counted(
        self, shape: tuple[Hashable, ...], size: _Size, work: Work, forwards: int, backwards: int = 0
    ) -> tuple[Tensor, ...]:
        """Run artifacts, fewer pictures and pairs at a time if they do not fit.

        FLOPs are counted if the shape is new.
        """
        n, samples, _ = size
        while True:
            most = min(n * samples, self.piece or n * samples)
            key = (*shape, self.at_once)
            counter: Any = nullcontext() if key in self.counted else flop_counter()
            try:
                with counter:
                    found = _whole(n, max(1, most // samples), min(most, samples), work)
            except torch.OutOfMemoryError as full:
                told = self._halved(most, size.pairs, str(full))
            else:
                if key not in self.counted:
                    self.counted[key] = counter.get_total_flops() / n
                self.meter.add(Cost(forwards=forwards, backwards=backwards, flops=self.counted[key]))
                return found
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._say(told)

    def _halved(self, pictures: int, pairs: int, full: str) -> str:
        """Run half as many pictures at a time from now on, or half as many pairs; what to say."""
        together = min(pairs, self.at_once or pairs)
        if pictures > 1:
            self.piece = math.ceil(pictures / 2)
            return f"out of memory with {pictures} pictures at a time: going on with {self.piece}"
        if together > 1:
            self.at_once = math.ceil(together / 2)
            return f"out of memory with {together} pairs at a time: going on with {self.at_once}"
        raise UsageError(
            "one picture alone does not fit into memory: take a smaller model or number format, or set "
            f"SIGHTLINE_CHECKPOINTING=1 ({full})"
        ) from None


class _Size(NamedTuple):
    """Artifacts, pictures of each, pairs of each pass."""

    artifacts: int
    samples: int
    pairs: int


def _whole(n: int, size: int, most: int, work: Work) -> tuple[Tensor, ...]:
    """What `work` gives for all artifacts, `size` of them at a time, `most` pictures of each."""
    if size >= n:
        return work(None, most)
    found = [work(range(first, min(first + size, n)), most) for first in range(0, n, size)]
    return tuple(torch.cat(some) for some in zip(*found, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """What one question for slopes is about; the fields are those of `Passes.slope`."""

    objective: Objective
    constraint: Constraint
    theta: Tensor
    pairs: tuple[Pair, ...]
    draws: Draws
    nudges: Nudges | None

    def slope(self, index: Sequence[int] | None, most: int) -> tuple[Tensor, ...]:
        """Loss, gradient and the free nudges' gradient, of the artifacts of `index` (None: of all)."""
        every = range(len(self.theta)) if index is None else index
        samples = self.constraint.samples
        constraint, objective, theta = self.constraint, self.objective, self.theta
        if index is not None:
            constraint, theta = constraint.take(index), theta[list(index)]
            objective = objective.take([i * samples + s for i in every for s in range(samples)])
        leaf = theta.detach().requires_grad_(True)
        values, free = list[Tensor](), list[Tensor]()
        if self.nudges is not None:
            values = [self.nudges.values.detach()[list(every)].requires_grad_(self.nudges.free)]
            free = values if self.nudges.free else []
        pictures = constraint.image(leaf, self.draws.take(every))
        if most < samples:
            return self._in_parts(objective, leaf, pictures, values, most)
        loss = self._loss(objective, pictures, values).reshape(-1, samples).mean(1)
        return (loss.detach(), *torch.autograd.grad(loss.sum(), [leaf, *free]))

    def _in_parts(
        self, objective: Objective, leaf: Tensor, pictures: Tensor, values: list[Tensor], most: int
    ) -> tuple[Tensor, ...]:
        """The same for one artifact, `most` of its pictures at a time: their gradients are put together."""
        free = [v for v in values if v.requires_grad]
        total, slopes = torch.zeros(1, device=leaf.device), list[Tensor]()
        rise = [torch.zeros_like(v) for v in free]
        for first in range(0, len(pictures), most):
            part = pictures.detach()[first : first + most].requires_grad_(True)
            own = objective.take(range(first, first + len(part)))
            loss = self._loss(own, part, values).sum() / len(pictures)
            slope, *moved = torch.autograd.grad(loss, [part, *free])
            total += loss.detach()
            slopes.append(slope)
            rise = [before + now for before, now in zip(rise, moved, strict=True)]
        (grad,) = torch.autograd.grad(pictures, leaf, torch.cat(slopes))
        return (total, grad, *rise)

    def _loss(self, objective: Objective, pictures: Tensor, values: list[Tensor]) -> Tensor:
        """Losses of pictures, as many for each artifact of `values`."""
        shown = [
            of[:, place, :tokens].repeat_interleave(len(pictures) // len(of), 0)
            for of in values
            for place, tokens in (self.nudges.spans if self.nudges is not None else ())
        ]
        loss = objective(pictures, self.pairs, shown)
        if not loss.requires_grad:
            raise UsageError(
                f"the loss has no gradient to the picture with {', '.join(objective.ids) or 'this encoder'}: "
                "a part of the model runs without gradients (no_grad, or outside of the graph); "
                "use another victim adapter"
            )
        return loss
