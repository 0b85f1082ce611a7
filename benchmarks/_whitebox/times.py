"""Figures that are timed: CPU seconds of one thread, variants in turns, round after round.

A ratio is the median over rounds of what two variants took in the same round, and its spread the distance of
the quartiles as a share of it: what else the machine does at that time slows both, and the spread says by how
much it did not. Ratios are of one number format. Every variant's gradient is compared with the official
loop's in float32, so that no speed is told without what it does to the attack.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from _whitebox import engine, plain
from _whitebox.counts import LENGTHS
from _whitebox.engine import Step
from _whitebox.plain import Pixels, Tokens
from _whitebox.shapes import Shape, tokens_of
from sightline.whitebox.frozen import quicken
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.victim import Pair

#: quartiles further apart than this share of the median make a ratio noisy
STEADY = 0.1
FORMATS = ("fp32", "bf16")


def ceilings(side: int = 3072, rounds: int = 3) -> dict[str, float]:
    """GFLOP/s of a square matrix product: fp32, fp32 as `open_victim` multiplies, bf16."""
    found = {}
    layer = torch.nn.Linear(side, side, bias=False).requires_grad_(False)
    half = torch.nn.Linear(side, side, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    opened = torch.nn.Sequential(torch.nn.Linear(side, side, bias=False).requires_grad_(False))
    quicken(opened)
    for name, multiply in (("fp32", layer), ("fp32 opened", opened), ("bf16", half)):
        x = torch.randn(side, side).to(half.weight.dtype if multiply is half else torch.float32)
        spent = min(engine.seconds(lambda m=multiply, x=x: (m(x), x))[0] for _ in range(rounds))
        found[name] = 2 * side**3 / spent / 1e9
    return found


@dataclass
class Variant:
    """A way to compute something: how, and the CPU seconds of each round."""

    work: Callable[[], Step]
    spent: list[float] = field(default_factory=list)
    grad: Tensor = field(default_factory=lambda: torch.empty(0))

    def run(self) -> None:
        seconds, (_, self.grad) = engine.seconds(self.work)
        self.spent.append(seconds)

    def error(self, wanted: Tensor) -> float:
        return float((self.grad - wanted).norm() / wanted.norm())

    def signs(self, wanted: Tensor) -> float:
        return float((self.grad.sign() == wanted.sign()).float().mean())


class Ratio(NamedTuple):
    """Median of paired ratios, and the distance of their quartiles as a share of it."""

    median: float
    spread: float

    @property
    def noisy(self) -> bool:
        """Whether the median cannot be relied on; so for one round alone."""
        return not self.spread <= STEADY

    @classmethod
    def of(cls, slow: Sequence[float], fast: Sequence[float]) -> Ratio:
        """Of two variants' seconds, round by round."""
        ratios = [a / b for a, b in zip(slow, fast, strict=True)]
        middle = statistics.median(ratios)
        if len(ratios) == 1:
            return cls(middle, float("nan"))
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(middle, (high - low) / middle)


def in_turns(variants: Mapping[str, Variant], rounds: int) -> None:
    """Run all of them several times, every second round backwards."""
    for number in range(rounds):
        for variant in list(variants.values())[:: -1 if number % 2 else 1]:
            variant.run()


def found_of(name: str, ratio: Ratio) -> dict[str, float]:
    """A ratio as two figures."""
    return {f"{name}_ratio": ratio.median, f"{name}_spread": ratio.spread}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """One model on both sides of a comparison, in one number format.

    Attributes:
        victim: the engine's side.
        x: the picture.
        pixels: what the vision tower reads of it, for the loops written by hand.
    """

    victim: MultimodalVictim
    x: Tensor
    pixels: Pixels = plain.normalized

    def variants(self, kind: str, pairs: Sequence[Pair], rows: Sequence[Tokens]) -> dict[str, Variant]:
        """The official loop's step, the careful one, the engine's, by name and number format."""
        model, x, pixels = self.victim.model, self.x, self.pixels
        with torch.no_grad():
            self.victim.rows(x, pairs)  # the constant text before the picture: once for the whole attack
        return {
            f"official {kind}": Variant(lambda: plain.step(model, x, rows, pixels)),
            f"careful {kind}": Variant(lambda: plain.careful_step(model, x, rows, pixels)),
            f"engine {kind}": Variant(lambda: engine.step(self.victim, x, pairs)),
        }


