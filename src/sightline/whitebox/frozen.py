"""Frozen linear layers on AMD processors: oneDNN's products, with a gradient to the input.

`targets/local/linear.py` explains why MKL is slow there, but serves inference only. White-box measures need
the gradient with respect to the picture, and never to a weight: ``d loss / d x = (d loss / d y) W``, one more
product with the weights repacked the other way round. Measured on an EPYC (Zen 5), one thread, the linear
family, forward and backward of a picture with its prompt: 18.5 ms become 10.3 ms at batch 8.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sightline.targets.local.linear import layers_of, worthwhile
from sightline.whitebox import compute


class _Product(torch.autograd.Function):
    """``x W^T + b`` of a layer without gradients of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ahead: Tensor, back: Tensor, bias: Tensor | None) -> Tensor:
        ctx.back = back
        return _multiply(x, ahead, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _multiply(grad.contiguous(), ctx.back, None), None, None, None


def _multiply(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, packed, bias, "none", [], "")
    return found


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Freeze a model's weights for a while, and use the faster products where this machine has them.

    Afterwards every weight wants a gradient again that did before, and all layers compute as before.
    """
    wanted = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in wanted:
        weight.requires_grad_(False)
    layers = quicken(model)
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)
        for weight in wanted:
            weight.requires_grad_(True)


def quicken(model: nn.Module) -> list[nn.Module]:
    """Give a frozen model's linear layers the faster products, if this machine has them; returns the layers.

    Each then holds its weights three times: as they are, and repacked for either direction.
    """
    if not worthwhile():
        return []
    compute.register()
    layers = [layer for layer in layers_of(model) if "forward" not in vars(layer)]
    repack = torch.ops.mkldnn._reorder_linear_weight
    for layer in layers:
        ahead, back = (repack(w) for w in (layer.weight.detach(), layer.weight.detach().t().contiguous()))
        layer.forward = partial(_apply, ahead, back, layer.bias)
    return layers


def _apply(ahead: Tensor, back: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    found: Tensor = _Product.apply(x, ahead, back, bias)  # type: ignore[no-untyped-call]
    return found
