"""What an optimizer is asked and what it answers.

A state is a frozen value whose every field is a tensor with the artifacts first, so that artifacts can be
dropped, saved and put back without the optimizer's knowing. A step takes a state and gives the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from torch import Tensor

Schedule = Literal["constant", "linear", "cosine"]
Norm = Literal["linf", "l2"]
Project = Callable[[Tensor], Tensor]


class Slope(NamedTuple):
    """Losses (n,) and their gradients, of theta's shape."""

    loss: Tensor
    grad: Tensor


class Slopes(Protocol):
    """What an optimizer may ask: the loss at a theta, and where it rises."""

    @property
    def parts(self) -> int:
        """How many models the objective sums over."""
        ...

    def __call__(self, theta: Tensor, part: int | None = None) -> Slope:
        """Of the whole objective, or of one of its parts."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The state of an optimizer without memory."""

    theta: Tensor


S = TypeVar("S", bound=Any)


class Move(NamedTuple, Generic[S]):
    """The next state, and the loss (n,) at the theta that was left."""

    state: S
    loss: Tensor


class Optimizer(Protocol[S]):
    """A rule of descent."""

    def start(self, theta: Tensor) -> S:
        """The state before the first step."""
        ...

    def step(self, state: S, slopes: Slopes, project: Project, step: int, steps: int, /) -> Move[S]:
        """Step number `step`, from 0, of `steps`. Asks for every model's slope exactly once."""
        ...

    def proposal(self, state: S) -> Tensor:
        """The theta to be judged on the probe batch."""
        ...


def chosen(state: S, index: Sequence[int]) -> S:
    """The state of some artifacts."""
    made: S = replace(state, **{f.name: getattr(state, f.name)[list(index)] for f in fields(state)})
    return made


def tensors_of(state: Any) -> dict[str, Tensor]:
    """The state's fields, for saving."""
    return {field.name: getattr(state, field.name) for field in fields(state)}
