"""Figures that are counted, on models without memory: the same on every machine, load or not."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from _whitebox import engine, plain, plain_text
from _whitebox.engine import flops
from _whitebox.shapes import Shape, tokens_of
from _whitebox.suffix_cost import gcg_step_flops
from sightline.whitebox.objectives import prefix_weights
from sightline.whitebox.prompts import PromptTokens

TERA = 1e12
#: tokens of the eight targets of the Qi-shaped step on `mid`: 10 to 16, as sentences differ
LENGTHS = (10, 13, 16, 11, 15, 12, 14, 16)


class Loops(NamedTuple):
    """FLOPs of a step: as the official code has it; with care; by the engine."""

    official: float
    careful: float
    engine: float


class Suffix(NamedTuple):
    """FLOPs of a step of GCG: every sequence as a whole; behind a cache, as nanoGCG; by the engine.

    The engine runs candidates of neighboring places together, a fourth of the places unless told otherwise;
    `single` is place by place, which saves most operations and makes the smallest batches.
    """

    whole: float
    cached: float
    engine: float
    single: float


class Counted:
    """A shape on the device `meta`, and the FLOPs of steps on it.

    Attention is counted in full, as two matrix products, whatever kernel a machine would take.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.model: Any = shape.model("meta", attention="eager")
        self.victim = shape.victim(self.model)
        self.x = shape.picture(device="meta")
        with torch.no_grad():  # what comes before the picture is run once for the whole attack
            self.victim.rows(self.x, [shape.pair(0)])

    def targets(self, lengths: tuple[int, ...]) -> Loops:
        """Several targets behind one prompt."""
        pairs = [self.shape.pair(number, tokens=tokens) for number, tokens in enumerate(lengths)]
        rows = tokens_of(self.shape, pairs)
        return Loops(
            flops(lambda: plain.step(self.model, self.x, rows)),
            flops(lambda: plain.careful_step(self.model, self.x, rows)),
            flops(lambda: engine.step(self.victim, self.x, pairs)),
        )

    def prompts(self, count: int, tokens: int = 16) -> tuple[float, float]:
        """Several prompts, each with its target: the engine's FLOPs, without and with an adversary."""
        pairs = [self.shape.pair(number, question=number, tokens=tokens) for number in range(count)]
        return (
            flops(lambda: engine.step(self.victim, self.x, pairs)),
            flops(lambda: engine.step_with_rival(self.victim, self.x, pairs)),
        )

    def prompts_apart(self, count: int, tokens: int = 16) -> float:
        """The plain passes of as many prompts; they are all alike, so one of them is counted."""
        row = tokens_of(self.shape, [self.shape.pair(0, tokens=tokens)])
        return count * flops(lambda: plain.step(self.model, self.x, row))

    def prefixes(self, tokens: int = 15) -> tuple[float, float]:
        """A target of `tokens` tokens: a pass per beginning; one pass that weighs its tokens alike.

        A pass costs a quadratic polynomial in its length: three lengths, counted, give all.
        """
        pair = self.shape.pair(0, tokens=tokens)
        ((prompt, target),) = tokens_of(self.shape, [pair])
        known = (1, (tokens + 1) // 2, tokens)
        cost = [flops(lambda n=n: plain.step(self.model, self.x, [(prompt, target[:n])])) for n in known]
        passes = np.polynomial.Polynomial.fit(known, cost, 2)
        return (
            float(sum(passes(n) for n in range(1, tokens + 1))),
            flops(lambda: engine.step(self.victim, self.x, [pair], prefix_weights)),
        )

    def weights(self) -> tuple[float, float]:
        """One target with `.backward()`: weights as loaded, which want gradients; frozen by the engine."""
        rows = tokens_of(self.shape, [self.shape.pair(0)])
        loaded = self.shape.model("meta", attention="eager").requires_grad_(True)
        return (
            flops(lambda: plain.step(loaded, self.x, rows)),
            flops(lambda: plain.step(self.shape.victim(loaded).model, self.x, rows)),
        )

    def suffix(self, *, length: int = 20, after: int = 5, tokens: int = 16, candidates: int = 512) -> Suffix:
        """One step of GCG on a text behind system text and picture, with its gradient."""
        prompt, target = tokens_of(self.shape, [self.shape.pair(0, tokens=tokens)])[0]
        first = len(prompt) - self.shape.question
        ids = torch.tensor([*prompt[:first], *range(50, 50 + length + after), *target]).to("meta")
        table, pixels = self.model.get_input_embeddings(), plain.normalized(self.x)
        shown = plain_text.features(self.model, pixels)
        said = torch.cat([table(ids[: first - len(shown)]), shown])[None]
        given = plain_text.Suffixed(
            said, ids[first : first + length], ids[first + length : -tokens], ids[-tokens:]
        )
        fillings = given.suffix.expand(candidates, -1)
        layers = plain_text.prefix(self.model, given)
        asked = PromptTokens(
            (*prompt[:first], *range(50, 50 + length + after)), tuple(range(first, first + length)), {}
        )
        ours, single = (
            gcg_step_flops(self.victim, asked, target, x=self.x, candidates=candidates, block=block).whole
            for block in (math.ceil(length / 4), 1)
        )
        return Suffix(
            flops(lambda: plain_text.whole(self.model, given, fillings)),
            flops(lambda: plain_text.cached(self.model, given, fillings, layers)),
            ours,
            single,
        )


def figures(mid: Shape, large: Shape) -> dict[str, float]:
    """W1 and W4 to W7 of specs/performance.md."""
    found: dict[str, float] = {}
    middle, big = Counted(mid), Counted(large)
    found |= _ratios("qi_flops", middle.targets(LENGTHS))
    for tokens in (16, 64):
        loops = big.targets((tokens,) * 8)
        found |= _ratios(f"qi_7b_{tokens}", loops)
        found[f"qi_7b_{tokens}_engine_tflop"] = loops.engine / TERA
    (ten, ten_moved), (one, one_moved) = big.prompts(10), big.prompts(1)
    found["prompts_7b_ratio"] = ten / one
    found["cropa_cost_ratio"] = ten_moved / one_moved
    found["cropa_plain_ratio"] = big.prompts_apart(10) / ten
    slow, fast = big.prefixes(15)
    found["bagdasaryan_flops_ratio"] = slow / fast
    slow, fast = middle.weights()
    found["frozen_ratio"] = slow / fast
    step = big.suffix()
    found["gcg_whole_tflop"] = step.whole / TERA
    found["gcg_cached_tflop"] = step.cached / TERA
    found["gcg_engine_tflop"] = step.engine / TERA
    found["gcg_nanogcg_ratio"] = step.cached / step.engine
    found["gcg_nanogcg_single_ratio"] = step.cached / step.single
    found["gcg_naive_ratio"] = step.whole / step.engine
    return found


def _ratios(name: str, loops: Loops) -> dict[str, float]:
    """How many times the engine's FLOPs either loop takes."""
    return {
        f"{name}_ratio": loops.official / loops.engine,
        f"{name}_careful_ratio": loops.careful / loops.engine,
    }
