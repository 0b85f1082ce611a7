"""Costs and splits of passes: FLOPs, micro-batches that fit into memory, packs; and random streams."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import (
    FlopCounterMode,
    flop_registry,
    register_flop_formula,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from sightline.errors import UsageError
from sightline.rng import numpy_rng, seed_of

if TYPE_CHECKING:
    from sightline.whitebox.packing import PackedPrompts


Shape = Sequence[int]


def _product(x: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    """Of x (..., in) and a weight (out, in)."""
    return 2 * prod(x) * weight[0]


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    found: int = sdpa_flop_count(query, key, value)
    return found


def _attention_backward(grad: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    found: int = sdpa_backward_flop_count(grad, query, key, value)
    return found


_FORMULAS: dict[tuple[str, str], Callable[..., int]] = {
    ("mkldnn", "_linear_pointwise"): _product,
    ("aten", "_scaled_dot_product_flash_attention_for_cpu"): _attention,
    ("aten", "_scaled_dot_product_flash_attention_for_cpu_backward"): _attention_backward,
}


def counter() -> Any:
    """PyTorch's counter of FLOPs, a context, which then knows the operations of `register` too."""
    register()
    return FlopCounterMode(display=False)


def flops_of(work: Callable[[], Any]) -> float:
    """The FLOPs of a call."""
    with counter() as counted:
        work()
    return float(counted.get_total_flops())


def register() -> None:
    """Teach every counter of this process oneDNN's products and attention on a processor; again is harmless.

    PyTorch's counter passes over them: a model that `frozen.quicken` has changed would seem to cost next to
    nothing, and a budget of FLOPs would mean something else on every machine.
    """
    for (space, name), formula in _FORMULAS.items():
        operator = getattr(getattr(torch.ops, space), name, None)
        if operator is not None and operator not in flop_registry:
            register_flop_formula(operator)(formula)


Terms = tuple[float, ...]

#: relative error up to which a form counts as fitting
_EXACT = 1e-9
#: counted shapes beyond the number of terms
_SPARE = 2


class FlopEstimator:
    """FLOPs of passes whose shapes change from step to step: counted for the first few, then computed.

    What a pass of a transformer costs is linear in a few terms (1, tokens, tokens times what they attend to,
    rows of logits). Once more shapes were counted than there are terms, and a linear form fits all of them, a
    further shape that these span is computed by it; running PyTorch's counter costs more than a small model's
    pass.
    """

    def __init__(self) -> None:
        self._counted: dict[Hashable, dict[Terms, float]] = {}
        self._loose: set[Hashable] = set()

    def estimate(self, kind: Hashable, terms: Terms) -> float | None:
        """The FLOPs of a pass; None if it has to be counted."""
        counted = self._counted.get(kind, {})
        if terms in counted:
            return counted[terms]
        if kind in self._loose or len(counted) < len(terms) + _SPARE:
            return None
        rows, flops = np.array(list(counted)), np.array(list(counted.values()))
        scale = np.abs(rows).max(0)
        scale[scale == 0] = 1
        form, _, rank, _ = np.linalg.lstsq(rows / scale, flops, rcond=1e-10)
        if np.abs(rows / scale @ form - flops).max() > _EXACT * flops.max():
            self._loose.add(kind)
            return None
        asked = np.array(terms) / scale
        if np.linalg.matrix_rank(np.vstack([rows / scale, asked]), tol=1e-7) > rank:
            return None
        return float(round(float(asked @ form)))

    def record(self, kind: Hashable, terms: Terms, flops: float) -> None:
        """Record what a pass was counted to cost."""
        self._counted.setdefault(kind, {})[terms] = flops


