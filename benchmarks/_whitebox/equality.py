"""The engine's steps against the plain ones on small random weights: gradients, and losses at equal steps.

For every kind of step that is counted elsewhere the same attack is run both ways from the same noise, with
signed steps of one level, in float32, for several seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from _whitebox import engine, plain, plain_text
from _whitebox.engine import Step
from _whitebox.shapes import Shape, tokens_of
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.objectives import prefix_weights
from sightline.whitebox.packing import pack_prompts
from sightline.whitebox.prefix_cache import CachedPrefixModel
from sightline.whitebox.prompts import PromptTokens

ALPHA = 1 / 255
Both = tuple[Callable[[Tensor], Step], Callable[[Tensor], Step]]


class Compared(NamedTuple):
    """One kind of step: error and signs of the first gradient, and losses after the last step, by seed."""

    kind: str
    error: float
    signs: float
    plain: list[float]
    engine: list[float]


def kinds(shape: Shape, model: Any, victim: MultimodalVictim) -> dict[str, Both]:
    """Plain and engine for each kind of step."""
    one = [shape.pair(0, tokens=7)]
    targets = [shape.pair(number, tokens=2 + number % 7) for number in range(8)]
    prompts = [shape.pair(number, question=number, tokens=5) for number in range(10)]
    rows = {id(pairs): tokens_of(shape, pairs) for pairs in (one, targets, prompts)}
    return {
        "one target": (
            lambda x: plain.step(model, x, rows[id(one)]),
            lambda x: engine.step(victim, x, one),
        ),
        "8 targets (Qi)": (
            lambda x: plain.step(model, x, rows[id(targets)]),
            lambda x: engine.step(victim, x, targets),
        ),
        "10 prompts (CroPA)": (
            lambda x: plain.step_by_prompt(model, x, rows[id(prompts)]),
            lambda x: engine.step(victim, x, prompts),
        ),
        "7 beginnings (injection)": (
            lambda x: plain.step_by_token(model, x, rows[id(one)][0]),
            lambda x: engine.step(victim, x, one, prefix_weights),
        ),
    }


def descent(step: Callable[[Tensor], Step], x: Tensor, steps: int) -> float:
    """The loss after signed steps."""
    for _ in range(steps):
        x = (x - ALPHA * step(x)[1].sign()).clamp(0, 1)
    return float(step(x)[0])


def compared(shape: Shape, *, steps: int, seeds: int) -> list[Compared]:
    """Every kind of step, run both ways."""
    model = shape.model()
    victim = shape.victim(model)
    found = []
    for kind, (slow, fast) in kinds(shape, model, victim).items():
        wanted, grad = slow(shape.picture())[1], fast(shape.picture())[1]
        error = float((grad - wanted).norm() / wanted.norm())
        signs = float((grad.sign() == wanted.sign()).float().mean())
        losses = [
            [descent(step, shape.picture(seed), steps) for seed in range(seeds)] for step in (slow, fast)
        ]
        found.append(Compared(kind, error, signs, *losses))
    return found


def suffix_error(shape: Shape, candidates: int = 32) -> float:
    """Largest relative difference of candidates' losses: GCG's whole sequences against the engine's rows."""
    model = shape.model()
    victim, x = shape.victim(model), shape.picture()
    length = 6
    prompt, target = tokens_of(shape, [shape.pair(0, tokens=5)])[0]
    first, made = len(prompt) - shape.question, torch.Generator().manual_seed(0)
    base = torch.randint(50, shape.vocabulary, (length,), generator=made)
    fillings = base.repeat(candidates, 1)
    changed = length // 2
    fillings[:, changed] = torch.randint(50, shape.vocabulary, (candidates,), generator=made)
    ids = (*prompt[:first], *base.tolist(), *prompt[first:])
    shown = plain_text.features(model, plain.normalized(x))
    embeds = model.get_input_embeddings()(torch.tensor(prompt[: first - len(shown)]))
    given = plain_text.Suffixed(
        torch.cat([embeds, shown])[None], base, torch.tensor(prompt[first:]), torch.tensor(target)
    )
    wanted = plain_text.whole(model, given, fillings)[1]
    asked = PromptTokens(ids, tuple(range(first, first + length)), {})
    packed = pack_prompts(victim.family, [asked], [tuple(target)], [0], torch.device("cpu"))
    cached = CachedPrefixModel(victim.family, victim.embedding, packed, victim.pixels(x), victim.device)
    cached.loss_and_grad(base, lambda rows: rows.nll.mean(1))
    found = cached.rows(fillings, unchanged=changed).nll.mean(1)
    return float(((found - wanted).abs() / wanted).max())


def figures(shape: Shape, *, steps: int, seeds: int) -> tuple[dict[str, float], str]:
    """The worst of all kinds, and a table."""
    found, suffix = compared(shape, steps=steps, seeds=seeds), suffix_error(shape)
    lines = [
        f"{shape.name}, random weights, fp32: first gradient; losses after {steps} steps, {seeds} seeds",
        f"  {'step':26}{'error':>9}{'signs':>10}   plain / engine",
    ]
    for kind, error, signs, slow, fast in found:
        losses = "  ".join(f"{a:.4f} / {b:.4f}" for a, b in zip(slow, fast, strict=True))
        lines.append(f"  {kind:26}{error:9.1e}{signs:10.4%}   {losses}")
    lines.append(f"  {'GCG, candidates':26}{suffix:9.1e}   (losses, whole sequences / engine)")
    gaps = [abs(a - b) / a for one in found for a, b in zip(one.plain, one.engine, strict=True)]
    return {
        "tiny_grad_rel_err": max(one.error for one in found),
        "tiny_sign_agreement": min(one.signs for one in found),
        "tiny_loss_gap": max(gaps),
        "gcg_loss_rel_err": suffix,
    }, "\n".join(lines)
