"""The training loop of the testbed: one stage at a time, resumable, the same numbers again after a kill.

A batch follows from (seed, stage, step) alone and a checkpoint holds weights, moments and step, so a stage
that was interrupted continues as if it had not been. Results repeat bit by bit for equal versions, threads
and dtype.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

Dtype = Literal["bf16", "fp32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a build depends on besides the code.

    Attributes:
        seed: of weights and data.
        threads: of torch; another number gives other weights.
        dtype: of matrix products; another one gives other weights.
        save_every: steps between checkpoints.
    """

    seed: int = 20261120
    threads: int = 1
    dtype: Dtype = "fp32"
    save_every: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage: steps, batch size, and per group of weights its peak learning rate and first step."""

    name: str
    steps: int
    batch: int
    rates: Mapping[str, float]
    starts: Mapping[str, int] = field(default_factory=dict)
    warmup: int = 50
    floor: float = 0.02
    weight_decay: float = 0.01
    aim: str = ""

    def rate(self, group: str, step: int) -> float:
        """Return the learning rate of a group at a step: linear warm-up, then cosine down to `floor`."""
        start = self.starts.get(group, 0)
        if step < start:
            return 0.0
        done = (step - start) / max(1, self.steps - start)
        cosine = self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))
        return self.rates[group] * min(1.0, (step - start + 1) / self.warmup) * cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a caller is told while a build runs. Seconds are those of the current process."""

    stage: str
    step: int
    steps: int
    seconds: float
    figures: Mapping[str, float]


Report = Callable[[Progress], None]
LossAt = Callable[[int], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What a finished stage cost, over all its interruptions."""

    steps: int
    wall_seconds: float
    cpu_seconds: float


@contextlib.contextmanager
def deterministic(settings: Settings) -> Iterator[None]:
    """Fix thread count and algorithms for a while."""
    threads, algorithms = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(algorithms)


def autocast(settings: Settings) -> torch.autocast:
    """Return the mixed-precision context of these settings."""
    return torch.autocast("cpu", torch.bfloat16, enabled=settings.dtype == "bf16")


def run_stage(
    stage: Stage,
    groups: Mapping[str, nn.Module],
    loss_at: LossAt,
    folder: Path,
    settings: Settings,
    report: Report,
) -> StageCost:
    """Train one stage, or what is left of it; afterwards the modules hold its final weights.

    Args:
        stage: its schedule.
        groups: modules to train, by the names that `stage.rates` uses; all else stays as it is.
        loss_at: step -> loss and figures to report; must depend on nothing else that changes.
        folder: where ``<stage>.safetensors`` is kept.
        settings: seed, threads, dtype, checkpoint interval.
        report: called about every 20 steps.
    """
    path = folder / f"{stage.name}.safetensors"
    optimizer = torch.optim.AdamW(
        [{"params": list(module.parameters()), "lr": 0.0, "name": name} for name, module in groups.items()],
        betas=(0.9, 0.98),
        weight_decay=stage.weight_decay,
    )
    first, wall, cpu = _load(path, groups, optimizer) if path.exists() else (0, 0.0, 0.0)
    start_wall, start_cpu = time.monotonic(), time.process_time()

    def spent(step: int) -> StageCost:
        return StageCost(
            steps=step,
            wall_seconds=wall + time.monotonic() - start_wall,
            cpu_seconds=cpu + time.process_time() - start_cpu,
        )

    with deterministic(settings):
        for step in range(first, stage.steps):
            for group in optimizer.param_groups:
                group["lr"] = stage.rate(group["name"], step)
            with autocast(settings):
                loss, figures = loss_at(step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for module in groups.values():
                nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            if step % 20 == 0 or step + 1 == stage.steps:
                seconds = time.monotonic() - start_wall
                known = {"loss": loss.item(), **figures}
                report(
                    Progress(
                        stage=stage.name, step=step + 1, steps=stage.steps, seconds=seconds, figures=known
                    )
                )
            if (step + 1) % settings.save_every == 0 or step + 1 == stage.steps:
                _save(path, groups, optimizer, spent(step + 1))
    return spent(stage.steps)


def _named(groups: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    for group, module in groups.items():
        for name, parameter in module.named_parameters():
            yield f"{group}.{name}", parameter


def _save(
    path: Path, groups: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, spent: StageCost
) -> None:
    """Write weights and moments."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in _named(groups):
        tensors[f"weight/{name}"] = parameter.detach()
        state = optimizer.state.get(parameter)
        if state:
            tensors[f"mean/{name}"] = state["exp_avg"]
            tensors[f"square/{name}"] = state["exp_avg_sq"]
    _write(path, tensors, spent)


def save_weights(path: Path, groups: Mapping[str, nn.Module], spent: StageCost) -> None:
    """Write the weights of modules as those of a finished stage; what `load_weights` reads."""
    _write(path, {f"weight/{name}": parameter.detach() for name, parameter in _named(groups)}, spent)


def _write(path: Path, tensors: Mapping[str, Tensor], spent: StageCost) -> None:
    """Write a checkpoint, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"steps": spent.steps, "wall": spent.wall_seconds, "cpu": spent.cpu_seconds}
    partial = path.with_suffix(".partial")
    save_file(dict(tensors), partial, metadata={"facts": json.dumps(facts)})
    partial.replace(path)


def _load(
    path: Path, groups: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> tuple[int, float, float]:
    """Restore weights and moments; return step, wall seconds and CPU seconds."""
    with safe_open(path, framework="pt") as stored:
        facts = json.loads(stored.metadata()["facts"])
        names = set(stored.keys())
        with torch.no_grad():
            for name, parameter in _named(groups):
                parameter.copy_(stored.get_tensor(f"weight/{name}"))
                if f"mean/{name}" in names:
                    optimizer.state[parameter] = {
                        "step": torch.tensor(float(facts["steps"])),
                        "exp_avg": stored.get_tensor(f"mean/{name}"),
                        "exp_avg_sq": stored.get_tensor(f"square/{name}"),
                    }
    return int(facts["steps"]), float(facts["wall"]), float(facts["cpu"])


def load_weights(path: Path, groups: Mapping[str, nn.Module]) -> None:
    """Copy the weights of a finished stage into modules, by the group names it was trained with."""
    with safe_open(path, framework="pt") as stored, torch.no_grad():
        for name, parameter in _named(groups):
            parameter.copy_(stored.get_tensor(f"weight/{name}"))
