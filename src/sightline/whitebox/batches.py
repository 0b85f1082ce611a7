"""Runs models forward and backward over a batch of artifacts, as many pictures at a time as fit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sightline.budget import Meter
from sightline.errors import UsageError
from sightline.records import Cost
from sightline.whitebox.compute import MicroBatches, RngStream, counter
from sightline.whitebox.constraints import Constraint
from sightline.whitebox.objectives import Objective, Scores
from sightline.whitebox.optimizers import LossAndGrad
from sightline.whitebox.pixels import unit
from sightline.whitebox.through import Chance, drawn
from sightline.whitebox.victim import Pair

Work = Callable[[Sequence[int] | None, int], tuple[Tensor, ...]]
"""Runs some artifacts, or all of them for None, at most so many pictures of each at a time; every result has
the artifacts first."""


@dataclass(frozen=True, slots=True, eq=False)
class Perturbations:
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


def drawing(objective: Objective, chance: Chance) -> Objective:
    """The objective whose victims draw from `chance`, where they draw at random."""
    victims = drawn(objective.victims, chance)
    return objective if victims == objective.victims else replace(objective, victims=victims)


class BatchExecutor:
    """Runs objectives on artifacts.

    The first pass of every shape is run under PyTorch's FLOP counter; later ones cost the same. A batch that
    does not fit into memory is halved, for good, and run again: its pictures, and where one alone does not
    fit, the pairs that are run with it. An artifact's own pictures are split only if it is alone.

    Attributes:
        meter: what every pass costs one artifact is added to it.
        micro_batches: of `pictures` and `pairs`.
        counted: FLOPs of a pass for one artifact, by its shape. A search that is resumed has to have them:
            another pass would be counted, and the counter changes how a pass rounds.
    """

    def __init__(self, meter: Meter, say: Callable[[str], None]) -> None:
        self.meter = meter
        self.micro_batches = MicroBatches(say)
        self.counted: dict[Hashable, float] = {}

    def state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"micro_batches": dict(self.micro_batches.sizes), "counted": list(self.counted.items())}

    def set_state(self, meter: Meter, numbers: Mapping[str, Any]) -> None:
        """Go on with what `state` gave."""
        self.meter = meter
        self.micro_batches.sizes = dict(numbers["micro_batches"])
        self.counted = {tuple(shape): flops for shape, flops in numbers["counted"]}

    def gradient(
        self,
        problem: tuple[Objective, Constraint],
        theta: Tensor,
        pairs: tuple[Pair, ...],
        rng: RngStream,
        *,
        perturbations: Perturbations | None = None,
        part: int | None = None,
    ) -> tuple[LossAndGrad, Tensor | None]:
        """Loss and gradient of every artifact; and the gradient of free perturbations, else None.

        The objective is that of all pictures which the constraint makes (`expanded`).

        Raises:
            UsageError: if the loss has no gradient, or one picture with one pair does not fit into memory.
        """
        objective, constraint = problem

        def work(index: Sequence[int] | None, most: int) -> tuple[Tensor, ...]:
            part = replace(objective, at_once=self._pairs_at_once)
            return _Step(part, constraint, theta, pairs, rng, perturbations).gradient(index, most)

        shape = ("gradient", part, *theta.shape, len(pairs), perturbations is not None)
        passes = objective.passes * constraint.samples
        size = len(theta), constraint.samples, len(pairs) if objective.victims else 1
        loss, grad, *rest = self._run(shape, size, work, passes, passes)
        return LossAndGrad(loss, grad), (rest[0] if rest else None)

    def probe(self, objective: Objective, levels: Tensor, pairs: tuple[Pair, ...], rng: RngStream) -> Scores:
        """Scores of pictures as a file holds them, uint8 (n, 3, h, w)."""

        def work(index: Sequence[int] | None, _most: int) -> tuple[Tensor, ...]:
            part = replace(objective if index is None else objective.take(index), at_once=self._pairs_at_once)
            part = drawing(part, Chance.of(rng if index is None else rng.take(index)))
            return part.probe(unit(levels if index is None else levels[list(index)]), pairs)

        shape = ("probe", *levels.shape, len(pairs))
        size = len(levels), 1, len(pairs) if objective.victims else 1
        return Scores(*self._run(shape, size, work, objective.passes))

    @property
    def _pairs_at_once(self) -> int | None:
        return self.micro_batches.sizes.get("pairs")

    def _run(
        self,
        shape: tuple[Hashable, ...],
        size: tuple[int, int, int],
        work: Work,
        forwards: int,
        backwards: int = 0,
    ) -> tuple[Tensor, ...]:
        """Run artifacts, fewer pictures and pairs at a time if they do not fit; count FLOPs of a new shape.

        `size` is the number of artifacts, of pictures of each, and of pairs of each pass.
        """
        n, samples, pairs = size
        while True:
            most = self.micro_batches.size("pictures", n * samples)
            key = (*shape, self._pairs_at_once)
            counting: Any = nullcontext() if key in self.counted else counter()
            try:
                with counting:
                    found = _whole(n, max(1, most // samples), min(most, samples), work)
            except torch.OutOfMemoryError as error:
                full = str(error)
            else:
                if key not in self.counted:
                    self.counted[key] = counting.get_total_flops() / n
                self.meter.add(Cost(forwards=forwards, backwards=backwards, flops=self.counted[key]))
                return found
            together = self.micro_batches.size("pairs", pairs)
            self.micro_batches.halve(full, "set SIGHTLINE_CHECKPOINTING=1", pictures=most, pairs=together)


def _whole(n: int, size: int, most: int, work: Work) -> tuple[Tensor, ...]:
    """What `work` gives for all artifacts, `size` of them at a time, `most` pictures of each."""
    if size >= n:
        return work(None, most)
    found = [work(range(first, min(first + size, n)), most) for first in range(0, n, size)]
    return tuple(torch.cat(some) for some in zip(*found, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """What one call of `BatchExecutor.gradient` is about."""

    objective: Objective
    constraint: Constraint
    theta: Tensor
    pairs: tuple[Pair, ...]
    rng: RngStream
    perturbations: Perturbations | None

    def gradient(self, index: Sequence[int] | None, most: int) -> tuple[Tensor, ...]:
        """Loss, gradient and the free perturbations' gradient of the artifacts of `index` (None: of all)."""
        every = range(len(self.theta)) if index is None else index
        samples = self.constraint.samples
        constraint, objective, theta = self.constraint, self.objective, self.theta
        if index is not None:
            constraint, theta = constraint.take(index), theta[list(index)]
            objective = objective.take([i * samples + s for i in every for s in range(samples)])
        leaf = theta.detach().requires_grad_(True)
        values, free = list[Tensor](), list[Tensor]()
        if self.perturbations is not None:
            chosen = self.perturbations.values.detach()[list(every)]
            values = [chosen.requires_grad_(self.perturbations.free)]
            free = values if self.perturbations.free else []
        pictures = constraint.image(leaf, self.rng.take(every))
        chance = Chance.of(self.rng.take(every), samples)
        if most < samples:
            return self._in_parts((objective, chance), leaf, pictures, values, most)
        loss = self._loss(drawing(objective, chance), pictures, values).reshape(-1, samples).mean(1)
        return (loss.detach(), *torch.autograd.grad(loss.sum(), [leaf, *free]))

    def _in_parts(
        self,
        towards: tuple[Objective, Chance],
        leaf: Tensor,
        pictures: Tensor,
        values: list[Tensor],
        most: int,
    ) -> tuple[Tensor, ...]:
        """The same for one artifact, `most` of its pictures at a time: their gradients are put together."""
        objective, chance = towards
        free = [v for v in values if v.requires_grad]
        total, grads = torch.zeros(1, device=leaf.device), list[Tensor]()
        summed = [torch.zeros_like(v) for v in free]
        for first in range(0, len(pictures), most):
            part = pictures.detach()[first : first + most].requires_grad_(True)
            numbers = range(first, first + len(part))
            own = drawing(objective.take(numbers), chance.take(numbers))
            loss = self._loss(own, part, values).sum() / len(pictures)
            grad, *moved = torch.autograd.grad(loss, [part, *free])
            total += loss.detach()
            grads.append(grad)
            summed = [before + now for before, now in zip(summed, moved, strict=True)]
        (grad,) = torch.autograd.grad(pictures, leaf, torch.cat(grads))
        return (total, grad, *summed)

    def _loss(self, objective: Objective, pictures: Tensor, values: list[Tensor]) -> Tensor:
        """Losses of pictures, as many for each artifact of `values`."""
        added = [
            of[:, place, :tokens].repeat_interleave(len(pictures) // len(of), 0)
            for of in values
            for place, tokens in (self.perturbations.spans if self.perturbations is not None else ())
        ]
        loss = objective(pictures, self.pairs, added)
        if not loss.requires_grad:
            raise UsageError(
                f"the loss has no gradient to the picture with {', '.join(objective.ids) or 'this encoder'}: "
                "a part of the model runs without gradients (no_grad, or outside of the graph); "
                "use another victim adapter"
            )
        return loss
