"""What all encoders share: frozen weights, preprocessing in the graph, and what most of them lack."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from sightline.errors import UsageError
from sightline.targets.local.processors import Fields
from sightline.whitebox.model import ToFields
from sightline.whitebox.preprocessing.processor import Preprocess
from sightline.whitebox.victim import Kind


class FrozenEncoder:
    """A frozen model that looks at pictures.

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
