"""Operations that PyTorch's FLOP counter passes over: oneDNN's products and attention on a processor.

Without their formulas a model that `frozen.quicken` has changed would seem to cost next to nothing, and a
budget of FLOPs would mean something else on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    flop_registry,
    register_flop_formula,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

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
    """PyTorch's counter of FLOPs, a context, which then knows these operations too."""
    register()
    return FlopCounterMode(display=False)


def register() -> None:
    """Tell every counter of this process about these operations; again is harmless."""
    for (space, name), formula in _FORMULAS.items():
        operator = getattr(getattr(torch.ops, space), name, None)
        if operator is not None and operator not in flop_registry:
            register_flop_formula(operator)(formula)
