"""Figures on an accelerator (W12 to W15): steps of APGD on a LLaVA of the 7B shape with random weights.

Weights are made on the device. FLOPs are those counted for the same step on the device `meta`; the rate that
they are compared with is that of the card's own bf16 matrix product in the same run. Seconds are those of the
wall clock between two checks of the loop, synchronized, so that the checks are paid for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch

from _whitebox import engine
from _whitebox.counts import Counted
from _whitebox.shapes import Shape
from sightline.cases import Eps
from sightline.records import SearchProgress
from sightline.whitebox.constraints import LinfBall
from sightline.whitebox.image_search import Problem, minimize
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.objectives import Objective, TargetNLL
from sightline.whitebox.optimizers import APGD
from sightline.whitebox.samplers import FixedPairs
from sightline.whitebox.search import Callbacks
from sightline.whitebox.victim import Pair

#: seconds per step that chs20/RobustVLM reports for APGD on LLaVA-1.5-7B, fp32, one A100 (README: about two
#: hours for 10,000 steps); the cards' difference is not taken out
REPORTED = 0.72
FORMATS = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True, slots=True)
class Workload:
    """How many pictures are made at once, and how many targets are packed behind each."""

    name: str
    pictures: int
    targets: int


WORKLOADS = (Workload("one", 1, 1), Workload("qi", 1, 8), Workload("pictures", 8, 1))


class Spent(NamedTuple):
    """Seconds and FLOPs of a step, peak memory in bytes beyond the weights, packed tokens of all pictures."""

    seconds: float
    flops: float
    memory: int
    tokens: int


def waiting(device: str) -> Callable[[], None]:
    """What makes the clock wait for the device."""
    return torch.cuda.synchronize if device.startswith("cuda") else lambda: None


def matrix_rate(device: str, dtype: torch.dtype, side: int, rounds: int = 10) -> float:
    """FLOP/s of a square matrix product."""
    wait = waiting(device)
    left = torch.randn(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(rounds):
        wait()
        start = time.perf_counter()
        left @ left
        wait()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def apgd(
    victim: MultimodalVictim, shape: Shape, pairs: tuple[Pair, ...], pictures: int, *, every: int, checks: int
) -> float:
    """Least seconds per step between two checks; the first two stretches warm up."""
    device = str(victim.device)
    wait, stamps = waiting(device), list[float]()

    def stamp(progress: SearchProgress) -> None:
        if progress.step:
            wait()
            stamps.append(time.perf_counter())

    made = torch.Generator().manual_seed(0)
    size = (pictures, 3, shape.side, shape.side)
    clean = torch.randint(0, 256, size, dtype=torch.uint8, generator=made).to(device)
    problem = Problem(
        objective=Objective(victims=(victim,), rows=(TargetNLL(),)),
        constraint=LinfBall(clean=clean, eps=Eps(4)),
        optimizer=APGD(eta=8 / 255),
        sampler=FixedPairs(pairs),
    )
    minimize(problem, steps=every * checks, every=every, callbacks=Callbacks(report=stamp))
    gaps = [after - before for before, after in pairwise(stamps)]
    return min(gaps[1:] or gaps) / every


def workload(victim: MultimodalVictim, counted: Counted, work: Workload, *, every: int, checks: int) -> Spent:
    """One workload on one model."""
    shape = counted.shape
    pairs = tuple(shape.pair(number) for number in range(work.targets))
    cuda = str(victim.device).startswith("cuda")
    before = torch.cuda.memory_allocated() if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = apgd(victim, shape, pairs, work.pictures, every=every, checks=checks)
    memory = torch.cuda.max_memory_allocated() - before if cuda else 0
    blank = shape.picture(count=work.pictures, device="meta")
    flops = engine.flops(lambda: engine.step(counted.victim, blank, pairs))
    nodes = len(counted.victim._packed(pairs, (None,) * len(pairs), (shape.side, shape.side)).ids)
    return Spent(seconds, flops, memory, nodes * work.pictures)


def figures(
    shape: Shape, device: str, *, side: int = 8192, every: int = 10, checks: int = 4
) -> tuple[dict[str, Any], str]:
    """All workloads in both number formats, and a table."""
    counted, found, lines = Counted(shape), dict[str, Any](), list[str]()
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    lines.append(f"{shape.name} on {name}, random weights, APGD, targets of 16 tokens")
    lines.append(
        f"  {'format':8}{'pictures':>9}{'targets':>9}{'ms/step':>10}{'TFLOP/s':>9}{'of rate':>9}{'GB':>7}"
    )
    for kind, dtype in FORMATS.items():
        rate = matrix_rate(device, dtype, side)
        found[f"gpu_{kind}_tflops"] = rate / 1e12
        model = shape.model(device, dtype)
        victim = shape.victim(model)
        for work in WORKLOADS:
            spent = workload(victim, counted, work, every=every, checks=checks)
            share = spent.flops / spent.seconds / rate
            found[f"gpu_{kind}_{work.name}_step_s"] = spent.seconds
            found[f"gpu_{kind}_{work.name}_of_rate"] = share
            found[f"gpu_{kind}_{work.name}_mb_per_token"] = spent.memory / spent.tokens / 1e6
            lines.append(
                f"  {kind:8}{work.pictures:9}{work.targets:9}{spent.seconds * 1000:10.1f}"
                f"{spent.flops / spent.seconds / 1e12:9.2f}{share:9.0%}{spent.memory / 1e9:7.1f}"
            )
        del victim, model
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    for kind in FORMATS:
        found[f"gpu_{kind}_one_over_reported"] = REPORTED / found[f"gpu_{kind}_one_step_s"]
    return found, "\n".join(lines)
