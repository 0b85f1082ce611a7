"""Matrix products on AMD processors: oneDNN in place of MKL, the same numbers in half the time.

PyTorch multiplies fp32 matrices on a CPU with MKL, which leaves AVX-512 unused on AMD's processors.
oneDNN, which PyTorch also carries, uses it: measured on an EPYC (Zen 5), one thread, 2432 x 192 x 496:
MKL 116, oneDNN 274 GFLOP/s. For inference only: weights are repacked once and have no gradient.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

#: repacked weights are a second copy; larger models are left as they are
MOST_BYTES = 2_000_000_000
#: with fewer rows the longer way to the operator costs more than it saves
FEWEST_ROWS = 12


@cache
def worthwhile() -> bool:
    """Whether this machine gains: an AMD processor, and a PyTorch whose two operators do as expected."""
    try:
        if "AuthenticAMD" not in Path("/proc/cpuinfo").read_text("ascii", "replace"):
            return False
        x, layer = torch.arange(48.0).reshape(1, 16, 3), torch.nn.Linear(3, 2).requires_grad_(False)
        product, packed = _packed(layer)
        found = product(x, packed, layer.bias, "none", [], "")
        return bool(torch.allclose(found, layer(x), rtol=1e-4, atol=1e-4))
    except (OSError, AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False


def _packed(layer: Any) -> tuple[Any, Any]:
    """The product, and a layer's weights in the order that it wants."""
    product = torch.ops.mkldnn._linear_pointwise.default
    return product, torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())


def layers_of(model: Any) -> list[Any]:
    """The layers that oneDNN can take over: plain linear ones in fp32 on the CPU."""
    return [
        module
        for module in model.modules()
        if type(module) is torch.nn.Linear
        and module.weight.dtype is torch.float32
        and module.weight.device.type == "cpu"
    ]


def repack(model: Any) -> int:
    """Let all fp32 linear layers of a frozen model on the CPU use oneDNN; returns how many do."""
    layers = layers_of(model)
    if sum(layer.weight.nbytes for layer in layers) > MOST_BYTES:
        return 0
    for layer in layers:
        layer.forward = partial(_linear, *_packed(layer), layer.weight, layer.bias)
    return len(layers)


def _linear(product: Any, packed: Any, weight: Any, bias: Any, x: Any) -> Any:
    if x.numel() < FEWEST_ROWS * x.shape[-1]:
        return torch.nn.functional.linear(x, weight, bias)
    return product(x, packed, bias, "none", [], "")
