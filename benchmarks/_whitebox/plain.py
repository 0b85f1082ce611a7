"""The same steps by loops written by hand: as the official code computes them, and with more care.

Official: each target (or prompt, or prefix) is a sequence of its own, padded on the right, all of a step in
one batch; the picture is repeated for each; logits are taken at all positions; the loss comes from `labels`;
`.backward()` does the rest. Left out is what those loops do beside the computation: plotting, printing,
sampling answers, reading losses back. Careful: the same batch, but the picture is encoded once and logits are
taken at the target tokens only; what somebody writes who minds the cost and keeps to the library's calls.
Both run in the model's number format; the official code of Qi et al. has float16 on its GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from _whitebox.shapes import PAD

Tokens = tuple[list[int], list[int]]
"""Prompt and target as token ids."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
IGNORED = -100


Pixels = Callable[[Tensor], Tensor]
"""Pictures in [0, 1] -> what the vision tower reads."""


def normalized(x: Tensor) -> Tensor:
    """CLIP's normalization of pictures in [0, 1]."""
    mean, deviation = (torch.tensor(c, device=x.device)[:, None, None] for c in (MEAN, DEVIATION))
    return (x - mean) / deviation


def padded(rows: Sequence[Tokens], device: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, attention mask and labels of sequences padded on the right."""
    longest = max(len(prompt) + len(target) for prompt, target in rows)
    ids, seen, labels = [], [], []
    for prompt, target in rows:
        gap = longest - len(prompt) - len(target)
        ids.append(prompt + target + [PAD] * gap)
        seen.append([1] * (longest - gap) + [0] * gap)
        labels.append([IGNORED] * len(prompt) + target + [IGNORED] * gap)
    found = (torch.tensor(values) for values in (ids, seen, labels))
    return tuple(values.to(device) for values in found)  # type: ignore[return-value]


def with_pictures(model: Any, ids: Tensor, pixels: Tensor, first: int, shown: int = 1) -> Tensor:
    """Embeddings of token rows, with each one's picture from place `first` on, shown in `shown` rows each."""
    embeds = model.get_input_embeddings()(ids)
    features = torch.stack(list(model.get_image_features(pixels, return_dict=True).pooler_output))
    features = features.repeat_interleave(shown, 0) if shown > 1 else features
    return torch.cat([embeds[:, :first], features, embeds[:, first + features.shape[1] :]], dim=1)


def step(
    model: Any, x: Tensor, rows: Sequence[Tokens], pixels_of: Pixels = normalized
) -> tuple[Tensor, Tensor]:
    """Loss and gradient of one batch: as in Qi et al.'s attackers, one row per target."""
    leaf = x.detach().clone().requires_grad_(True)
    ids, seen, labels = padded(rows, x.device)
    pixels = pixels_of(leaf.repeat(len(rows), 1, 1, 1)).to(model.dtype)
    embeds = with_pictures(model, ids, pixels, rows[0][0].index(model.config.image_token_id))
    loss = model(inputs_embeds=embeds, attention_mask=seen, labels=labels, use_cache=False).loss
    loss.backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


def careful_step(
    model: Any, x: Tensor, rows: Sequence[Tokens], pixels_of: Pixels = normalized
) -> tuple[Tensor, Tensor]:
    """The same loss and gradient, the picture encoded once and logits taken at target tokens only."""
    leaf = x.detach().clone().requires_grad_(True)
    ids, seen, labels = padded(rows, x.device)
    pixels, count = pixels_of(leaf).to(model.dtype), len(rows)
    embeds = with_pictures(model, ids, pixels, rows[0][0].index(model.config.image_token_id), count)
    hidden = model.base_model.language_model(
        inputs_embeds=embeds, attention_mask=seen, use_cache=False
    ).last_hidden_state
    told = places(rows)
    logits = model.lm_head(hidden[told[0], told[1]])
    loss = cross_entropy(logits.float(), labels[told[0], told[1] + 1])
    (grad,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), grad


def places(rows: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    """Row and place of the token before each target token, known before the step."""
    found = [
        (number, len(prompt) + place - 1)
        for number, (prompt, target) in enumerate(rows)
        for place in range(len(target))
    ]
    row, place = torch.tensor(found).T
    return row, place


def step_by_prompt(model: Any, x: Tensor, rows: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    """The mean over rows, one pass for each: as in CroPA's loop, which shows one prompt at a time."""
    found = [step(model, x, [row]) for row in rows]
    losses, grads = (torch.stack(values).mean(0) for values in zip(*found, strict=True))
    return losses, grads


def step_by_token(model: Any, x: Tensor, row: Tokens) -> tuple[Tensor, Tensor]:
    """One pass for every beginning of the target: as in Bagdasaryan et al.'s loop."""
    prompt, target = row
    found = [step(model, x, [(prompt, target[:count])]) for count in range(1, len(target) + 1)]
    losses, grads = (torch.stack(values).sum(0) for values in zip(*found, strict=True))
    return losses, grads
