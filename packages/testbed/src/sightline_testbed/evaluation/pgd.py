"""Plain projected gradient descent on a picture, through the genuine model's own forward pass.

The oracle of risk 1, kept apart from the white-box engine on purpose: cards are measured by it, and a test
compares the engine's steps with it. Madry et al. (ICLR 2018), targeted: signed steps on the mean negative
log-likelihood of a target answer, a random start in the l-infinity ball, the last step's picture rounded to
`uint8`. Pictures are float32 in [0, 1], (n, 3, h, w), inside; `uint8` (h, w, 3) outside. `eps` and steps are
in units of 1/255.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sightline.errors import ContractError, require
from sightline.testbed.render import SIZE, Pixels
from sightline.whitebox.frozen import frozen
from sightline_testbed.evaluation.answering import Ask, Model
from sightline_testbed.training.train import Progress, Report

STEPS = 100
BATCH = 32
UNIVERSAL_STEPS, UNIVERSAL_BATCH, UNIVERSAL_STEP, UNIVERSAL_MOMENTUM = 400, 8, 8.0, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A question beside a picture, and the answer it is to be made to give."""

    ask: Ask
    target: str

    @property
    def pixels(self) -> Pixels:
        """The picture before anything is done to it."""
        if self.ask.pixels is None:
            raise ContractError(f"the question {self.ask.user!r} shows no picture to perturb")
        return self.ask.pixels


@dataclass(frozen=True, slots=True)
class Packed:
    """Prompts and targets of some goals as one batch.

    Attributes:
        inputs: what the model takes besides the pixels; targets stand at the end, padded on the right.
        shape: of the model's `pixel_values`.
        labels: (n, t), the target's ids at the columns that predict nothing but them; -100 elsewhere.
        mean: of the processor's normalization, (3, 1, 1).
        std: likewise.
    """

    inputs: dict[str, Tensor]
    shape: torch.Size
    labels: Tensor
    mean: Tensor
    std: Tensor

    def loss(self, model: Any, x: Tensor) -> Tensor:
        """Return each row's mean negative log-likelihood of its target, (n,).

        tokens   [p0 .. pk | y0 y1 </s>]
        logits   predict the next token, so column k is scored by y0
        """
        pixels = ((x - self.mean) / self.std).reshape(self.shape)
        logits = model(**self.inputs, pixel_values=pixels, use_cache=False).logits[:, -self.labels.shape[1] :]
        lost = torch.nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2).float(), self.labels[:, 1:], reduction="none"
        )
        learned = (self.labels[:, 1:] != -100).float()
        found: Tensor = (lost * learned).sum(1) / learned.sum(1)
        return found


def pack(model: Model, goals: Sequence[Goal]) -> Packed:
    """Tokenize prompts by the ordinary processor and append the targets' ids.

    The processor pads prompts on the left, so that every target starts at the same column.

    Raises:
        ContractError: if the processor does not scale 64 x 64 pictures by its mean and deviation alone.
    """
    images = [goal.pixels for goal in goals]
    inputs = model.inputs([goal.ask for goal in goals])
    wanted, processor = inputs.pop("pixel_values"), model.processor
    constants = processor.image_processor
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (constants.image_mean, constants.image_std))
    if not torch.allclose(((as_floats(images) - mean) / std).reshape(wanted.shape), wanted, atol=1e-5):
        raise ContractError("the processor does more to a 64 x 64 picture than to normalize it")
    tokens = processor.tokenizer
    rows = [
        [*tokens(goal.target, add_special_tokens=False)["input_ids"], tokens.eos_token_id] for goal in goals
    ]
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), tokens.pad_token_id)
    labels = torch.full((len(rows), length + 1), -100)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        labels[number, 1 : len(row) + 1] = torch.tensor(row)
    width = inputs["input_ids"].shape[1]
    for name, value in inputs.items():
        if value.dim() > 1 and value.shape[1] == width:  # one entry per token: the target sees what came last
            inputs[name] = torch.cat([value, value[:, -1:].expand(-1, length, *value.shape[2:])], dim=1)
    inputs["input_ids"][:, width:] = ids
    return Packed(inputs=inputs, shape=wanted.shape, labels=labels, mean=mean, std=std)


def as_floats(pictures: Sequence[Pixels]) -> Tensor:
    """Return pictures as float32 in [0, 1], (n, 3, h, w)."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def as_pixels(x: Tensor) -> list[Pixels]:
    """Round pictures in [0, 1] to `uint8`, (h, w, 3) each."""
    whole = (x.detach() * 255).round().clamp(0, 255).to(torch.uint8)
    return list(whole.permute(0, 2, 3, 1).contiguous().numpy())


def starts(goals: Sequence[Goal], eps: int, seed: int) -> Tensor:
    """Return uniform starts in the ball, (n, 3, h, w); a goal's start does not depend on its batch."""
    drawn = [
        np.random.default_rng([seed, eps, number]).uniform(-eps / 255, eps / 255, (3, SIZE, SIZE))
        for number in range(len(goals))
    ]
    return torch.from_numpy(np.stack(drawn)).float()


