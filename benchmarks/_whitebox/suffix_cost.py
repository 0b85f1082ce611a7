"""What one step of `GCG` costs by the engine's own passes; also on the device `meta`, computing nothing.

    step = gcg_step_flops(victim, prompt, target, x=pictures, candidates=512, block=1)
    step.prefill, step.slope, step.score, step.whole

`prompt` is a `PromptTokens` whose `text` are the places of the suffix; keys and values of the picture
(`prefill`) are computed once for a whole attack, and are no part of a step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sightline.whitebox.compute import flops_of
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.packing import pack_prompts
from sightline.whitebox.prefix_cache import CachedPrefixModel
from sightline.whitebox.prompts import PromptTokens


class StepFlops(NamedTuple):
    """FLOPs of what stands before the suffix (once per attack), of the gradient, of all candidates."""

    prefill: float
    slope: float
    score: float

    @property
    def whole(self) -> float:
        """One step, after the prefix was run."""
        return self.slope + self.score


def gcg_step_flops(
    victim: MultimodalVictim,
    prompt: PromptTokens,
    target: Sequence[int],
    *,
    x: Tensor | None = None,
    candidates: int = 512,
    block: int = 1,
) -> StepFlops:
    """Count one step for one prompt and one target.

    Args:
        victim: the model, on any device.
        prompt: tokens with the suffix in them; `text` are its places.
        target: tokens of the answer.
        x: the picture, (1, 3, h, w); None without.
        candidates: evenly over the places.
        block: neighboring places that are run together, as in `GCG`.
    """
    packed = pack_prompts(victim.family, [prompt], [tuple(target)], [0], torch.device("cpu"))
    with torch.no_grad():
        pixels = None if x is None else victim.pixels(x)
        cached = CachedPrefixModel(victim.family, victim.embedding, packed, pixels, victim.device)
    length = len(prompt.text)
    filling = torch.zeros(length, dtype=torch.long, device=victim.device)
    weight = victim.embedding.weight

    def slope() -> Tensor:
        _, grad, _ = cached.loss_and_grad(filling, lambda rows: rows.nll.mean(1))
        found: Tensor = grad @ weight.t().to(grad.dtype)
        return found

    def score() -> None:
        blocks = Counter(place * length // candidates // block for place in range(candidates))
        for number, count in blocks.items():
            cached.rows(filling.expand(count, -1), unchanged=number * block)

    return StepFlops(flops_of(cached.prefill), flops_of(slope), flops_of(score))
