"""Qwen2-VL and Qwen2.5-VL: features in the sequence, positions that count time, height and width."""

from __future__ import annotations

import torch
from torch import Tensor

from sightline.whitebox.families.llava import Llava
from sightline.whitebox.prompts import PromptTokens


class Qwen(Llava):
    """See `Family`."""

    def positions(self, prompt: PromptTokens, length: int) -> Tensor:
        """Time, height and width, (3, length); text counts on from the largest before it."""
        ids = torch.tensor([prompt.ids])
        fields = {key: prompt.fields.get(key) for key in ("mm_token_type_ids", "image_grid_thw")}
        own = self.model.base_model.get_rope_index(input_ids=ids, **fields)[0][:, 0]
        further = torch.arange(length - own.shape[1]) + own.max() + 1
        found: Tensor = torch.cat([own, further.expand(3, -1)], dim=1)
        return found
