"""A step of GCG timed: nanoGCG's algorithm and the engine, on one model, for the same candidates.

Both have run what stands before the suffix; a step is the gradient and the losses of all candidates. Left out
on both sides is the choice of candidates, and what nanoGCG does beside the computation (decoding and encoding
every candidate, emptying caches).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from _whitebox import plain, plain_text
from _whitebox.counts import Counted
from _whitebox.engine import Step
from _whitebox.shapes import Shape, tokens_of
from _whitebox.times import Ratio, Variant, found_of, in_turns
from sightline.whitebox.packing import pack_prompts
from sightline.whitebox.prefix_cache import CachedPrefixModel
from sightline.whitebox.prompts import PromptTokens


class Suffixed:
    """A suffix of `length` tokens behind picture and question, and candidates evenly over its places."""

    def __init__(self, shape: Shape, *, length: int, tokens: int, candidates: int) -> None:
        self.model: Any = shape.model()
        victim, x = shape.victim(self.model), shape.picture()
        prompt, target = tokens_of(shape, [shape.pair(0, tokens=tokens)])[0]
        first, made = len(prompt) - shape.question, torch.Generator().manual_seed(0)
        self.base = torch.randint(50, shape.vocabulary, (length,), generator=made)
        self.places = torch.arange(candidates) * length // candidates
        new = torch.randint(50, shape.vocabulary, (candidates, 1), generator=made)
        self.fillings = self.base.repeat(candidates, 1).scatter(1, self.places[:, None], new)
        shown = plain_text.features(self.model, plain.normalized(x))
        embeds = self.model.get_input_embeddings()(torch.tensor(prompt[: first - len(shown)]))
        self.given = plain_text.Suffixed(
            torch.cat([embeds, shown])[None], self.base, torch.tensor(prompt[first:]), torch.tensor(target)
        )
        self.layers = plain_text.prefix(self.model, self.given)
        ids = (*prompt[:first], *self.base.tolist(), *prompt[first:])
        asked = PromptTokens(ids, tuple(range(first, first + length)), {})
        packed = pack_prompts(victim.family, [asked], [tuple(target)], [0], torch.device("cpu"))
        self.cached = CachedPrefixModel(
            victim.family, victim.embedding, packed, victim.pixels(x), victim.device
        )
        self.cached.prefill()

    def nanogcg(self) -> Step:
        """Losses of the candidates, and the gradient to the suffix's tokens."""
        grad, losses = plain_text.cached(self.model, self.given, self.fillings, self.layers)
        return losses, grad

    def engine(self) -> Step:
        """The same, candidates that change a later place behind the keys of what they leave alone."""
        _, grad, _ = self.cached.loss_and_grad(self.base, lambda rows: rows.nll.mean(1))
        weight = self.model.get_input_embeddings().weight
        block, found = math.ceil(len(self.base) / 4), list[Tensor]()
        for number in range(4):
            some = self.fillings[self.places // block == number]
            found.append(self.cached.rows(some, unchanged=number * block).nll.mean(1))
        return torch.cat(found), (grad @ weight.t())[0]


def figures(shape: Shape, *, candidates: int, rounds: int) -> tuple[dict[str, float], str]:
    """CPU time and FLOPs of a step by nanoGCG's algorithm over the engine's, and how far losses are apart."""
    step = Suffixed(shape, length=20, tokens=16, candidates=candidates)
    counted = Counted(shape).suffix(length=20, after=shape.question, tokens=16, candidates=candidates)
    flops = counted.cached / counted.engine
    variants = {"nanogcg": Variant(step.nanogcg), "engine": Variant(step.engine)}
    in_turns(variants, rounds)
    ratio = Ratio.of(variants["nanogcg"].spent, variants["engine"].spent)
    wanted, losses = step.nanogcg()[0], step.engine()[0]
    error = float(((losses - wanted).abs() / wanted).max())
    line = (
        f"{shape.name}, GCG behind a picture, {candidates} candidates: nanoGCG's algorithm / engine "
        f"{ratio.median:.2f} (spread {ratio.spread:.0%}), FLOPs {flops:.2f}, losses to {error:.1e}"
    )
    found = found_of("gcg_nanogcg_cpu", ratio)
    return found | {"gcg_nanogcg_cpu_flops_ratio": flops, "gcg_nanogcg_loss_rel_err": error}, line
