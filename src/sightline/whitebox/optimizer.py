"""How theta moves: signed and unit steps, plain and adaptive descent, common weakness, APGD. All minimize."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from sightline.errors import UsageError, nearest, require
from sightline.whitebox._apgd import APGD
from sightline.whitebox._descent import Move, Optimizer, Place, Project, Schedule, Slope, Slopes
from sightline.whitebox._pictures import lengths

__all__ = [
    "APGD",
    "SGD",
    "Adam",
    "CommonWeakness",
    "Move",
    "Optimizer",
    "SignGD",
    "Slope",
    "Slopes",
    "UnitGD",
]


#: the least length that a gradient is divided by
TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class SignGD:
    """theta <- project(theta - alpha * sign(gradient)).

    Attributes:
        alpha: step in theta's units: pixels in [0, 1], so one level is 1/255.
        end: step at the end of a linear or cosine schedule.
        schedule: how it goes there; the last step has exactly `end`.
    """

    alpha: float
    end: float = 0.0
    schedule: Schedule = "constant"

    def __post_init__(self) -> None:
        require(0 < self.alpha < 1, "alpha", self.alpha, "0 < alpha < 1; one level of 255 is 1/255")
        require(0 <= self.end < 1, "end", self.end, "0 <= end < 1; one level of 255 is 1/255")
        _known(self.schedule)

    def start(self, theta: Tensor) -> Place:
        """See `Optimizer`."""
        return Place(theta)

    def step(self, state: Place, slopes: Slopes, project: Project, step: int, steps: int) -> Move[Place]:
        """See `Optimizer`."""
        loss, grad = slopes(state.theta)
        return Move(Place(project(state.theta - self.rate(step, steps) * grad.sign())), loss)

    def proposal(self, state: Place) -> Tensor:
        """The current point."""
        return state.theta

    def rate(self, step: int, steps: int) -> float:
        """The step's size."""
        return _scheduled(self.schedule, self.alpha, self.end, step, steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitGD:
    """theta <- project(theta - alpha * gradient / its l2 norm), for each artifact; no step where it is 0.

    Attributes:
        alpha: length of a step in theta's units: over all values of a picture in [0, 1].
    """

    alpha: float

    def __post_init__(self) -> None:
        require(self.alpha > 0, "alpha", self.alpha, "more than 0")

    def start(self, theta: Tensor) -> Place:
        """See `Optimizer`."""
        return Place(theta)

    def step(self, state: Place, slopes: Slopes, project: Project, _step: int, _steps: int) -> Move[Place]:
        """See `Optimizer`."""
        loss, grad = slopes(state.theta)
        way = grad / lengths(grad).clamp(min=TINY)
        return Move(Place(project(state.theta - self.alpha * way)), loss)

    def proposal(self, state: Place) -> Tensor:
        """The current point."""
        return state.theta


@dataclass(frozen=True, slots=True, kw_only=True)
class SGD:
    """theta <- project(theta - lr * gradient), each artifact's gradient clipped to the l2 norm `clip`."""

    lr: float
    clip: float | None = None

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "more than 0")
        require(self.clip is None or self.clip > 0, "clip", self.clip, "more than 0, or None")

    def start(self, theta: Tensor) -> Place:
        """See `Optimizer`."""
        return Place(theta)

    def step(self, state: Place, slopes: Slopes, project: Project, _step: int, _steps: int) -> Move[Place]:
        """See `Optimizer`."""
        loss, grad = slopes(state.theta)
        if self.clip is not None:
            grad = grad * (self.clip / lengths(grad).clamp(min=TINY)).clamp(max=1)
        return Move(Place(project(state.theta - self.lr * grad)), loss)

    def proposal(self, state: Place) -> Tensor:
        """The current point."""
        return state.theta


