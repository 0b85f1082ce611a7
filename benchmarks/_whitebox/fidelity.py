"""What the engine's loop finds, step by step, beside a plain one: losses and success, over several seeds.

The attack is Qi et al.'s universal picture on the testbed: the invented world's corpus, 8 targets a step, no
bound, signed steps of one size. Both loops have the same start and see the same targets at every step, so
they are one attack, and differ by rounding and by which picture they return: the plain loop its last, as the
official code does, the engine the best of its looks. Success is what the ordinary target answers to held-out
requests (topics and wordings that neither the corpus nor the training of this skill held) beside the written
picture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from _whitebox import plain
from _whitebox.plain import Pixels, Tokens
from sightline import registry
from sightline.benchmarks.testbed_requests import requests
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Decoding
from sightline.records import Outcome
from sightline.records import Pixels as Levels
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.testbed import corpora
from sightline.whitebox.checkpoint import Checkpoint
from sightline.whitebox.compute import RngStream
from sightline.whitebox.constraints import Box
from sightline.whitebox.image_search import Problem, minimize
from sightline.whitebox.model import MultimodalVictim, open_victim
from sightline.whitebox.objectives import Objective, TargetNLL
from sightline.whitebox.optimizers import SignGD
from sightline.whitebox.pixels import as_pixels
from sightline.whitebox.samplers import WithoutReplacement
from sightline.whitebox.search import Callbacks
from sightline.whitebox.victim import Pair

NAME, SIDE = "testbed/linear", 64
TARGETS, ALPHA = 8, 1 / 255
#: where the loop draws its start
START = (-1,)
#: pictures are looked at after every so many steps
EVERY = 4


def opened(dtype: str = "float32") -> MultimodalVictim:
    return open_victim(NAME, local=LocalSettings(device="cpu", dtype=dtype))


def pixels_of(victim: MultimodalVictim) -> Pixels:
    """What the vision tower reads of a picture of the tower's own size."""
    settings = victim._preprocess.settings
    mean, deviation = (torch.tensor(c)[:, None, None] for c in (settings.mean, settings.std))
    return lambda x: (x - mean) / deviation


def rows_of(victim: MultimodalVictim, pairs: Sequence[Pair]) -> list[Tokens]:
    """Prompt and target of each pair as token ids."""
    found = [victim.tokens(pair, (SIDE, SIDE)) for pair in pairs]
    return [(list(prompt), list(target)) for prompt, target in found]


def problem(victim: MultimodalVictim) -> Problem:
    """The attack as the engine has it."""
    pool = tuple(
        Pair(prompt=Conversation.user(Image("", SIDE, SIDE), asked), target=answer)
        for asked, answer in corpora.withheld()
    )
    return Problem(
        objective=Objective(victims=(victim,), rows=(TargetNLL(),)),
        constraint=Box(clean=torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), init="uniform"),
        optimizer=SignGD(alpha=ALPHA),
        sampler=WithoutReplacement(pool, TARGETS),
    )


def plain_loop(victim: MultimodalVictim, steps: int, seed: int) -> list[Tensor]:
    """The attack as the official code computes it: the picture before the first step and after each."""
    attack, pixels = problem(victim), pixels_of(victim)
    x = attack.constraint.start(RngStream(seed=seed, keys=(0,), place=START))
    found = [x]
    for number in range(steps):
        rows = rows_of(victim, attack.sampler.draw(number, seed))
        _, grad = plain.step(victim.model, x, rows, pixels)
        x = (x - ALPHA * grad.sign()).clamp(0, 1)
        found.append(x)
    return found


class Held:
    """Held-out requests, and the ordinary target that answers them beside a picture."""

    def __init__(self, folder: Path, count: int) -> None:
        self.blobs = Blobs(folder / "blobs")
        self.target = open_target(NAME, self.blobs, local=LocalSettings(device="cpu"))
        self.judge = registry.make("judge", "testbed_policy")
        asked = (case for case in requests() if case.expected is Expected.refuse)
        self.cases = list(islice(asked, count))

    def success(self, picture: Levels) -> float:
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
class Looked:
    """One seed after some steps: success and probe loss of either loop's picture."""

    steps: int
    seed: int
    plain: float
    engine: float
    plain_loss: float
    engine_loss: float


def looked(victim: MultimodalVictim, held: Held, at: Sequence[int], seed: int) -> list[Looked]:
    """Both loops of one seed, looked at after the steps `at` (multiples of `EVERY`)."""
    attack, kept = problem(victim), dict[int, Checkpoint]()

    def keep(state: Checkpoint) -> None:
        kept[state.numbers["step"]] = state

    minimize(attack, steps=max(at), seed=seed, every=EVERY, callbacks=Callbacks(save=keep))
    pictures, found = plain_loop(victim, max(at), seed), list[Looked]()
    for steps in at:
        levels = [attack.constraint.finalize(x) for x in (pictures[steps], kept[steps].tensors["best_theta"])]
        success = [held.success(as_pixels(shown)[0]) for shown in levels]
        losses = [_loss(attack, shown) for shown in levels]
        found.append(Looked(steps, seed, *success, *losses))
    return found


def _loss(attack: Problem, levels: Tensor) -> float:
    """On the probe batch."""
    return float(attack.objective.probe(levels.float() / 255, attack.probe_pairs).loss[0])


def figures(folder: Path, *, at: Sequence[int], seeds: int, held_out: int) -> tuple[dict[str, Any], str]:
    """Success by steps of both loops, over seeds: means and ranges, and a table. Step 0 is noise."""
    victim, held = opened(), Held(folder, held_out)
    found = [one for seed in range(seeds) for one in looked(victim, held, at, seed)]
    lines = [
        f"{NAME}, {TARGETS} targets a step, {held_out} held-out requests obeyed: "
        f"mean of {seeds} seeds [range]",
        f"{'steps':>6}{'plain loop':>22}{'engine':>22}{'probe loss: plain':>20}{'engine':>9}",
    ]
    figures: dict[str, Any] = {"success_steps": list(at)}
    for steps in at:
        some = [one for one in found if one.steps == steps]
        plain_, engine_ = ([getattr(one, side) for one in some] for side in ("plain", "engine"))
        losses = (
            sum(values) / seeds for values in zip(*((o.plain_loss, o.engine_loss) for o in some), strict=True)
        )
        lines.append(
            f"{steps:6}{_ranged(plain_):>22}{_ranged(engine_):>22}{next(losses):20.4f}{next(losses):9.4f}"
        )
        figures.setdefault("success_plain", []).append(round(sum(plain_) / seeds, 4))
        figures.setdefault("success_engine", []).append(round(sum(engine_) / seeds, 4))
    return figures, "\n".join(lines)


def _ranged(shares: Sequence[float]) -> str:
    return f"{sum(shares) / len(shares):.0%} [{min(shares):.0%}, {max(shares):.0%}]"
