"""One step of GCG behind a picture by two known algorithms: our own loops over the library's public calls.

A step is the gradient to the suffix's one-hot tokens and the losses of all candidates. `whole` runs every
candidate's whole sequence with logits at all positions, as the first implementation (llm-attacks) does;
`cached` holds the keys and values of everything before the suffix and takes logits at all positions behind
it, as nanoGCG does. The picture's features are constant in both and made outside of the step. What the two
do beside the computation (decoding and encoding every candidate, emptying caches) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot
from transformers.cache_utils import DynamicCache


@dataclass(frozen=True, slots=True)
class Suffixed:
    """Embeddings before the suffix (1, tokens, width); tokens of suffix, of what follows, of the target."""

    before: Tensor
    suffix: Tensor
    after: Tensor
    target: Tensor


def features(model: Any, pixels: Tensor) -> Tensor:
    """Of one picture, (features, width)."""
    with torch.no_grad():
        return torch.stack(list(model.get_image_features(pixels, return_dict=True).pooler_output))[0]


def prefix(model: Any, given: Suffixed) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of all that stands before the suffix, layer by layer."""
    with torch.no_grad():
        seen = torch.ones(given.before.shape[:2], dtype=torch.long, device=given.before.device)
        made = model(
            inputs_embeds=given.before, attention_mask=seen, past_key_values=DynamicCache(), use_cache=True
        )
    return [(layer.keys, layer.values) for layer in made.past_key_values.layers]


def losses(model: Any, given: Suffixed, embeds: Tensor, cache: DynamicCache | None) -> Tensor:
    """Of rows of embeddings that end with the target, (rows,)."""
    before = 0 if cache is None else cache.get_seq_length()
    seen = torch.ones(len(embeds), before + embeds.shape[1], dtype=torch.long, device=embeds.device)
    logits = model(
        inputs_embeds=embeds, attention_mask=seen, past_key_values=cache, use_cache=cache is not None
    ).logits
    count = len(given.target)
    aimed = given.target.expand(len(embeds), -1)
    return cross_entropy(logits[:, -count - 1 : -1].transpose(1, 2).float(), aimed, reduction="none").mean(1)


def whole(model: Any, given: Suffixed, fillings: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (suffix, vocabulary), and the losses of all fillings (candidates, suffix)."""
    table = model.get_input_embeddings()
    hot = one_hot(given.suffix, table.weight.shape[0]).to(table.weight.dtype).requires_grad_(True)
    told = table(torch.cat([given.after, given.target]))
    loss = losses(model, given, torch.cat([given.before[0], hot @ table.weight, told])[None], None)
    (grad,) = torch.autograd.grad(loss.sum(), hot)
    with torch.no_grad():
        count = len(fillings)
        rows = [given.before.expand(count, -1, -1), table(fillings), told.expand(count, -1, -1)]
        return grad, losses(model, given, torch.cat(rows, dim=1), None)


def cached(
    model: Any, given: Suffixed, fillings: Tensor, layers: list[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """The same behind `prefix`."""
    table = model.get_input_embeddings()

    def cache(rows: int) -> DynamicCache:
        found = DynamicCache()
        for place, (keys, values) in enumerate(layers):
            found.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), place)
        return found

    hot = one_hot(given.suffix, table.weight.shape[0]).to(table.weight.dtype).requires_grad_(True)
    told = table(torch.cat([given.after, given.target]))
    loss = losses(model, given, torch.cat([hot @ table.weight, told])[None], cache(1))
    (grad,) = torch.autograd.grad(loss.sum(), hot)
    with torch.no_grad():
        count = len(fillings)
        rows = torch.cat([table(fillings), told.expand(count, -1, -1)], dim=1)
        return grad, losses(model, given, rows, cache(count))
