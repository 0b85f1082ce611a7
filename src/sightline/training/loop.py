"""The backend `loop`: AdamW over a plan's batches, resumable, the same numbers again after a kill.

Losses. `nll`: mean negative log-likelihood of the answers' tokens. `dpo` (Rafailov et al., NeurIPS 2023,
eq. 7): -log sigmoid(beta [log pi(c)/ref(c) - log pi(r)/ref(r)]) for the chosen answer c and the rejected r,
where ref is the model before the first step; with a weight, plus the `nll` of the chosen answers. `features`:
see `robust`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sightline.errors import UsageError
from sightline.sealed import file_named
from sightline.targets.local.model import SMALL_PARAMETERS
from sightline.training.model import TrainableModel
from sightline.training.robust import RobustTower, robust_tower
from sightline.tuning import Example, Plan, Progress

STATE, REFERENCE = "state.safetensors", "reference.safetensors"
BETAS, CLIP = (0.9, 0.999), 1.0
AT_ONCE = 16
"""Answers of one forward pass of the reference."""
SAVED = 20
"""Steps between states to go on from, where the plan keeps no checkpoints."""


@dataclass(slots=True)
class Spent:
    """What was done so far, over all interruptions.

    Attributes:
        losses: of every step.
        margins: of every step of `dpo`: mean of beta times the difference of log-ratios, else empty.
        clean: of every step of `features`: the loss on the pictures before they are attacked, else empty.
        flops_per_token: as counted in one step.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    clean: list[float] = field(default_factory=list)
    tokens: int = 0
    flops_per_token: float = 0.0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0

    @property
    def flops(self) -> float:
        """Operations of all steps, the reference's passes not among them."""
        return self.tokens * self.flops_per_token


Keep = Callable[[int], None]


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
        reference = _reference(model, plan, work / REFERENCE) if plan.loss == "dpo" else None
        tower = None if plan.robust is None else robust_tower(model, plan.robust)
        weights = model.trained(plan.frozen)
        optimizer = torch.optim.AdamW(
            list(weights.values()), lr=plan.rate, betas=BETAS, weight_decay=plan.weight_decay
        )
        spent = _load(work / STATE, weights, optimizer)
        cpu, wall, before = time.process_time(), time.monotonic(), (spent.cpu_seconds, spent.wall_seconds)
        for step in range(spent.step, plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(plan, step)
            _one(model, plan, step, reference, tower, optimizer, spent)
            spent.step = step + 1
            spent.cpu_seconds = before[0] + time.process_time() - cpu
            spent.wall_seconds = before[1] + time.monotonic() - wall
            report(Progress(spent.step, plan.steps, spent.losses[-1], spent.wall_seconds))
            kept = spent.step in plan.saved
            if kept:
                keep(spent.step)
            if kept or spent.step % SAVED == 0 or spent.step == plan.steps:
                _save(work / STATE, weights, optimizer, spent)
    return spent


def _one(
    model: TrainableModel,
    plan: Plan,
    step: int,
    reference: Tensor | None,
    tower: RobustTower | None,
    optimizer: Any,
    spent: Spent,
) -> None:
    """One update."""
    examples = [plan.examples[number] for number in plan.batches[step]]
    count = not spent.flops_per_token
    with FlopCounterMode(display=False) if count else _nothing() as counted:
        if tower is not None:
            (loss, clean), margin = tower.loss(plan, step), None
            spent.clean.append(clean)
        else:
            known = None if reference is None else reference[torch.tensor(plan.batches[step])]
            loss, margin = objective(model, plan, examples, known)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
    value = float(loss.detach())
    norm = nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], CLIP)
    if not (math.isfinite(value) and bool(norm.isfinite())):
        raise UsageError(
            f"the loss at step {step + 1} of {plan.steps} is not finite (loss {value}, gradient "
            f"{float(norm)}): lower "
            f"`rate` (now {plan.rate:g}), or raise `warmup`; nothing of it was kept as a target"
        )
    optimizer.step()
    tokens = _tokens(model, plan, examples) if tower is None else tower.tokens(len(examples))
    if counted is not None:
        spent.flops_per_token = float(counted.get_total_flops()) / tokens
    spent.tokens += tokens
    spent.losses.append(value)
    if margin is not None:
        spent.margins.append(margin)


def objective(
    model: TrainableModel, plan: Plan, examples: Sequence[Example], reference: Tensor | None = None
) -> tuple[Tensor, float | None]:
    """The plan's loss on some examples, and the mean margin of `dpo`.

    Args:
        reference: (n, 2), the base's log-likelihoods of chosen and rejected answers.
    """
    chosen = [(each.prompt, each.chosen) for each in examples]
    if reference is None:
        found = model.likelihoods(chosen)
        return -found.sums.sum() / found.tokens.sum(), None
    both = model.likelihoods([*chosen, *((each.prompt, each.rejected) for each in examples)])
    count = len(examples)
    ratios = both.sums.view(2, count).t() - reference.to(both.sums.device)
    margins = plan.beta * (ratios[:, 0] - ratios[:, 1])
    loss = -nn.functional.logsigmoid(margins).mean()
    if plan.nll_weight:
        loss = loss - plan.nll_weight * both.sums[:count].sum() / both.tokens[:count].sum()
    return loss, float(margins.detach().mean())


def _tokens(model: TrainableModel, plan: Plan, examples: Sequence[Example]) -> int:
    """Tokens of prompts and answers, of rejected ones too where they are read."""
    both = plan.loss == "dpo"
    answers = [(e.prompt, a) for e in examples for a in ([e.chosen, e.rejected] if both else [e.chosen])]
    return sum(model.encoded(*answer).length for answer in answers)


def rate_at(plan: Plan, step: int) -> float:
    """The learning rate of a step, from 0."""
    warm = min(1.0, (step + 1) / plan.warmup) if plan.warmup else 1.0
    if plan.schedule == "constant":
        return plan.rate * warm
    return plan.rate * warm * 0.5 * (1 + math.cos(math.pi * step / plan.steps))


def _reference(model: TrainableModel, plan: Plan, path: Path) -> Tensor:
    """The base's log-likelihoods of all examples' answers, (examples, 2); kept: the base is gone later."""
    if path.exists():
        known: Tensor = load_file(path)["likelihoods"]
        return known
    answers = [(each.prompt, answer) for each in plan.examples for answer in (each.chosen, each.rejected)]
    with torch.no_grad():
        parts = [
            model.likelihoods(answers[start : start + AT_ONCE]).sums
            for start in range(0, len(answers), AT_ONCE)
        ]
    found = torch.cat(parts).view(-1, 2).cpu()
    _write(path, {"likelihoods": found}, {})
    return found


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
def _nothing() -> Iterator[None]:
    yield None


def _save(
    path: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, spent: Spent
) -> None:
    tensors = {f"weight/{name}": weight.detach() for name, weight in weights.items()}
    for name, weight in weights.items():
        state = optimizer.state[weight]
        if state:
            tensors |= {f"mean/{name}": state["exp_avg"], f"square/{name}": state["exp_avg_sq"]}
    _write(path, tensors, {"spent": json.dumps(asdict(spent))})


def _write(path: Path, tensors: dict[str, Tensor], facts: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    fresh = path.with_suffix(".new")
    try:
        with file_named(path):
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, fresh, metadata=facts)
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _load(path: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> Spent:
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
                    "step": torch.tensor(float(spent.step)),
                    "exp_avg": stored.get_tensor(f"mean/{name}").to(weight.device),
                    "exp_avg_sq": stored.get_tensor(f"square/{name}").to(weight.device),
                }
    return spent
