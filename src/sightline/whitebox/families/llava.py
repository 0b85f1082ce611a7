"""LLaVA, LLaVA-NeXT, Idefics2, Idefics3 and SmolVLM: a projected vision tower's features in the sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sightline.targets.local.processors import Fields
from sightline.whitebox.families.base import Family

#: added to pixels where the library takes a picture of nothing but zeros (mid-gray, here) for padding
_NOT_ZERO = 1e-12
_PADDED = frozenset({"idefics2", "idefics3", "smolvlm"})


class Llava(Family):
    """See `Family`; features come from the model's own `get_image_features`."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._padded = str(model.config.model_type) in _PADDED

    def encode(self, pixels: Fields, count: int) -> Tensor:
        """What the language model reads in place of the picture's tokens, (count, features, width)."""
        if self._padded:
            pixels = pixels | {"pixel_values": pixels["pixel_values"] + _NOT_ZERO}
        made = self.model.base_model.get_image_features(**pixels, return_dict=True).pooler_output
        joined: Tensor = made if isinstance(made, Tensor) else torch.cat(list(made))
        return joined.reshape(count, -1, joined.shape[-1])
