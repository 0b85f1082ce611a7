"""Checks before an attack runs, each for a defect of published attack code.

A loss that does not depend on the picture (Tu et al., SIN, as released), a vision tower that ran without a
gradient, prompts that were tokenized differently for the loss and for generation (Qi et al., MiniGPT-4: two
<s> in one, one in the other), a target that no answer can be.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor

from sightline.errors import ContractError
from sightline.whitebox.mllm import MultimodalVictim
from sightline.whitebox.victim import Pair

Loss = Callable[[Tensor], Tensor]
"""Pictures (n, 3, h, w) -> a loss for each, (n,)."""

#: the change that has to show in the loss, in units of 1
NOISE = 8 / 255


def check(victim: MultimodalVictim, x: Tensor, pairs: Sequence[Pair]) -> None:
    """Check that the likelihood of targets can be attacked through these pictures.

    Args:
        victim: the model.
        x: pictures as the attack starts, (n, 3, h, w) in [0, 1].
        pairs: prompts and targets; a few will do.

    Raises:
        ContractError: if the loss does not depend on a picture, its gradient is zero or not finite, or tokens
            are not those of generation.
        UsageError: for a picture or a target that the model cannot take.
    """
    check_tokens(victim, x, pairs)
    check_gradient(lambda pictures: victim.rows(pictures, pairs).nll.mean(1), x, victim.id)


def check_gradient(loss: Loss, x: Tensor, name: str) -> None:
    """Check that a loss depends on every picture, with a gradient that can be followed.

    Args:
        loss: of each picture.
        x: pictures, (n, 3, h, w).
        name: of what is attacked, for messages.

    Raises:
        ContractError: naming the pictures for which it does not.
    """
    start = x.detach().clone().requires_grad_(True)
    values = loss(start)
    if values.shape != x.shape[:1]:
        raise ContractError(f"{name}: {len(x)} pictures need a loss each; the shape is {tuple(values.shape)}")
    if not values.requires_grad:
        raise ContractError(f"{name}: the loss has no gradient to the picture; something detached it")
    (slope,) = torch.autograd.grad(values.sum(), start)
    finite = slope.isfinite().flatten(1).all(1) & values.isfinite()
    moves = (slope != 0).flatten(1).any(1)
    draw = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x) * 2 - 1
    with torch.no_grad():
        changed = loss((x.detach() + NOISE * draw).clamp(0, 1)) != values
    for fine, problem in (
        (finite, "the loss or its gradient is not finite"),
        (moves, "the gradient with respect to the picture is zero"),
        (changed, "the loss does not change when noise is added to the picture"),
    ):
        if not bool(fine.all()):
            which = (~fine).nonzero()[:, 0].tolist()
            raise ContractError(f"{name}: {problem} (pictures {which} of {len(x)}): this attack cannot work")


def check_tokens(victim: MultimodalVictim, x: Tensor, pairs: Sequence[Pair]) -> None:
    """Check that prompts have the tokens that generation reads when it is shown the file.

    Raises:
        ContractError: naming the first prompt that has others.
        UsageError: for a target that is no answer of the model.
    """
    height, width = int(x.shape[2]), int(x.shape[3])
    pixels = (x[0].detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    PilImage.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    for pair in pairs:
        ids, _ = victim.tokens(pair, (height, width))
        if victim.prompts.seen(pair.prompt, file.getvalue(), (height, width)) != ids:
            raise ContractError(
                f"{victim.id}: the loss and generation tokenize the prompt "
                f"{pair.prompt.last_user_text()[:80]!r} differently"
            )
