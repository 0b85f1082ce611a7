"""Frozen models: faster linear layers on AMD processors, and what all encoders share.

`targets/local/linear.py` explains why MKL is slow there, but serves inference only. White-box measures need
the gradient with respect to the picture, and never to a weight: ``d loss / d x = (d loss / d y) W``, one more
product with the weights repacked the other way round. Measured on an EPYC (Zen 5), one thread, the linear
family, forward and backward of a picture with its prompt: 18.5 ms become 10.3 ms at batch 8.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from sightline.errors import UsageError
from sightline.targets.local.linear import layers_of, worthwhile
from sightline.targets.local.processors import Fields
from sightline.whitebox import compute
from sightline.whitebox.preprocessing.processor import Preprocess, ToFields
from sightline.whitebox.victim import Kind


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

    Each then has its weights three times: as they are, and repacked for either direction.
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


class FrozenEncoder:
    """A frozen model that encodes pictures.

    Args:
        model: whose weights are frozen here.
        preprocess: its picture processor, in the graph.
        name: its identity.
    """

    def __init__(self, model: Any, preprocess: ToFields, name: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.id = name
        self._preprocess = preprocess
        weight = next(model.parameters())
        self.device: torch.device = weight.device
        self._dtype = weight.dtype

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Encoder.labels`: none."""
        return ()

    def texts(self, texts: Sequence[str]) -> Tensor:
        """See `Encoder.texts`.

        Raises:
            UsageError: always; a CLIP with its text tower has its own way.
        """
        raise UsageError(
            f"{self.id} has no text tower, so a picture cannot be compared with {texts[0]!r}: name a CLIP or "
            "SigLIP folder, encoder/FOLDER, or match the text as it looks when it is drawn"
        )

    def unnormalized(self) -> Self:
        """See `Encoder.unnormalized`."""
        if not isinstance(self._preprocess, Preprocess):
            raise UsageError(f"{self.id} is fed by its model: name the tower's own folder, encoder/FOLDER")
        other = copy.copy(self)
        other._preprocess = self._preprocess.unnormalized()
        other.id = f"{self.id}, pixels not normalized"
        return other

    def _fields(self, x: Tensor) -> Fields:
        """What the model takes, in its number format; never `x` itself: no FLOP counter follows a leaf."""
        return {
            key: value.to(self._dtype) if value.is_floating_point() else value
            for key, value in self._preprocess(x.view_as(x)).items()
        }

    def _lacks(self, kind: Kind, has: str) -> UsageError:
        return UsageError(f"{self.id} has no {kind} features: ask for {has}")
