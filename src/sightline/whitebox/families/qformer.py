"""Families whose picture is read by the learned queries of a Q-Former: BLIP-2 and InstructBLIP.

InstructBLIP's Q-Former also reads the instruction, so that only its vision tower is shared by prompts.
Encoder-decoder language models (Flan-T5) are not opened.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from sightline.errors import UsageError
from sightline.targets.local.processors import Fields
from sightline.whitebox.families._packed import Packed
from sightline.whitebox.prompts import Asked


class Queries:
    """BLIP-2; see `families.Family`."""

    def __init__(self, model: Any) -> None:
        if not model.config.use_decoder_only_language_model:
            raise UsageError(
                f"{model.config.model_type} with an encoder-decoder for text cannot be attacked through "
                "its gradients: name one whose language model is a decoder, such as OPT or Vicuna"
            )
        self.model = model
        self.picture_id = int(model.config.image_token_id)

    def reading(self, asked: Asked) -> Hashable:  # noqa: ARG002
        """The picture is encoded without looking at the prompt."""
        return None

    def positions(self, asked: Asked, length: int) -> Tensor:  # noqa: ARG002
        """Places, (1, length)."""
        return torch.arange(length)[None]

    def looks(self, asked: Asked, length: int) -> Tensor | None:  # noqa: ARG002
        """No cross-attention in the language model."""
        return None

    def encoded(self, pixels: Fields, count: int) -> Tensor:  # noqa: ARG002
        """What the language model reads in place of the picture's tokens, (count, queries, width)."""
        found: Tensor = self.model.get_image_features(**pixels, return_dict=True).pooler_output
        return found

    def logits(self, encoded: Tensor, packed: Packed, embeds: Tensor) -> Tensor:
        """See `families.Family.logits`."""
        embeds = packed.spliced(embeds, self._features(encoded, packed))
        found: Tensor = self.model.language_model(
            inputs_embeds=embeds,
            attention_mask=packed.mask(embeds.dtype),
            position_ids=packed.positions.expand(len(embeds), -1),
            logits_to_keep=packed.read,
            use_cache=False,
        ).logits
        return found

    def _features(self, encoded: Tensor, packed: Packed) -> Tensor:  # noqa: ARG002
        """What a pack reads in place of the picture's tokens, (n, features, width)."""
        return encoded


class InstructedQueries(Queries):
    """InstructBLIP."""

    def reading(self, asked: Asked) -> Hashable:
        """The instruction in the Q-Former's own tokens."""
        return tuple(asked.fields["qformer_input_ids"][0].tolist())

    def encoded(self, pixels: Fields, count: int) -> Tensor:  # noqa: ARG002
        """What the vision tower sees, (count, patches, width)."""
        found: Tensor = self.model.vision_model(**pixels, return_dict=True).last_hidden_state
        return found

    def _features(self, encoded: Tensor, packed: Packed) -> Tensor:
        """As for BLIP-2, (n, instructions x queries, width): the queries of the first instruction first."""
        model, seen = self.model, encoded
        everywhere = torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device)
        queries = model.query_tokens.expand(len(seen), -1, -1)
        found = []
        for fields in packed.readings:
            ids = fields["qformer_input_ids"].to(seen.device).expand(len(seen), -1)
            heard = model.qformer(
                input_ids=ids,
                attention_mask=ids.new_ones(len(seen), queries.shape[1] + ids.shape[1]),
                query_embeds=queries,
                encoder_hidden_states=seen,
                encoder_attention_mask=everywhere,
                return_dict=True,
            ).last_hidden_state
            found.append(model.language_projection(heard[:, : queries.shape[1]]))
        return torch.cat(found, dim=1)
