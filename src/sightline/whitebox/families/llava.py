"""LLaVA, LLaVA-NeXT, Idefics2, Idefics3 and SmolVLM: a projected vision tower's features in the sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from sightline.targets.local.processors import Fields
from sightline.whitebox.families.base import Family

#: added to pixels where the library takes a picture of nothing but zeros (mid-gray, here) for padding
_NOT_ZERO = 1e-12


class Llava(Family):
    """See `Family`; features come from the model's own `get_image_features`."""

    def encode(self, pixels: Fields, count: int) -> Tensor:
        """What the language model reads in place of the picture's tokens, (count, features, width)."""
        made = self.model.base_model.get_image_features(**pixels, return_dict=True).pooler_output
        joined: Tensor = made if isinstance(made, Tensor) else torch.cat(list(made))
        return joined.reshape(count, -1, joined.shape[-1])


class Padded(Llava):
    """Idefics2, Idefics3 and SmolVLM."""

    def encode(self, pixels: Fields, count: int) -> Tensor:
        """See `Llava.encode`."""
        return super().encode(pixels | {"pixel_values": pixels["pixel_values"] + _NOT_ZERO}, count)
