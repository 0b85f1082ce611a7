"""Families whose picture features stand in the sequence, whatever the prompt.

LLaVA, LLaVA-NeXT, Idefics2, Idefics3 and SmolVLM by `Linear`; Qwen2-VL and Qwen2.5-VL, whose positions count
time, height and width of a picture, by `Qwen`. Features come from the model's own `get_image_features`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from sightline.targets.local.processors import Fields
from sightline.whitebox.families._constant import ConstantText
from sightline.whitebox.families._packed import Packed
from sightline.whitebox.prompts import Asked

#: added to pixels where the library takes a picture of nothing but zeros (mid-gray, here) for padding
_NOT_ZERO = 1e-12
_PADDED = frozenset({"idefics2", "idefics3", "smolvlm"})


class Linear:
    """See `families.Family`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.picture_id = int(model.config.image_token_id)
        self._constant = ConstantText(model)
        self._padded = str(model.config.model_type) in _PADDED

    def reading(self, asked: Asked) -> Hashable:  # noqa: ARG002
        """The picture is encoded without looking at the prompt."""
        return None

    def positions(self, asked: Asked, length: int) -> Tensor:  # noqa: ARG002
        """Places, (1, length)."""
        return torch.arange(length)[None]

    def looks(self, asked: Asked, length: int) -> Tensor | None:  # noqa: ARG002
        """No cross-attention."""
        return None

    def logits(self, encoded: Tensor, packed: Packed, embeds: Tensor) -> Tensor:
        """See `families.Family.logits`."""
        embeds = packed.spliced(embeds, encoded)
        start = len(packed.constant)
        positions = packed.positions[:, None, start:].expand(-1, len(embeds), -1)
        found: Tensor = self.model(
            inputs_embeds=embeds[:, start:],
            attention_mask=packed.mask(embeds.dtype)[:, :, start:],
            position_ids=positions[0] if len(positions) == 1 else positions,
            past_key_values=self._constant.cache(packed.constant, len(embeds)) if start else None,
            logits_to_keep=packed.read - start,
            use_cache=False,
        ).logits
        return found

    def encoded(self, pixels: Fields, count: int) -> Tensor:
        """What the language model reads in place of the picture's tokens, (count, features, width)."""
        if self._padded:
            pixels = pixels | {"pixel_values": pixels["pixel_values"] + _NOT_ZERO}
        made = self.model.base_model.get_image_features(**pixels, return_dict=True).pooler_output
        joined: Tensor = made if isinstance(made, Tensor) else torch.cat(list(made))
        return joined.reshape(count, -1, joined.shape[-1])


class Qwen(Linear):
    """Qwen2-VL and Qwen2.5-VL."""

    def positions(self, asked: Asked, length: int) -> Tensor:
        """Time, height and width, (3, length); text counts on from the largest before it."""
        ids = torch.tensor([asked.ids])
        fields = {key: asked.fields[key] for key in ("mm_token_type_ids", "image_grid_thw")}
        prompt = self.model.base_model.get_rope_index(input_ids=ids, **fields)[0][:, 0]
        further = torch.arange(length - prompt.shape[1]) + prompt.max() + 1
        found: Tensor = torch.cat([prompt, further.expand(3, -1)], dim=1)
        return found