def descend(
    model: Model,
    goals: Sequence[Goal],
    eps: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    report: Report = lambda _: None,
) -> list[Pixels]:
    """Return, per goal, a picture at most `eps` / 255 from the goal's that makes its target likely.

    Args:
        model: whose loss is followed.
        goals: question, picture and target; batched 32 at a time.
        eps: radius of the l-infinity ball, 1 to 255.
        seed: of the random starts.
        steps: each of max(1, eps / 20) / 255.
        report: told the batch's mean loss every ten steps.

    Raises:
        UsageError: for an eps outside 1 to 255.
        ContractError: if a goal shows no picture, or the processor does not only normalize.
    """
    require(1 <= eps <= 255, "eps", eps, "1 to 255, in units of 1/255")
    start, found = time.monotonic(), list[Pixels]()
    every, step_size = starts(goals, eps, seed), max(1.0, eps / 20) / 255
    for first in range(0, len(goals), BATCH):
        some = goals[first : first + BATCH]
        clean = as_floats([goal.pixels for goal in some])
        low, high = (clean - eps / 255).clamp(min=0), (clean + eps / 255).clamp(max=1)
        x = torch.clamp(clean + every[first : first + BATCH], low, high)
        batch = pack(model, some)
        with frozen(model.model):
            for step in range(steps):
                x = x.detach().requires_grad_(True)
                loss = batch.loss(model.model, x)
                (slope,) = torch.autograd.grad(loss.sum(), x)
                x = torch.clamp(x.detach() - step_size * slope.sign(), low, high)
                if step % 10 == 0 or step + 1 == steps:
                    _tell(report, f"pgd {eps}/255", (step + 1, steps), start, loss)
        found += as_pixels(x)
    return found


def universal(
    model: Model,
    goals: Sequence[Goal],
    *,
    seed: int = 0,
    steps: int = UNIVERSAL_STEPS,
    report: Report = lambda _: None,
) -> Pixels:
    """Return one picture, bounded by nothing but [0, 1], that makes all goals' targets likely.

    After Qi et al. (AAAI 2024): signed steps on the mean over a few goals at a time. Unlike theirs, the step
    falls linearly from 8 / 255 to 1 / 255 and follows a momentum of 0.9 over gradients of unit mean size
    (Dong et al., CVPR 2018). The goals' own pictures do not matter.

    Raises:
        ContractError: if the processor does not only normalize.
    """
    rng, start = np.random.default_rng([seed, 256]), time.monotonic()
    x = as_floats([random_picture(rng)])
    size, velocity = min(UNIVERSAL_BATCH, len(goals)), torch.zeros_like(x)
    with frozen(model.model):
        for step in range(steps):
            batch = pack(model, [goals[i] for i in rng.choice(len(goals), size, replace=False)])
            x = x.detach().requires_grad_(True)
            loss = batch.loss(model.model, x.expand(size, -1, -1, -1))
            (slope,) = torch.autograd.grad(loss.sum(), x)
            velocity = UNIVERSAL_MOMENTUM * velocity + slope / slope.abs().mean().clamp(min=1e-12)
            rate = UNIVERSAL_STEP + (1 - UNIVERSAL_STEP) * step / max(1, steps - 1)
            x = (x.detach() - rate / 255 * velocity.sign()).clamp(0, 1)
            if step % 10 == 0 or step + 1 == steps:
                _tell(report, "universal image", (step + 1, steps), start, loss)
    return as_pixels(x)[0]


def random_picture(rng: np.random.Generator) -> Pixels:
    """Return a picture whose every value is equally likely."""
    found: Pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    return found


def signs(clean: Pixels, eps: int, rng: np.random.Generator) -> Pixels:
    """Return the picture with every value moved by exactly `eps`, up or down, clipped to 0 and 255."""
    return _moved(clean, eps * rng.choice((-1, 1), clean.shape))


def uniform(clean: Pixels, eps: int, rng: np.random.Generator) -> Pixels:
    """Return the picture with every value moved by a random whole number from -eps to eps, clipped."""
    return _moved(clean, rng.integers(-eps, eps + 1, clean.shape))


def _moved(clean: Pixels, delta: npt.NDArray[np.int64]) -> Pixels:
    found: Pixels = (clean.astype(np.int64) + delta).clip(0, 255).astype(np.uint8)
    return found


#: controls without knowledge of the model, by name
NOISE: dict[str, Callable[[Pixels, int, np.random.Generator], Pixels]] = {"signs": signs, "uniform": uniform}


def _tell(report: Report, stage: str, place: tuple[int, int], start: float, loss: Tensor) -> None:
    """Report a step of a descent."""
    step, steps = place
    figures = {"loss": loss.detach().mean().item()}
    report(Progress(stage=stage, step=step, steps=steps, seconds=time.monotonic() - start, figures=figures))
