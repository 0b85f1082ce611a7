"""Models run forward and backward over a batch of artifacts, as many at a time as fit, and counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sightline.budget import Meter
from sightline.errors import UsageError
from sightline.records import Cost
from sightline.whitebox._descent import Slope
from sightline.whitebox._draws import Draws
from sightline.whitebox._pictures import unit
from sightline.whitebox.constraint import Constraint
from sightline.whitebox.objective import Objective, Probed
from sightline.whitebox.victim import Pair

Say = Callable[[str], None]
Work = Callable[[Sequence[int] | None], tuple[Tensor, ...]]
"""Runs some artifacts, or all of them for None; every result has the artifacts first."""


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
    that does not fit into memory is halved, for good, and run again.

    Attributes:
        meter: told what every pass costs one artifact.
        piece: artifacts at a time; None for all.
    """

    def __init__(self, meter: Meter, say: Say) -> None:
        self.meter = meter
        self.piece: int | None = None
        self._say = say
        self._flops: dict[Hashable, float] = {}

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
            UsageError: if the loss has no gradient, or one artifact alone does not fit into memory.
        """
        objective, constraint = problem

        def piece(index: Sequence[int] | None) -> tuple[Tensor, ...]:
            return _slope(objective, constraint, theta, pairs, draws, nudges, index)

        shape = ("slope", part, *theta.shape, len(pairs), nudges is not None)
        passes = objective.passes * constraint.samples
        loss, grad, *rest = self._counted(shape, len(theta), piece, passes, passes)
        return Slope(loss, grad), (rest[0] if rest else None)

    def probe(self, objective: Objective, levels: Tensor, pairs: tuple[Pair, ...]) -> Probed:
        """What pictures do as a file holds them, uint8 (n, 3, h, w)."""

        def piece(index: Sequence[int] | None) -> tuple[Tensor, ...]:
            part = objective if index is None else objective.take(index)
            return part.probe(unit(levels if index is None else levels[list(index)]), pairs)

        shape = ("probe", *levels.shape, len(pairs))
        loss, forced = self._counted(shape, len(levels), piece, objective.passes)
        return Probed(loss, forced)

    def _counted(
        self, shape: Hashable, n: int, work: Work, forwards: int, backwards: int = 0
    ) -> tuple[Tensor, ...]:
        """Run all artifacts, fewer at a time if they do not fit; count FLOPs if the shape is new."""
        while True:
            size = min(n, self.piece or n)
            counter: Any = nullcontext() if shape in self._flops else FlopCounterMode(display=False)
            try:
                with counter:
                    found = _whole(n, size, work)
            except torch.OutOfMemoryError as full:
                if size == 1:
                    raise UsageError(
                        "one picture alone does not fit into memory: take a smaller model or number format, "
                        f"fewer pairs per step, or fewer spectrum draws ({full})"
                    ) from None
                self.piece = math.ceil(size / 2)
            else:
                if shape not in self._flops:
                    self._flops[shape] = counter.get_total_flops() / n
                self.meter.add(Cost(forwards=forwards, backwards=backwards, flops=self._flops[shape]))
                return found
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._say(f"out of memory with {size} pictures at a time: going on with {self.piece}")


def _whole(n: int, size: int, work: Work) -> tuple[Tensor, ...]:
    """What `work` gives for all artifacts, `size` at a time."""
    if size == n:
        return work(None)
    found = [work(range(first, min(first + size, n))) for first in range(0, n, size)]
    return tuple(torch.cat(some) for some in zip(*found, strict=True))


def _slope(
    objective: Objective,
    constraint: Constraint,
    theta: Tensor,
    pairs: tuple[Pair, ...],
    draws: Draws,
    nudges: Nudges | None,
    index: Sequence[int] | None,
) -> tuple[Tensor, ...]:
    """Loss, gradient and the free nudges' gradient, of the artifacts of `index` (None: of all)."""
    every = range(len(theta)) if index is None else index
    if index is not None:
        constraint, theta = constraint.take(index), theta[list(index)]
        objective = objective.take(
            [i * constraint.samples + s for i in every for s in range(constraint.samples)]
        )
    samples = constraint.samples
    leaf = theta.detach().requires_grad_(True)
    leaves, shown = [leaf], list[Tensor | None]()
    if nudges is not None:
        values = nudges.values.detach()[list(every)].requires_grad_(nudges.free)
        leaves += [values] if nudges.free else []
        spans = (values[:, place, :tokens] for place, tokens in nudges.spans)
        shown = [span.repeat_interleave(samples, 0) for span in spans]
    loss = objective(constraint.image(leaf, draws.take(every)), pairs, shown)
    if not loss.requires_grad:
        raise UsageError(
            f"the loss has no gradient to the picture with {', '.join(objective.ids) or 'this encoder'}: "
            "a part of the model runs without gradients (no_grad, or outside of the graph); "
            "use another victim adapter"
        )
    loss = loss.reshape(-1, samples).mean(1)
    grads = torch.autograd.grad(loss.sum(), leaves)
    return (loss.detach(), *grads)
