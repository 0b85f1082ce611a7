"""How theta moves: signed and unit steps, plain and adaptive descent, common weakness, APGD. All minimize."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, get_args

import torch
from torch import Tensor

from sightline.errors import UsageError, nearest, require
from sightline.whitebox.pixels import lengths
from sightline.whitebox.shapes import Theta

Schedule = Literal["constant", "linear", "cosine"]
Norm = Literal["linf", "l2"]
Project = Callable[[Tensor], Tensor]
TINY = 1e-12  # the least length that a gradient is divided by


class LossAndGrad(NamedTuple):
    """Losses (n,) and their gradients, of theta's shape."""

    loss: Tensor
    grad: Tensor


class GradientOracle(Protocol):
    """What an optimizer may ask: the loss at a theta, and where it rises."""

    @property
    def parts(self) -> int:
        """How many models the objective sums over."""
        ...

    def __call__(self, theta: Theta, part: int | None = None) -> LossAndGrad:
        """Of the whole objective, or of one of its parts."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """The state of an optimizer without memory."""

    theta: Tensor


S = TypeVar("S", bound=Any)


class OptimizerStep(NamedTuple, Generic[S]):
    """The next state, and the loss (n,) at the theta that was left."""

    state: S
    loss: Tensor


class Optimizer(ABC, Generic[S]):
    """A rule of descent; the base of one's own.

    A state is a frozen dataclass whose every field is a tensor with the artifacts first, `theta` among them,
    so that artifacts can be dropped, saved and put back. A step takes a state and gives the next one.
    """

    @abstractmethod
    def start(self, theta: Theta) -> S:
        """The state before the first step."""

    @abstractmethod
    def step(
        self, state: S, oracle: GradientOracle, project: Project, step: int, steps: int, /
    ) -> OptimizerStep[S]:
        """Step number `step`, from 0, of `steps`. Asks for every model's gradient exactly once."""

    def proposal(self, state: S) -> Theta:
        """The theta that is scored on the probe batch; the current one."""
        theta: Tensor = state.theta
        return theta


class Descent(Optimizer[Position]):
    """theta <- project(theta - change); a base for rules without memory."""

    @abstractmethod
    def change(self, grad: Tensor, step: int, steps: int, /) -> Tensor:
        """What is taken off theta at step number `step`, from 0, of `steps`."""

    def start(self, theta: Theta) -> Position:
        return Position(theta)

    def step(
        self, state: Position, oracle: GradientOracle, project: Project, step: int, steps: int
    ) -> OptimizerStep[Position]:
        loss, grad = oracle(state.theta)
        return OptimizerStep(Position(project(state.theta - self.change(grad, step, steps))), loss)


def select_rows(state: S, index: Sequence[int]) -> S:
    """The state of some artifacts."""
    made: S = replace(state, **{f.name: getattr(state, f.name)[list(index)] for f in fields(state)})
    return made


