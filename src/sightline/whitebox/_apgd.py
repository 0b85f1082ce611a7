"""Auto-PGD: projected descent with momentum that halves its own step and restarts from its best point.

Croce and Hein, ICML 2020, algorithm 1, equations 1 and 2, conditions 1 and 2. Where the released code and the
paper differ (rounding of checkpoints, "<" or "<=" in condition 1, the loss to compare with after a restart),
this is the paper; as in the code, a restart takes effect before the step that follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from sightline.errors import UsageError, nearest, require
from sightline.whitebox._descent import Move, Norm, Project, Slopes
from sightline.whitebox._pictures import lengths


def checkpoints(steps: int) -> tuple[int, ...]:
    """Steps at which the step size is looked at: after 22 %, then 19 % later, 16, ... down to 6."""
    percent, gap, found = 22, 22, list[int]()
    while percent <= 100:
        found.append(-(-percent * steps // 100))
        gap = max(gap - 3, 6)
        percent += gap
    return tuple(sorted({place for place in found if place > 0}))


@dataclass(frozen=True, slots=True)
class Climb:
    """State of `APGD`; tensors are of theta's shape or (n,).

    Attributes:
        theta: current point.
        previous: the point before it.
        loss: at `previous`, that is, when a slope was asked for last.
        best: the point of least loss so far.
        best_loss: its loss.
        best_grad: its gradient.
        eta: step size.
        gains: steps since the last checkpoint that lowered the loss.
        mark: `best_loss` at the last checkpoint.
        halved: whether the step size was halved there.
    """

    theta: Tensor
    previous: Tensor
    loss: Tensor
    best: Tensor
    best_loss: Tensor
    best_grad: Tensor
    eta: Tensor
    gains: Tensor
    mark: Tensor
    halved: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class APGD:
    """Auto-PGD. Made for fixed pairs: with others at every step, `best` compares losses of different pairs.

    Attributes:
        eta: first step in theta's units; the paper has 2 eps, RobustVLM eps.
        norm: of the step: `linf` goes by the gradient's sign, `l2` by its direction.
        momentum: share of the new direction in a step.
        rho: share of steps that have to improve for the step size to stay.
    """

    eta: float
    norm: Norm = "linf"
    momentum: float = 0.75
    rho: float = 0.75

    def __post_init__(self) -> None:
        require(self.eta > 0, "eta", self.eta, "more than 0; one level of 255 is 1/255")
        require(0 < self.momentum <= 1, "momentum", self.momentum, "0 < momentum <= 1")
        require(0 <= self.rho <= 1, "rho", self.rho, "0 to 1")
        if self.norm not in get_args(Norm):
            raise UsageError(nearest(self.norm, get_args(Norm), "norm"))

    def start(self, theta: Tensor) -> Climb:
        endless = torch.full((len(theta),), torch.inf, device=theta.device)
        return Climb(
            theta=theta,
            previous=theta,
            loss=endless,
            best=theta,
            best_loss=endless,
            best_grad=torch.zeros_like(theta),
            eta=torch.full_like(endless, self.eta),
            gains=torch.zeros(len(theta), dtype=torch.long, device=theta.device),
            mark=endless,
            halved=torch.zeros(len(theta), dtype=torch.bool, device=theta.device),
        )

    def step(self, state: Climb, slopes: Slopes, project: Project, step: int, steps: int) -> Move[Climb]:
        theta = state.theta
        found, grad = slopes(theta)
        gains = state.gains + (found < state.loss) * (step > 0)
        better = found < state.best_loss
        best, best_loss = _where(better, theta, state.best), _where(better, found, state.best_loss)
        best_grad = _where(better, grad, state.best_grad)
        eta, mark, halved, loss = state.eta, state.mark if step else best_loss, state.halved, found
        places = checkpoints(steps)
        if step in places:
            span = step - max((place for place in places if place < step), default=0)
            halved = (gains < self.rho * span) | (~state.halved & (best_loss >= mark))
            eta = _where(halved, eta / 2, eta)
            theta, grad, loss = (
                _where(halved, ours, now)
                for ours, now in ((best, theta), (best_grad, grad), (best_loss, found))
            )
            gains, mark = torch.zeros_like(gains), best_loss
        new = self._moved(theta, state.previous, grad, eta, project, first=step == 0)
        state = Climb(new, theta, loss, best, best_loss, best_grad, eta, gains, mark, halved)
        return Move(state, found)

    def proposal(self, state: Climb) -> Tensor:
        return state.best

    def _moved(
        self, theta: Tensor, previous: Tensor, grad: Tensor, eta: Tensor, project: Project, *, first: bool
    ) -> Tensor:
        way = grad.sign() if self.norm == "linf" else grad / lengths(grad).clamp(min=1e-12)
        ahead = project(theta - _tall(eta, theta) * way)
        share = 1.0 if first else self.momentum
        return project(theta + share * (ahead - theta) + (1 - share) * (theta - previous))


def _tall(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 1))


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(_tall(condition, yes), yes, no)
