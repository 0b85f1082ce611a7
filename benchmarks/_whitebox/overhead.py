"""What the loop costs beyond a step that somebody would write by hand for one model (W10).

Both take signed steps on one picture and one target in an l-infinity ball; both read a loss that is not
brought back from the device. The hand-written one has everything prepared: embeddings, mask, positions, rows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from _whitebox.times import Ratio
from sightline.cases import Conversation, Eps, Image
from sightline.records import SearchProgress
from sightline.whitebox.constraints import LinfBall
from sightline.whitebox.image_search import Problem, minimize
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.objectives import Objective, TargetNLL
from sightline.whitebox.optimizers import SignGD
from sightline.whitebox.pixels import unit
from sightline.whitebox.samplers import FixedPairs
from sightline.whitebox.search import Callbacks
from sightline.whitebox.victim import Pair

EPS, ALPHA = Eps(16), 1 / 255

BareStep = Callable[[Tensor], Tensor]


def bare_step(victim: MultimodalVictim, clean: Tensor, pair: Pair) -> BareStep:
    """A step for a LLaVA model as one would write it by hand, once."""
    model, settings = victim.model, victim._preprocess.settings
    prompt, target = victim.tokens(pair, (clean.shape[2], clean.shape[3]))
    ids, answer = torch.tensor([*prompt, *target[:-1]]), torch.tensor(target)
    shown = (ids == model.config.image_token_id).nonzero()[:, 0]
    first, last = int(shown[0]), int(shown[-1]) + 1
    embeds = model.get_input_embeddings()(ids)[None]
    mask = torch.full((len(ids), len(ids)), torch.finfo(torch.float32).min).triu(1)[None, None]
    positions, rows = torch.arange(len(ids))[None], torch.arange(len(prompt) - 1, len(ids))
    low = (unit(clean) - EPS.unit).clamp(min=0)
    high = (unit(clean) + EPS.unit).clamp(max=1)
    mean, deviation = (torch.tensor(c)[:, None, None] for c in (settings.mean, settings.std))

    def step(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_(True)
        pixels = (leaf - mean) / deviation
        features = torch.stack(list(model.get_image_features(pixels, return_dict=True).pooler_output))
        logits = model(
            inputs_embeds=torch.cat([embeds[:, :first], features, embeds[:, last:]], dim=1),
            attention_mask=mask,
            position_ids=positions,
            logits_to_keep=rows,
            use_cache=False,
        ).logits
        (grad,) = torch.autograd.grad(cross_entropy(logits[0], answer), leaf)
        return (leaf.detach() - ALPHA * grad.sign()).clamp(low, high)

    return step


class Calls:
    """Counts calls of Python functions."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _frame: FrameType, event: str, _argument: Any) -> None:
        self.count += event == "call"


def compared(victim: MultimodalVictim, rounds: int, every: int = 25) -> dict[str, float]:
    """CPU milliseconds and Python calls per step of the loop and of the bare step, in turns.

    The loop is measured from check to check, so a check's forward pass is part of what it costs; `every` is
    the loop's own default.
    """
    side = victim._preprocess.settings.size["height"]
    made = torch.Generator().manual_seed(0)
    clean = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=made)
    shown = Conversation.user(Image("", side, side), "what is in the image ?")
    pair = Pair(prompt=shown, target="a red square .")
    step, x = bare_step(victim, clean, pair), unit(clean)
    spent: dict[str, list[float]] = {"loop": [], "bare": []}
    called: dict[str, int] = {}
    counting, started = Calls(), 0.0

    def bare() -> None:
        nonlocal x
        for _ in range(every):
            x = step(x)

    def between(progress: SearchProgress) -> None:
        nonlocal started
        number, now = progress.step // every, time.process_time()
        sys.setprofile(None)
        if 1 < number <= rounds + 1:
            spent["loop"].append(now - started)
            started = time.process_time()
            bare()
            spent["bare"].append(time.process_time() - started)
        elif number == rounds + 2:
            called["loop"] = counting.count
        if number == rounds + 1:
            counting.count = 0
            sys.setprofile(counting)
            bare()
            sys.setprofile(None)
            called["bare"], counting.count = counting.count, 0
            sys.setprofile(counting)
        started = time.process_time()

    problem = Problem(
        objective=Objective(victims=(victim,), rows=(TargetNLL(),)),
        constraint=LinfBall(clean=clean, eps=EPS),
        optimizer=SignGD(alpha=ALPHA),
        sampler=FixedPairs((pair,)),
    )
    minimize(problem, steps=every * (rounds + 2), every=every, callbacks=Callbacks(report=between))
    ratio = Ratio.of(spent["loop"], spent["bare"])
    return {
        "loop_ms": min(spent["loop"]) / every * 1000,
        "bare_ms": min(spent["bare"]) / every * 1000,
        "loop_overhead": ratio.median - 1,
        "loop_spread": ratio.spread,
        "loop_python_calls": called["loop"] / every,
        "bare_python_calls": called["bare"] / every,
        "loop_python_calls_ratio": called["loop"] / called["bare"],
    }
