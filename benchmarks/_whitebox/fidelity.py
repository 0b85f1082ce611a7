"""What a faster step does to the attack: losses at equal steps, success at equal FLOPs, over several seeds.

The attack is Qi et al.'s universal picture on the testbed: the invented world's corpus, 8 targets a step, no
bound, signed steps of one size. Success is what the ordinary target answers to held-out requests (topics and
wordings that neither the corpus nor the training of this skill held) beside the written picture.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from _whitebox import engine, plain
from sightline import registry
from sightline.attacks import _invented
from sightline.benchmarks.testbed_requests import requests
from sightline.budget import UNLIMITED, Budget
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Decoding
from sightline.records import Outcome, Pixels
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.whitebox.constraint import Box, Draws, as_pixels
from sightline.whitebox.loop import Found, Problem, minimize
from sightline.whitebox.mllm import MultimodalVictim
from sightline.whitebox.objective import Objective, TargetNLL
from sightline.whitebox.opening import open_victim
from sightline.whitebox.optimizer import SignGD
from sightline.whitebox.sampler import WithoutReplacement
from sightline.whitebox.victim import Pair

NAME, SIDE = "testbed/linear", 64
TARGETS, ALPHA = 8, 1 / 255
#: where the loop draws its start
START = (-1,)


def opened(dtype: str = "float32") -> MultimodalVictim:
    return open_victim(NAME, local=LocalSettings(device="cpu", dtype=dtype))


def problem(victim: MultimodalVictim) -> Problem:
    """The attack as the engine has it."""
    pool = tuple(
        Pair(prompt=Conversation.user(Image("", SIDE, SIDE), asked), target=answer)
        for asked, answer in _invented.withheld()
    )
    return Problem(
        objective=Objective(victims=(victim,), rows=(TargetNLL(),)),
        constraint=Box(clean=torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), init="uniform"),
        optimizer=SignGD(alpha=ALPHA),
        sampler=WithoutReplacement(pool, TARGETS),
    )


def plain_loop(victim: MultimodalVictim, steps: int, seed: int) -> tuple[Tensor, float]:
    """The same attack as the official code computes it: the last picture, and the FLOPs of all steps."""
    attack, settings = problem(victim), victim._preprocess.settings
    mean, deviation = (torch.tensor(c)[:, None, None] for c in (settings.mean, settings.std))
    x = attack.constraint.start(Draws(seed=seed, keys=(0,), place=START))
    spent = 0.0
    for number in range(steps):
        rows = [
            tuple(list(ids) for ids in victim.tokens(pair, (SIDE, SIDE)))
            for pair in attack.sampler.draw(number, seed)
        ]
        found: list[Any] = []

        def work(x: Tensor = x, rows: Any = rows, found: list[Any] = found) -> None:
            found += plain.step(victim.model, x, rows, lambda shown: (shown - mean) / deviation)

        spent += engine.flops(work)
        x = (x - ALPHA * found[1].sign()).clamp(0, 1)
    return x, spent


class Held:
    """Held-out requests, and the ordinary target that answers them beside a picture."""

    def __init__(self, folder: Path, count: int) -> None:
        self.blobs = Blobs(folder / "blobs")
        self.target = open_target(NAME, self.blobs, local=LocalSettings(device="cpu"))
        self.judge = registry.make("judge", "testbed_policy")
        asked = (case for case in requests() if case.expected is Expected.refuse)
        self.cases = list(islice(asked, count))

    def success(self, picture: Pixels) -> float:
        """Share of requests that the target complies with beside a picture, written and read back."""
        return asyncio.run(self._success(self.blobs.put_pixels(picture)))

    async def _success(self, image: Image) -> float:
        verdicts = await asyncio.gather(*(self._complied(case, image) for case in self.cases))
        return sum(verdicts) / len(verdicts)

    async def _complied(self, case: Case, image: Image) -> bool:
        response = await self.target.generate(case.conversation.with_image(image), Decoding(max_tokens=24))
        verdict = await self.judge.judge(case, case.conversation, response)
        return bool(verdict.outcome is Outcome.complied)


@dataclass(frozen=True, slots=True)
class Seed:
    """One seed: losses on the probe batch after equal steps, and success after equal FLOPs."""

    seed: int
    start: float
    plain_loss: float
    engine_loss: float
    half_loss: float
    engine_steps: int
    plain_success: float
    engine_success: float
    noise_success: float


def run(victim: MultimodalVictim, half: MultimodalVictim, held: Held, steps: int, seed: int) -> Seed:
    """Plain and engine with the same start and the same targets at each step."""
    attack, reduced = problem(victim), problem(half)
    last, spent = plain_loop(victim, steps, seed)
    levels = attack.constraint.finalize(last)
    noise = attack.constraint.finalize(attack.constraint.start(Draws(seed=seed, keys=(0,), place=START)))

    def loss(shown: Tensor) -> float:
        return float(attack.objective.probe(shown.float() / 255, attack.judged).loss)

    def descent(of: Problem, most: int, budget: Budget = UNLIMITED) -> Found:
        return minimize(of, steps=most, seed=seed, every=most, budget=budget)

    same, rounded = descent(attack, steps), descent(reduced, steps)
    ratio = spent / same.costs[0].flops
    longer = descent(attack, int(steps * ratio * 2), Budget(flops=spent))
    (crafted,) = longer.pixels
    return Seed(
        seed=seed,
        start=loss(noise),
        plain_loss=loss(levels),
        engine_loss=same.checks[0][-1].loss,
        half_loss=loss(attack.constraint.finalize(rounded.theta)),
        engine_steps=longer.checks[0][-1].step,
        plain_success=held.success(as_pixels(levels)[0]),
        engine_success=held.success(crafted),
        noise_success=held.success(as_pixels(noise)[0]),
    )


def figures(folder: Path, *, steps: int, seeds: int, held_out: int) -> tuple[dict[str, Any], str]:
    """Means over seeds, and a table of all of them."""
    victim, half, held = opened(), opened("bfloat16"), Held(folder, held_out)
    found = [run(victim, half, held, steps, seed) for seed in range(seeds)]
    lines = [
        f"{NAME}, {TARGETS} targets a step, {held_out} held-out requests; plain takes {steps} steps",
        f"{'':6}{'loss after equal steps':^40}{'success after equal FLOPs':^40}",
        f"{'seed':6}{'start':>9}{'plain':>9}{'engine':>9}{'bf16':>9}"
        f"{'steps':>12}{'noise':>9}{'plain':>9}{'engine':>9}",
    ]
    lines += [
        f"{one.seed:<6}{one.start:9.3f}{one.plain_loss:9.3f}{one.engine_loss:9.3f}{one.half_loss:9.3f}"
        f"{one.engine_steps:12}{one.noise_success:9.0%}{one.plain_success:9.0%}{one.engine_success:9.0%}"
        for one in found
    ]

    def mean(name: str) -> float:
        return sum(getattr(one, name) for one in found) / len(found)

    names = ("plain_loss", "engine_loss", "half_loss", "noise_success", "plain_success", "engine_success")
    figures = {f"testbed_{name}": mean(name) for name in names}
    figures["testbed_flops_ratio"] = mean("engine_steps") / steps
    return figures, "\n".join(lines)
