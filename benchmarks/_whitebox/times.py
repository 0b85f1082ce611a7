"""Figures that are timed: CPU seconds of one thread, variants in turns, the least of several rounds.

Every variant's gradient is compared with the plain one in float32, so that no speed is told without what it
does to the attack.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from _whitebox import engine, plain
from _whitebox.counts import LENGTHS, Counted
from _whitebox.engine import Step
from _whitebox.shapes import Shape, tokens_of
from sightline.whitebox.frozen import quicken

#: above this load average seconds of the wall clock say nothing
MOST_LOAD = 3.0
#: a plain variant that moves by more between beginning and end makes the run noisy
STEADY = 0.1


def ceilings(side: int = 3072, rounds: int = 3) -> dict[str, float]:
    """GFLOP/s of a square matrix product: fp32, fp32 as `open_victim` multiplies, bf16."""
    found = {}
    layer = torch.nn.Linear(side, side, bias=False).requires_grad_(False)
    half = torch.nn.Linear(side, side, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    opened = torch.nn.Sequential(torch.nn.Linear(side, side, bias=False).requires_grad_(False))
    quicken(opened)
    for name, multiply in (("fp32", layer), ("fp32 opened", opened), ("bf16", half)):
        x = torch.randn(side, side).to(half.weight.dtype if multiply is half else torch.float32)
        spent = min(engine.seconds(lambda m=multiply, x=x: (m(x), x))[0] for _ in range(rounds))
        found[name] = 2 * side**3 / spent / 1e9
    return found


@dataclass
class Variant:
    """A way to compute one step.

    Attributes:
        label: what it is called.
        format: whose peak it is held against.
        work: one step.
        flops: of one step, counted.
        cpu: least CPU seconds.
        wall: least seconds of the wall clock.
        last: CPU seconds of the latest run.
        grad: its gradient.
    """

    label: str
    format: str
    work: Callable[[], Step]
    flops: float
    cpu: float = float("inf")
    wall: float = float("inf")
    last: float = float("nan")
    grad: Tensor = field(default_factory=lambda: torch.empty(0))

    def run(self) -> None:
        started = time.perf_counter()
        self.last, (_, self.grad) = engine.seconds(self.work)
        self.wall = min(self.wall, time.perf_counter() - started)
        self.cpu = min(self.cpu, self.last)

    def error(self, wanted: Tensor) -> float:
        return float((self.grad - wanted).norm() / wanted.norm())

    def signs(self, wanted: Tensor) -> float:
        return float((self.grad.sign() == wanted.sign()).float().mean())


class Timed:
    """One shape with real weights in float32 and bfloat16, and as `open_victim` opens it."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.x = shape, shape.picture()
        self.model: Any = shape.model()
        self.half: Any = copy.deepcopy(self.model)
        for weight in self.half.parameters():  # not the positions' frequencies, as the library loads it
            weight.data = weight.data.to(torch.bfloat16)
        opened = copy.deepcopy(self.model)
        self.victim = shape.victim(self.model)
        self.half_victim = shape.victim(self.half)
        self.opened = shape.victim(opened, quick=True)
        self.counted = Counted(shape)

    def variants(self, lengths: tuple[int, ...], *, half_plain: bool = True) -> dict[str, Variant]:
        """Plain and engine for targets of these lengths, in both number formats."""
        pairs = [self.shape.pair(number, tokens=tokens) for number, tokens in enumerate(lengths)]
        rows, x = tokens_of(self.shape, pairs), self.x
        works: dict[str, tuple[str, Callable[[], Step]]] = {
            "plain fp32": ("fp32", lambda: plain.step(self.model, x, rows)),
            "engine fp32": ("fp32", lambda: engine.step(self.victim, x, pairs)),
            "engine fp32, as opened": ("fp32 opened", lambda: engine.step(self.opened, x, pairs)),
            "plain bf16": ("bf16", lambda: plain.step(self.half, x, rows)),
            "engine bf16": ("bf16", lambda: engine.step(self.half_victim, x, pairs)),
        }
        if not half_plain:
            del works["plain bf16"]
        for victim in (self.victim, self.half_victim, self.opened):
            with torch.no_grad():
                victim.rows(x, pairs)  # the constant text before the picture: once for the whole attack
        slow, fast = self.counted.targets(lengths)
        return {
            label: Variant(label, kind, work, slow if label.startswith("plain") else fast)
            for label, (kind, work) in works.items()
        }


def in_turns(variants: dict[str, Variant], rounds: int) -> None:
    """Run all of them several times."""
    for _ in range(rounds):
        for variant in variants.values():
            variant.run()


def moved(variant: Variant) -> float:
    """Run once more: how far from the least time until then."""
    before = variant.cpu
    variant.run()
    return abs(variant.last - before) / before


def table(title: str, variants: dict[str, Variant], most: dict[str, float]) -> str:
    """Time, rate and what the gradient became, variant by variant."""
    base = variants["plain fp32"]
    lines = [
        f"{title:26}{'CPU s':>8}{'ratio':>7}{'GFLOP':>8}{'GFLOP/s':>9}{'of peak':>9}{'error':>9}{'signs':>10}"
    ]
    for one in variants.values():
        rate = one.flops / one.cpu / 1e9
        lines.append(
            f"  {one.label:24}{one.cpu:8.3f}{base.cpu / one.cpu:7.2f}{one.flops / 1e9:8.1f}{rate:9.1f}"
            f"{rate / most[one.format]:9.0%}{one.error(base.grad):9.1e}{one.signs(base.grad):10.4%}"
        )
    return "\n".join(lines)


def figures(shape: Shape, most: dict[str, float], *, quick: bool) -> tuple[dict[str, Any], str]:
    """W2, W3, W9 and W11 of specs/performance.md, and a table of what was timed.

    In a quick run eight targets are run once only, between runs of one target that show how steady it was.
    """
    timed = Timed(shape)
    eight = timed.variants(LENGTHS, half_plain=not quick)
    one = timed.variants(LENGTHS[2:3])
    in_turns(one, 2 if quick else 5)
    in_turns(eight, 1 if quick else 5)
    drift = max(moved(variants["plain fp32"]) for variants in ((one,) if quick else (one, eight)))
    slow, single = eight["plain fp32"], one["plain fp32"]
    fast = eight["engine fp32"]
    found: dict[str, Any] = {
        "qi_time_ratio": slow.cpu / fast.cpu,
        "qi_opened_time_ratio": slow.cpu / eight["engine fp32, as opened"].cpu,
        "qi_bf16_ratio": slow.cpu / eight["engine bf16"].cpu,
        "one_target_fp32_ratio": single.cpu / one["engine fp32"].cpu,
        "one_target_bf16_ratio": single.cpu / one["engine bf16"].cpu,
        "grad_rel_err": max(fast.error(slow.grad), one["engine fp32"].error(single.grad)),
        "sign_agreement": min(fast.signs(slow.grad), one["engine fp32"].signs(single.grad)),
        "bf16_grad_rel_err": one["engine bf16"].error(single.grad),
        "bf16_plain_grad_rel_err": one["plain bf16"].error(single.grad),
        "bf16_sign_agreement": one["engine bf16"].signs(single.grad),
        "bf16_plain_sign_agreement": one["plain bf16"].signs(single.grad),
        "plain_moved": drift,
        "noisy": drift > STEADY,
    }
    if os.getloadavg()[0] <= MOST_LOAD:
        found["qi_wall_ratio"] = slow.wall / fast.wall
    title = f"{shape.name}, {len(LENGTHS)} targets"
    return found, "\n".join([table(title, eight, most), table(f"{shape.name}, one target", one, most)])
