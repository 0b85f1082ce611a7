"""Keys and values of the text before the picture: no pixel changes them, so they are computed once.

The system text of a chat model is a tenth of a short prompt. The library's cache grows in place, so every
pass gets a fresh one around the same tensors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

#: beginnings that are remembered
LIMIT = 16

Layers = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (1, heads, tokens, size)."""


class ConstantText:
    """Remembers a model's keys and values of beginnings, by their tokens."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._remembered = lru_cache(maxsize=LIMIT)(self._layers)

    def cache(self, ids: tuple[int, ...], count: int) -> DynamicCache:
        """A cache of `count` rows that begins with the tokens `ids`; a pass may write into it."""
        found = DynamicCache()
        for place, (keys, values) in enumerate(self._remembered(ids)):
            found.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), place)
        return found

    def _layers(self, ids: tuple[int, ...]) -> Layers:
        with torch.inference_mode(False), torch.no_grad():  # held: a later pass may want a gradient
            tokens = torch.tensor([ids], device=self._model.device)
            embeds = self._model.get_input_embeddings()(tokens)
            made = self._model(
                inputs_embeds=embeds,
                position_ids=torch.arange(len(ids), device=tokens.device)[None],
                past_key_values=DynamicCache(),
                use_cache=True,
                logits_to_keep=1,
            ).past_key_values
        return [(layer.keys, layer.values) for layer in made.layers]
