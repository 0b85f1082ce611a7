"""One step of the engine, as `minimize` asks for it, and what is counted or timed of a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sightline.whitebox.compute import counter
from sightline.whitebox.objectives import Objective, TargetNLL, Weights
from sightline.whitebox.victim import Pair, Victim

Step = tuple[Tensor, Tensor]
"""Loss and gradient."""


def step(victim: Victim, x: Tensor, pairs: Sequence[Pair], weights: Weights | None = None) -> Step:
    """All pairs in one packed pass; with `weights` the weighted sum over target tokens."""
    reduction = "token_mean" if weights is None else "sum"
    objective = Objective(victims=(victim,), rows=(TargetNLL(reduction=reduction, weights=weights),))
    leaf = x.detach().requires_grad_(True)
    loss = objective(leaf, pairs).sum()
    (grad,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), grad


def step_with_rival(victim: Victim, x: Tensor, pairs: Sequence[Pair]) -> Step:
    """The same with the gradient to what is added to the text of every prompt (CroPA's adversary)."""
    objective = Objective(victims=(victim,), rows=(TargetNLL(),))
    leaf = x.detach().requires_grad_(True)
    shapes = [victim.prompt_width(pair.prompt) for pair in pairs]
    perturbations = [torch.zeros(len(x), *shape, device=x.device, requires_grad=True) for shape in shapes]
    loss = objective(leaf, pairs, perturbations).sum()
    grad, *_ = torch.autograd.grad(loss, [leaf, *perturbations])
    return loss.detach(), grad


def flops(work: Callable[[], Any]) -> float:
    """Operations of `work`: two for every multiply-and-add of a matrix product or convolution."""
    with counter() as counted:
        work()
    return float(counted.get_total_flops())


def seconds(work: Callable[[], Step]) -> tuple[float, Step]:
    """CPU time of this process, and what was found."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found
