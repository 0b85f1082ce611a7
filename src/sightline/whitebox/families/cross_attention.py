"""Idefics-1 and Mllama: the language model looks at the picture by cross-attention.

No feature is in the sequence; each token has a mask of what it sees of the picture, and the tokens of
an answer see what the prompt's last token does, as in `generate`. Mllama's cross-attention caches the
picture's keys and values; Idefics needs its features in every pass, without picture one that nothing sees.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sightline.targets.local.processors import Fields
from sightline.whitebox.families.base import Family, ForwardInputs
from sightline.whitebox.prompts import PromptTokens


class _CrossAttention(Family):
    """See `Family`; an encoded picture is what the library's model takes in place of pixels."""

    picture_id = None
    mask_name: str

    def __init__(self, model: Any) -> None:
        self.model = model

    def picture_mask(self, prompt: PromptTokens, length: int) -> Tensor | None:
        """What each token sees of the picture, (length, pictures, ...); None for a prompt without one."""
        if self.mask_name not in prompt.fields:
            return None
        seen: Tensor = prompt.fields[self.mask_name][0]
        return torch.cat([seen, seen[-1:].expand(length - len(seen), *seen.shape[1:])])

    def forward(self, inputs: ForwardInputs) -> Tensor:
        """See `Family.forward`."""
        given, mask = self._pictures(inputs), inputs.picture_mask
        if mask is not None:
            mask = self._mask(mask.expand(len(inputs.embeds), *mask.shape), inputs)
            given = given | {self.mask_name: mask}
        return self.decoded(self.model, inputs, **given)

    def _pictures(self, inputs: ForwardInputs) -> Fields:
        return inputs.picture or {}

    def _mask(self, seen: Tensor, inputs: ForwardInputs) -> Tensor:  # noqa: ARG002
        return seen


class Idefics(_CrossAttention):
    """Idefics-1."""

    mask_name = "image_attention_mask"

    def encode(self, pixels: Fields, count: int) -> Fields:
        """What the vision tower sees."""
        tower = self.model.base_model.vision_model
        seen = tower(pixel_values=pixels["pixel_values"].flatten(0, 1)).last_hidden_state
        return {"image_encoder_embeddings": seen.unflatten(0, (count, -1))}

    def kept(self, encoded: Fields) -> Fields:
        """See `Family.kept`."""
        return encoded

    def _pictures(self, inputs: ForwardInputs) -> Fields:
        """The picture; without one, a feature of zeros, which nothing attends to."""
        name, model = "image_encoder_embeddings", self.model
        if inputs.picture is None:
            width = int(model.config.vision_config.embed_dim)
            seen = torch.zeros(1, 1, 1, width, dtype=model.dtype, device=model.device)
        else:
            seen = inputs.picture[name]
        return {name: seen.expand(len(inputs.embeds), *seen.shape[1:])}


class Mllama(_CrossAttention):
    """Llama 3.2 Vision."""

    mask_name = "cross_attention_mask"

    def encode(self, pixels: Fields, count: int) -> Fields:  # noqa: ARG002
        """What the vision tower sees, projected."""
        tower = self.model.base_model
        seen = tower.multi_modal_projector(tower.vision_model(**pixels).last_hidden_state)
        return {"cross_attention_states": seen.reshape(-1, *seen.shape[-2:])}

    def _mask(self, seen: Tensor, inputs: ForwardInputs) -> Tensor:
        """The library cuts what was run before off a longer mask."""
        if not inputs.cached:
            return seen
        before = seen.new_zeros(len(seen), inputs.cached, *seen.shape[2:])
        return torch.cat([before, seen], dim=1)