@dataclass(frozen=True, slots=True)
class Moments:
    """Adam's state: running means of the gradient and of its square."""

    theta: Tensor
    first: Tensor
    second: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    """Kingma and Ba, with bias correction; projected.

    Attributes:
        lr: rate, in theta's units.
        end: rate at the end of a linear or cosine schedule.
        schedule: how it goes there; the last step has exactly `end`.
        betas: decays of the gradient's and of its square's means.
        tiny: added to the root of the square's.
    """

    lr: float
    end: float = 0.0
    schedule: Schedule = "constant"
    betas: tuple[float, float] = (0.9, 0.999)
    tiny: float = 1e-8

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "more than 0")
        require(self.end >= 0, "end", self.end, "0 or more")
        _known(self.schedule)
        require(all(0 <= beta < 1 for beta in self.betas), "betas", self.betas, "both 0 <= beta < 1")

    def start(self, theta: Tensor) -> Moments:
        """See `Optimizer`."""
        return Moments(theta, torch.zeros_like(theta), torch.zeros_like(theta))

    def step(self, state: Moments, slopes: Slopes, project: Project, step: int, steps: int) -> Move[Moments]:
        """See `Optimizer`."""
        loss, grad = slopes(state.theta)
        decay, decay_square = self.betas
        first = decay * state.first + (1 - decay) * grad
        second = decay_square * state.second + (1 - decay_square) * grad.square()
        mean = first / (1 - decay ** (step + 1))
        spread = (second / (1 - decay_square ** (step + 1))).sqrt()
        rate = _scheduled(self.schedule, self.lr, self.end, step, steps)
        theta = project(state.theta - rate * mean / (spread + self.tiny))
        return Move(Moments(theta, first, second), loss)

    def proposal(self, state: Moments) -> Tensor:
        """The current point."""
        return state.theta


@dataclass(frozen=True, slots=True)
class Weakness:
    """State of `CommonWeakness`: both momenta."""

    theta: Tensor
    inner: Tensor
    outer: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonWeakness:
    """CWA as released with Attack-Bard (thu-ml): the cosine-similarity half, without the reverse step.

    Models are visited in turn; each visit moves theta by `reach` times the inner momentum of unit gradients;
    then theta goes from where it started by a signed step along the outer momentum of these round trips.

    Attributes:
        alpha: outer step in [0, 1] pixels; the release has eps / 5.
        reach: inner step.
        inner: decay of the inner momentum (1 is none), kept from round to round.
        outer: decay of the outer momentum.
    """

    alpha: float
    reach: float = 250.0
    inner: float = 1.0
    outer: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.alpha < 1, "alpha", self.alpha, "0 < alpha < 1; one level of 255 is 1/255")
        require(self.reach > 0, "reach", self.reach, "more than 0")
        require(0 <= self.inner <= 1, "inner", self.inner, "0 to 1")
        require(0 <= self.outer <= 1, "outer", self.outer, "0 to 1")

    def start(self, theta: Tensor) -> Weakness:
        """See `Optimizer`."""
        return Weakness(theta, torch.zeros_like(theta), torch.zeros_like(theta))

    def step(
        self, state: Weakness, slopes: Slopes, project: Project, _step: int, _steps: int
    ) -> Move[Weakness]:
        """See `Optimizer`."""
        theta, inner = state.theta, state.inner
        total = torch.zeros(len(theta), device=theta.device)
        for part in range(slopes.parts):
            loss, grad = slopes(theta, part)
            total = total + loss
            inner = self.inner * inner - grad / (lengths(grad) + 1e-5)
            theta = project(theta + self.reach * inner)
        trip = theta - state.theta
        size = trip.abs().flatten(1).sum(1).reshape(-1, *[1] * (trip.dim() - 1))
        outer = self.outer * state.outer + trip / size.clamp(min=1e-12)
        theta = project(state.theta + self.alpha * outer.sign())
        return Move(Weakness(theta, inner, outer), total)

    def proposal(self, state: Weakness) -> Tensor:
        """The current point."""
        return state.theta


def _known(schedule: str) -> None:
    if schedule not in get_args(Schedule):
        raise UsageError(nearest(schedule, get_args(Schedule), "schedule"))


def _scheduled(schedule: Schedule, first: float, end: float, step: int, steps: int) -> float:
    """The rate of a step on the way from `first` to `end`; constant ones stay at `first`."""
    done = step / max(1, steps - 1)
    share = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    last = first if schedule == "constant" else end
    return last + (first - last) * share[schedule]