class MicroBatches:
    """How many items run at a time; halved, for good, where memory does not suffice.

    Attributes:
        sizes: by kind of item; what is missing is not limited.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.sizes: dict[str, int] = {}
        self._say = say

    def size(self, kind: str, items: int) -> int:
        """How many of so many items run at a time."""
        return min(items, self.sizes.get(kind, items))

    def halve(self, full: str, cure: str, **running: int) -> None:
        """Halve the first kind of which more than one item ran; call outside of `except`.

        Raises:
            UsageError: if one item of each kind ran.
        """
        kind = next((kind for kind, count in running.items() if count > 1), None)
        if kind is None:
            raise UsageError(
                f"one {next(iter(running)).removesuffix('s')} alone does not fit into memory: take a smaller "
                f"model or number format, or {cure} ({full})"
            )
        self.sizes[kind] = ceil(running[kind] / 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._say(f"out of memory with {running[kind]} {kind} at a time: going on with {self.sizes[kind]}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RngStream:
    """Random numbers of n artifacts at one place of a search; the same in the same order every time.

    There is no running state: artifact and place determine the numbers. So a batch equals serial searches, a
    search that was interrupted goes on as if it had not been, and a step can be tried again.

    Attributes:
        seed: of the run.
        keys: one per artifact; equal keys draw equal numbers.
        place: where in the run, such as (step, call).
        device: on which tensors are drawn (another device has other numbers).
    """

    seed: int
    keys: tuple[int, ...]
    place: tuple[int, ...] = ()
    device: Any = "cpu"
    _made: dict[int, Any] = field(default_factory=dict)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform in [0, 1), float32 (n, *shape)."""
        return torch.stack([torch.rand(*shape, generator=g, device=self.device) for g in self._generators()])

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal, float32 (n, *shape)."""
        return torch.stack([torch.randn(*shape, generator=g, device=self.device) for g in self._generators()])

    def places(self, tops: int, lefts: int, count: int) -> list[list[tuple[int, int]]]:
        """For each artifact `count` places (top, left), uniform below `tops` and `lefts`; on the host."""
        drawn = []
        for key in self.keys:
            rng = numpy_rng("places", self.seed, key, *self.place)
            pairs = zip(
                rng.integers(0, tops, count).tolist(), rng.integers(0, lefts, count).tolist(), strict=True
            )
            drawn.append(list(pairs))
        return drawn

    def take(self, index: Sequence[int]) -> RngStream:
        """The streams of some artifacts, from the beginning."""
        keys = tuple(self.keys[i] for i in index)
        return RngStream(seed=self.seed, keys=keys, place=self.place, device=self.device)

    def _generators(self) -> list[Any]:
        for number, key in enumerate(self.keys):
            if number not in self._made:
                fresh = torch.Generator(device=self.device)
                self._made[number] = fresh.manual_seed(seed_of("draws", self.seed, key, *self.place))
        return [self._made[number] for number in range(len(self.keys))]


#: operations, forward, that mask, softmax and moving scores are worth per head and pair of tokens; and those
#: that calling a layer is worth. Fitted to times of testbed/linear on one core
SCORE, CALL = 250.0, 2.5e8


@dataclass(frozen=True, slots=True)
class PassCost:
    """What a pass costs, in operations per layer of the language model.

    A pack of n tokens costs n times the products with the weights and n * n times what attention does for a
    pair of tokens. What prompts have in common is run once per pack, so few pairs belong together and many do
    not: on testbed/linear, where 70 tokens are common and a pair adds 17, 64 pairs in one pack take 1.3 times
    as long as in four, and 16 in one take less than in two (`benchmarks/whitebox.py`, figures `split_*`).

    Attributes:
        token: for each token.
        attention: for each pair of tokens.
    """

    token: float
    attention: float

    @classmethod
    def of(cls, model: Any) -> PassCost:
        """By the sizes of a model's language model; forward and backward."""
        config = model.config.get_text_config()
        width, heads = int(config.hidden_size), int(config.num_attention_heads)
        inner = int(getattr(config, "intermediate_size", 0) or getattr(config, "ffn_dim", 0) or 4 * width)
        return cls(4.0 * (4 * width * width + 3 * width * inner), 2.0 * (4 * width + SCORE * heads))

    def __call__(self, tokens: float) -> float:
        """Of one pack."""
        return CALL + tokens * self.token + tokens * tokens * self.attention


def packs(whole: PackedPrompts, pairs: int, cost: PassCost) -> int:
    """How many packs of equally many pairs cost least, given the pack of all."""
    own = len(whole.ids) - whole.common
    return min(range(1, pairs + 1), key=lambda count: count * cost(whole.common + own / count))
