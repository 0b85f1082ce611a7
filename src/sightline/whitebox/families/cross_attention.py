"""Families whose language model looks at the picture by cross-attention: Idefics-1 and Mllama.

No feature stands in the sequence; each token has a mask of what it sees of the picture, and the tokens of
an answer see what the prompt's last token does, as in `generate`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from sightline.targets.local.processors import Fields
from sightline.whitebox.families._packed import Packed
from sightline.whitebox.prompts import Asked


class CrossAttention:
    """Idefics-1 and Mllama, which differ in the name of their mask; see `families.Family`."""

    picture_id = None

    def __init__(self, model: Any) -> None:
        self.model = model
        idefics = model.config.model_type == "idefics"
        self._mask = "image_attention_mask" if idefics else "cross_attention_mask"

    def reading(self, asked: Asked) -> Hashable:  # noqa: ARG002
        """The picture is encoded without looking at the prompt."""
        return None

    def positions(self, asked: Asked, length: int) -> Tensor:  # noqa: ARG002
        """Places, (1, length)."""
        return torch.arange(length)[None]

    def looks(self, asked: Asked, length: int) -> Tensor:
        """What each token sees of the picture, (length, pictures) or (length, pictures, tiles)."""
        seen: Tensor = asked.fields[self._mask][0]
        return torch.cat([seen, seen[-1:].expand(length - len(seen), *seen.shape[1:])])

    def encoded(self, pixels: Fields, count: int) -> Fields:
        """What the vision tower sees, as the library's model takes it in place of pixels."""
        tower = self.model.base_model
        if self._mask == "image_attention_mask":
            seen = tower.vision_model(pixel_values=pixels["pixel_values"].flatten(0, 1)).last_hidden_state
            return {"image_encoder_embeddings": seen.unflatten(0, (count, -1))}
        seen = tower.multi_modal_projector(tower.vision_model(**pixels).last_hidden_state)
        return {"cross_attention_states": seen.reshape(-1, *seen.shape[-2:])}

    def logits(self, encoded: Fields, packed: Packed, embeds: Tensor) -> Tensor:
        """See `families.Family.logits`."""
        assert packed.looks is not None
        found: Tensor = self.model(
            **encoded,
            inputs_embeds=embeds,
            attention_mask=packed.mask(embeds.dtype),
            position_ids=packed.positions.expand(len(embeds), -1),
            logits_to_keep=packed.read,
            use_cache=False,
            **{self._mask: packed.looks.expand(len(embeds), *packed.looks.shape)},
        ).logits
        return found