def state_tensors(state: Any) -> dict[str, Tensor]:
    """The state's fields, for saving."""
    return {field.name: getattr(state, field.name) for field in fields(state)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignGD(Descent):
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

    def change(self, grad: Tensor, step: int, steps: int) -> Tensor:
        return self.rate(step, steps) * grad.sign()

    def rate(self, step: int, steps: int) -> float:
        """The step's size."""
        return _scheduled(self.schedule, self.alpha, self.end, step, steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitGD(Descent):
    """theta <- project(theta - alpha * gradient / its l2 norm), for each artifact; no step where it is 0.

    Attributes:
        alpha: length of a step in theta's units: over all values of a picture in [0, 1].
    """

    alpha: float

    def __post_init__(self) -> None:
        require(self.alpha > 0, "alpha", self.alpha, "more than 0")

    def change(self, grad: Tensor, _step: int, _steps: int) -> Tensor:
        return self.alpha * (grad / lengths(grad).clamp(min=TINY))


@dataclass(frozen=True, slots=True, kw_only=True)
class SGD(Descent):
    """theta <- project(theta - lr * gradient), each artifact's gradient clipped to the l2 norm `clip`."""

    lr: float
    clip: float | None = None

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "more than 0")
        require(self.clip is None or self.clip > 0, "clip", self.clip, "more than 0, or None")

    def change(self, grad: Tensor, _step: int, _steps: int) -> Tensor:
        if self.clip is not None:
            grad = grad * (self.clip / lengths(grad).clamp(min=TINY)).clamp(max=1)
        return self.lr * grad


@dataclass(frozen=True, slots=True)
class AdamState:
    """Adam's state: running means of the gradient and of its square."""

    theta: Tensor
    first: Tensor
    second: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam(Optimizer[AdamState]):
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

    def start(self, theta: Theta) -> AdamState:
        return AdamState(theta, torch.zeros_like(theta), torch.zeros_like(theta))

    def step(
        self, state: AdamState, oracle: GradientOracle, project: Project, step: int, steps: int
    ) -> OptimizerStep[AdamState]:
        loss, grad = oracle(state.theta)
        decay, decay_square = self.betas
        first = decay * state.first + (1 - decay) * grad
        second = decay_square * state.second + (1 - decay_square) * grad.square()
        mean = first / (1 - decay ** (step + 1))
        spread = (second / (1 - decay_square ** (step + 1))).sqrt()
        rate = _scheduled(self.schedule, self.lr, self.end, step, steps)
        theta = project(state.theta - rate * mean / (spread + self.tiny))
        return OptimizerStep(AdamState(theta, first, second), loss)


@dataclass(frozen=True, slots=True)
class CommonWeaknessState:
    """State of `CommonWeakness`: both momenta."""

    theta: Tensor
    inner: Tensor
    outer: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonWeakness(Optimizer[CommonWeaknessState]):
    """CWA as released with Attack-Bard (thu-ml): the cosine-similarity half, without the reverse step.

    Models are visited in turn; each visit moves theta by `inner_step` times the inner momentum of unit
    gradients; then theta goes from its start by a signed step along the outer momentum of these round trips.

    Attributes:
        alpha: outer step in [0, 1] pixels; the release has eps / 5.
        inner_step: inner step.
        inner: decay of the inner momentum (1 is none), kept from round to round.
        outer: decay of the outer momentum.
    """

    alpha: float
    inner_step: float = 250.0
    inner: float = 1.0
    outer: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.alpha < 1, "alpha", self.alpha, "0 < alpha < 1; one level of 255 is 1/255")
        require(self.inner_step > 0, "inner_step", self.inner_step, "more than 0")
        require(0 <= self.inner <= 1, "inner", self.inner, "0 to 1")
        require(0 <= self.outer <= 1, "outer", self.outer, "0 to 1")

    def start(self, theta: Theta) -> CommonWeaknessState:
        return CommonWeaknessState(theta, torch.zeros_like(theta), torch.zeros_like(theta))

    def step(
        self, state: CommonWeaknessState, oracle: GradientOracle, project: Project, _step: int, _steps: int
    ) -> OptimizerStep[CommonWeaknessState]:
        theta, inner = state.theta, state.inner
        total = torch.zeros(len(theta), device=theta.device)
        for part in range(oracle.parts):
            loss, grad = oracle(theta, part)
            total = total + loss
            inner = self.inner * inner - grad / (lengths(grad) + 1e-5)
            theta = project(theta + self.inner_step * inner)
        trip = theta - state.theta
        size = trip.abs().flatten(1).sum(1).reshape(-1, *[1] * (trip.dim() - 1))
        outer = self.outer * state.outer + trip / size.clamp(min=1e-12)
        theta = project(state.theta + self.alpha * outer.sign())
        return OptimizerStep(CommonWeaknessState(theta, inner, outer), total)


def _known(schedule: str) -> None:
    if schedule not in get_args(Schedule):
        raise UsageError(nearest(schedule, get_args(Schedule), "schedule"))


def _scheduled(schedule: Schedule, first: float, end: float, step: int, steps: int) -> float:
    """The rate of a step on the way from `first` to `end`; constant ones stay at `first`."""
    done = step / max(1, steps - 1)
    share = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    last = first if schedule == "constant" else end
    return last + (first - last) * share[schedule]


def checkpoints(steps: int) -> tuple[int, ...]:
    """Steps at which the step size is looked at: after 22 %, then 19 % later, 16, ... down to 6."""
    percent, gap, found = 22, 22, list[int]()
    while percent <= 100:
        found.append(-(-percent * steps // 100))
        gap = max(gap - 3, 6)
        percent += gap
    return tuple(sorted({place for place in found if place > 0}))


@dataclass(frozen=True, slots=True)
class APGDState:
    """State of `APGD`; tensors are of theta's shape or (n,).

    Attributes:
        theta: current point.
        previous: the point before it.
        loss: at `previous`, that is, when a gradient was asked for last.
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
class APGD(Optimizer[APGDState]):
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

    def start(self, theta: Theta) -> APGDState:
        endless = torch.full((len(theta),), torch.inf, device=theta.device)
        gains = torch.zeros(len(theta), dtype=torch.long, device=theta.device)
        eta, flat = torch.full_like(endless, self.eta), torch.zeros_like(theta)
        return APGDState(theta, theta, endless, theta, endless, flat, eta, gains, endless, gains.bool())

    def step(
        self, state: APGDState, oracle: GradientOracle, project: Project, step: int, steps: int
    ) -> OptimizerStep[APGDState]:
        theta = state.theta
        found, grad = oracle(theta)
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
        state = APGDState(new, theta, loss, best, best_loss, best_grad, eta, gains, mark, halved)
        return OptimizerStep(state, found)

    def proposal(self, state: APGDState) -> Theta:
        return state.best

    def _moved(
        self, theta: Tensor, previous: Tensor, grad: Tensor, eta: Tensor, project: Project, *, first: bool
    ) -> Tensor:
        way = grad.sign() if self.norm == "linf" else grad / lengths(grad).clamp(min=TINY)
        ahead = project(theta - _tall(eta, theta) * way)
        share = 1.0 if first else self.momentum
        return project(theta + share * (ahead - theta) + (1 - share) * (theta - previous))


def _tall(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 1))


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(_tall(condition, yes), yes, no)
