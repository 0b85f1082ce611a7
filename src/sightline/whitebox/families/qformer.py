"""BLIP-2 and InstructBLIP: the learned queries of a Q-Former read the picture.

InstructBLIP's Q-Former also reads the instruction, so that only its vision tower is shared by prompts.
Encoder-decoder language models (Flan-T5) are not opened.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from sightline.errors import UsageError
from sightline.targets.local.processors import Fields
from sightline.whitebox.families.base import Family, ForwardInputs
from sightline.whitebox.prompts import PromptTokens


class QFormer(Family):
    """BLIP-2; see `Family`."""

    def __init__(self, model: Any) -> None:
        if not model.config.use_decoder_only_language_model:
            raise UsageError(
                f"{model.config.model_type} with an encoder-decoder for text cannot be attacked through "
                "its gradients: name one whose language model is a decoder, such as OPT or Vicuna"
            )
        super().__init__(model)

    def encode(self, pixels: Fields, count: int) -> Tensor:  # noqa: ARG002
        """What the language model reads in place of the picture's tokens, (count, queries, width)."""
        found: Tensor = self.model.get_image_features(**pixels, return_dict=True).pooler_output
        return found

    def forward(self, inputs: ForwardInputs) -> Tensor:
        """See `Family.forward`."""
        return self.decoded(self.model.language_model, inputs)


class InstructedQFormer(QFormer):
    """InstructBLIP."""

    reads_text = True

    def encoder_text(self, prompt: PromptTokens) -> Hashable:
        """The instruction in the Q-Former's own tokens."""
        return tuple(prompt.fields["qformer_input_ids"][0].tolist())

    def encode(self, pixels: Fields, count: int) -> Tensor:  # noqa: ARG002
        """What the vision tower sees, (count, patches, width)."""
        found: Tensor = self.model.vision_model(**pixels, return_dict=True).last_hidden_state
        return found

    def features(self, encoded: Tensor, readings: Sequence[Fields]) -> Tensor:
        """See `Family.features`; (n, instructions x queries, width), those of the first instruction first."""
        model, seen = self.model, encoded
        everywhere = torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device)
        queries = model.query_tokens.expand(len(seen), -1, -1)
        found = []
        for fields in readings:
            ids = fields["qformer_input_ids"].to(seen.device).expand(len(seen), -1)
            hidden = model.qformer(
                input_ids=ids,
                attention_mask=ids.new_ones(len(seen), queries.shape[1] + ids.shape[1]),
                query_embeds=queries,
                encoder_hidden_states=seen,
                encoder_attention_mask=everywhere,
                return_dict=True,
            ).last_hidden_state
            found.append(model.language_projection(hidden[:, : queries.shape[1]]))
        return torch.cat(found, dim=1)
