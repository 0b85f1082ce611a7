"""The backend `loop`: AdamW over a plan's batches, resumable, the same numbers again after a kill.

Losses are in `losses`, `rollouts` (of rewards) and `robust` (`features`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sightline.errors import UsageError
from sightline.targets.local.model import SMALL_PARAMETERS
from sightline.training.losses import Reference, asked, objective
from sightline.training.model import TrainableModel
from sightline.training.robust import RobustTower, robust_tower
from sightline.training.rollouts import Rollouts, check_signal
from sightline.training.states import Keep, Spent, StepEnds, load_state
from sightline.tuning import Example, Plan, Progress

STATE, REFERENCE = "state.safetensors", "reference.safetensors"
BETAS, CLIP = (0.9, 0.999), 1.0


def run(
    model: TrainableModel, plan: Plan, work: Path, keep: Keep, report: Callable[[Progress], None]
) -> Spent:
    """Carry a plan out, or what is left of it; afterwards the model holds the last weights.

    Args:
        model: with the base's weights.
        plan: from a recipe.
        work: folder of the state to go on from.
        keep: called after each step that the plan keeps a checkpoint of, before the state is written.
        report: called after every step.

    Raises:
        UsageError: for a loss that is not finite.
        OSError: if the state cannot be written.
    """
    with on_few_threads(model):
        reference = Reference(model, plan, work / REFERENCE) if plan.loss in ("dpo", "kto") else None
        tower = None if plan.robust is None else robust_tower(model, plan.robust)
        weights = model.trained(plan.frozen, plan.lora)
        optimizer = torch.optim.AdamW(
            list(weights.values()), lr=plan.rate, betas=BETAS, weight_decay=plan.weight_decay
        )
        spent = load_state(work / STATE, weights, optimizer)
        rollouts = None if plan.sampling is None else Rollouts(model, plan, weights, work / REFERENCE)
        ends = StepEnds(plan, work / STATE, weights, optimizer, spent, keep, report)
        for step in range(spent.step, plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(plan, step)
            if rollouts is not None and step >= plan.warm:
                _sampled(rollouts, plan, step, optimizer, spent)
            else:
                _one(model, plan, step, reference, tower, optimizer, spent)
            spent.step = step + 1
            if rollouts is not None:
                check_signal(plan, spent)
            ends.told()
    return spent


def _one(
    model: TrainableModel,
    plan: Plan,
    step: int,
    reference: Reference | None,
    tower: RobustTower | None,
    optimizer: Any,
    spent: Spent,
) -> None:
    """One update."""
    examples = [plan.examples[number] for number in plan.batches[step]]
    with flops_of(count=not spent.flops_per_token) as counted:
        if tower is not None:
            (loss, clean), margin = tower.loss(plan, step), None
            spent.clean.append(clean)
        else:
            known = None if reference is None else reference.at(step)
            loss, margin = objective(model, plan, examples, known)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
    value = float(loss.detach())
    _update(plan, step, value, optimizer)
    tokens = tokens_of(model, plan, examples) if tower is None else tower.tokens(len(examples))
    spent.count(tokens, value, counted)
    if margin is not None:
        spent.margins.append(margin)


def _sampled(rollouts: Rollouts, plan: Plan, step: int, optimizer: Any, spent: Spent) -> None:
    """One update by the model's own samples."""
    if step == plan.warm:  # another loss, so other moments
        rollouts.begin()
        optimizer.state.clear()
        spent.moments_from = step
    drawn = rollouts.draw(step)
    optimizer.zero_grad(set_to_none=True)
    value = 0.0
    with flops_of(count=not spent.flops_per_token) as counted:
        for part in rollouts.losses(drawn):
            part.backward()
            value += float(part.detach())
    _update(plan, step, value, optimizer)
    spent.count(drawn.tokens, value, counted)
    spent.rewards.append(drawn.reward)
    spent.silent.append(drawn.silent)


def _update(plan: Plan, step: int, loss: float, optimizer: Any) -> None:
    """Change weights by gradients that are there, bounded."""
    norm = nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], CLIP)
    check_finite(plan, step, loss, float(norm))
    optimizer.step()


def check_finite(plan: Plan, step: int, loss: float, norm: float) -> None:
    """Make sure that a step, counted from 0, is one.

    Raises:
        UsageError: for a loss or a gradient that is not finite.
    """
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise UsageError(
            f"the loss at step {step + 1} of {plan.steps} is not finite (loss {loss}, gradient {norm}): "
            f"lower `rate` (now {plan.rate:g}), or raise `warmup`; nothing of it was kept as a target"
        )


def tokens_of(model: TrainableModel, plan: Plan, examples: Sequence[Example]) -> int:
    """Tokens of all prompts with all answers that one step reads."""
    return sum(model.encoded(*each).length for each in asked(plan, examples))


def rate_at(plan: Plan, step: int) -> float:
    """The learning rate of a step, from 0; of losses of rewards after their warm start."""
    first = 0 if plan.sampling is None else plan.warm
    if step < first:
        return plan.warm_rate
    step, steps = step - first, plan.steps - first
    warm = min(1.0, (step + 1) / plan.warmup) if plan.warmup else 1.0
    if plan.schedule == "constant":
        return plan.rate * warm
    return plan.rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))


@contextmanager
def on_few_threads(model: TrainableModel) -> Iterator[None]:
    """One thread for small models on a CPU, where a second one mostly waits, and sums in one order."""
    threads = torch.get_num_threads()
    if model.device.type == "cpu" and model.model.num_parameters() < SMALL_PARAMETERS:
        torch.set_num_threads(1)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def flops_of(*, count: bool) -> Iterator[FlopCounterMode | None]:
    """Counts operations; does nothing unless `count`, since it costs time."""
    if not count:
        yield None
        return
    with FlopCounterMode(display=False) as counted:
        yield counted
