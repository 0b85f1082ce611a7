"""Low-rank adapters (LoRA) of the backend `loop`: W x + (alpha / r) B A x, with A, B trained and W kept.

Hu et al., ICLR 2022, section 4.1. A is drawn as `nn.Linear` draws its weights, B is zero: the first step sees
the untrained model. On export the adapters are merged, so that what comes out is a plain model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sightline.tuning import Lora


class AdaptedLinear(nn.Module):
    """A linear layer with an adapter beside it.

    Args:
        plain: the layer, whose weights stay.
        lora: rank and scale.
        generator: of the first values of A.
    """

    def __init__(self, plain: nn.Linear, lora: Lora, generator: torch.Generator) -> None:
        super().__init__()
        self.plain = plain
        self.scale = lora.alpha / lora.rank
        self.a = nn.Parameter(first_values(lora.rank, plain.in_features, generator).to(plain.weight))
        self.b = nn.Parameter(plain.weight.new_zeros(plain.out_features, lora.rank))

    def forward(self, x: Tensor) -> Tensor:
        """Of (..., in) values, (..., out)."""
        found: Tensor = self.plain(x) + (x @ self.a.t() @ self.b.t()) * self.scale
        return found

    @property
    def difference(self) -> Tensor:
        """What the adapter adds to the layer's weights, (out, in)."""
        return (self.b @ self.a) * self.scale


def first_values(rank: int, width: int, generator: torch.Generator) -> Tensor:
    """Of A before the first step, (rank, width)."""
    found: Tensor = nn.init.kaiming_uniform_(torch.empty(rank, width), a=math.sqrt(5), generator=generator)
    return found


def attach(model: nn.Module, names: Sequence[str], lora: Lora, seed: int) -> None:
    """Put adapters beside the linear layers of these names."""
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        plain = model.get_submodule(name)
        assert isinstance(plain, nn.Linear)
        _put(model, name, AdaptedLinear(plain, lora, generator))


@contextmanager
def merged(model: Any) -> Iterator[Any]:
    """The model as a plain one, with its adapters in its weights; afterwards as it was, to the bit."""
    adapted = {name: each for name, each in model.named_modules() if isinstance(each, AdaptedLinear)}
    before = {name: each.plain.weight.detach().clone() for name, each in adapted.items()}
    try:
        with torch.no_grad():
            for name, each in adapted.items():
                each.plain.weight += each.difference
                _put(model, name, each.plain)
        yield model
    finally:
        with torch.no_grad():
            for name, each in adapted.items():
                each.plain.weight.copy_(before[name])
                _put(model, name, each)


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