def halved(model: Any) -> Any:
    """The same model with weights in bfloat16; not the positions' frequencies, as the library loads it."""
    half = copy.deepcopy(model)
    for weight in half.parameters():
        weight.data = weight.data.to(torch.bfloat16)
    return half


def like_with_like(name: str, variants: Mapping[str, Variant]) -> dict[str, float]:
    """How much longer either loop takes than the engine, in each number format that was run."""
    found: dict[str, float] = {}
    for kind in FORMATS:
        if f"engine {kind}" in variants:
            fast = variants[f"engine {kind}"].spent
            official = Ratio.of(variants[f"official {kind}"].spent, fast)
            careful = Ratio.of(variants[f"careful {kind}"].spent, fast)
            found |= found_of(f"{name}_{kind}", official) | found_of(f"{name}_{kind}_careful", careful)
    return found


def table(title: str, variants: Mapping[str, Variant]) -> str:
    """Times, ratios within a number format, and what the gradient became, variant by variant."""
    base = variants["official fp32"]
    lines = [f"{title:34}{'CPU s':>8}{'/ engine':>10}{'spread':>8}{'error':>9}{'signs':>10}"]
    for label, one in variants.items():
        kind = next(kind for kind in FORMATS if kind in label)
        ratio = Ratio.of(one.spent, variants[f"engine {kind}"].spent)
        lines.append(
            f"  {label:32}{statistics.median(one.spent):8.3f}{ratio.median:10.2f}{ratio.spread:8.0%}"
            f"{one.error(base.grad):9.1e}{one.signs(base.grad):10.4%}"
        )
    return "\n".join(lines)


def figures(shape: Shape, *, quick: bool) -> tuple[dict[str, Any], str]:
    """W2, W3, W9 and W11 of specs/performance.md, and a table of what was timed.

    A quick run leaves bfloat16 out.
    """
    x, model = shape.picture(), shape.model()
    sides = {"fp32": Sides(victim=shape.victim(model), x=x)}
    opened = shape.victim(copy.deepcopy(model), quick=True)
    if not quick:
        sides["bf16"] = Sides(victim=shape.victim(halved(model)), x=x)
    found: dict[str, Any] = {}
    tables, fast = list[str](), dict[str, Variant]()
    for name, lengths in (("qi", LENGTHS), ("one_target", LENGTHS[2:3])):
        pairs = [shape.pair(number, tokens=tokens) for number, tokens in enumerate(lengths)]
        fast = {}
        for kind, side in sides.items():
            fast |= side.variants(kind, pairs, tokens_of(shape, pairs))
        with torch.no_grad():
            opened.rows(x, pairs)
        fast["engine fp32, as opened"] = Variant(lambda pairs=pairs: engine.step(opened, x, pairs))
        in_turns(fast, 2 if quick else 5)
        found |= like_with_like(name, fast)
        found |= found_of(
            f"{name}_opened", Ratio.of(fast["engine fp32"].spent, fast["engine fp32, as opened"].spent)
        )
        tables.append(table(f"{shape.name}, targets: {len(lengths)}", fast))
        found |= _fidelity(name, fast)
    return found, "\n".join(tables)


def _fidelity(name: str, variants: Mapping[str, Variant]) -> dict[str, float]:
    """What the engine's gradient is against the official loop's in float32."""
    wanted, found = variants["official fp32"].grad, dict[str, float]()
    for label, figure in (("engine fp32", ""), ("engine bf16", "_bf16"), ("official bf16", "_bf16_official")):
        if label in variants:
            found[f"{name}{figure}_grad_rel_err"] = variants[label].error(wanted)
            found[f"{name}{figure}_sign_agreement"] = variants[label].signs(wanted)
    return found
