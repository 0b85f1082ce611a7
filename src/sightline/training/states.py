"""How far a training is, and the states that it goes on from, in safetensors, whole or not there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sightline.sealed import file_named
from sightline.tuning import Plan, Progress

SAVED = 20
"""Steps between states to go on from, where the plan keeps no checkpoints."""
Keep = Callable[[int], None]


@dataclass(slots=True)
class Spent:
    """What was done so far, over all interruptions.

    Attributes:
        moments_from: the step at which the optimizer began.
        losses: of every step.
        margins: of every step of `dpo`: mean of beta times the difference of log-ratios, else empty.
        clean: of every step of `features`: the loss on the pictures before they are attacked, else empty.
        rewards: of every step that learns from samples, their mean.
        silent: of every such step, the share of groups whose rewards are all equal.
        flops_per_token: as counted in one step; by `trl` with the reference's passes in it.
    """

    step: int = 0
    moments_from: int = 0
    losses: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    clean: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    silent: list[float] = field(default_factory=list)
    tokens: int = 0
    flops_per_token: float = 0.0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0

    @property
    def flops(self) -> float:
        """Operations of all steps."""
        return self.tokens * self.flops_per_token

    def count(self, tokens: int, loss: float, counted: FlopCounterMode | None) -> None:
        """Add a step; `counted` are the operations of the first one."""
        if counted is not None:
            self.flops_per_token = float(counted.get_total_flops()) / tokens
        self.tokens += tokens
        self.losses.append(loss)


def save_state(
    path: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, spent: Spent
) -> None:
    """Write what training goes on from."""
    tensors = {f"weight/{name}": weight.detach() for name, weight in weights.items()}
    for name, weight in weights.items():
        state = optimizer.state[weight]
        if state:
            tensors |= {f"mean/{name}": state["exp_avg"], f"square/{name}": state["exp_avg_sq"]}
    write(path, tensors, {"spent": json.dumps(asdict(spent))})


def write(path: Path, tensors: dict[str, Tensor], facts: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    fresh = path.with_suffix(".new")
    try:
        with file_named(path):
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, fresh, metadata=facts)
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


class StepEnds:
    """What follows every update: clocks, the report, a checkpoint, the state to go on from.

    Clocks run from here on, on top of what was spent before.

    Args:
        plan: that is carried out.
        path: of the state.
        weights, optimizer: of the state.
        spent: so far.
        keep: called after each step that the plan keeps a checkpoint of, before the state is written.
        report: called after every step.
    """

    def __init__(
        self,
        plan: Plan,
        path: Path,
        weights: dict[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        spent: Spent,
        keep: Keep,
        report: Callable[[Progress], None],
    ) -> None:
        self._plan, self._path, self._weights, self._optimizer = plan, path, weights, optimizer
        self._spent, self._keep, self._report = spent, keep, report
        self._cpu = spent.cpu_seconds - time.process_time()
        self._wall = spent.wall_seconds - time.monotonic()

    def told(self) -> None:
        """After the update that `spent` counts last."""
        plan, spent = self._plan, self._spent
        spent.cpu_seconds = self._cpu + time.process_time()
        spent.wall_seconds = self._wall + time.monotonic()
        self._report(Progress(spent.step, plan.steps, spent.losses[-1], spent.wall_seconds))
        kept = spent.step in plan.saved
        if kept:
            self._keep(spent.step)
        if kept or spent.step % SAVED == 0 or spent.step == plan.steps:
            save_state(self._path, self._weights, self._optimizer, spent)


def load_state(path: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> Spent:
    """What an interrupted run left, put into weights and moments; a fresh start if there is nothing."""
    if not path.exists():
        return Spent()
    with safe_open(path, framework="pt") as stored, torch.no_grad():
        spent = Spent(**json.loads(stored.metadata()["spent"]))
        names = set(stored.keys())
        for name, weight in weights.items():
            weight.copy_(stored.get_tensor(f"weight/{name}"))
            if f"mean/{name}" in names:
                optimizer.state[weight] = {
                    "step": torch.tensor(float(spent.step - spent.moments_from)),
                    "exp_avg": stored.get_tensor(f"mean/{name}").to(weight.device),
                    "exp_avg_sq": stored.get_tensor(f"square/{name}").to(weight.device),
                }
    return spent
