"""A check before an attack runs: prompts have the same tokens for the loss and for generation.

Qi et al.'s MiniGPT-4 path, as released, has two <s> in one and one in the other. The loop makes sure of the
rest itself: that the loss depends on the picture and has a gradient (Tu et al.'s SIN, as released, has none).
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor

from sightline.errors import ContractError
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.victim import Pair

PROMPTS = 4


def check_tokens(victim: MultimodalVictim, x: Tensor, pairs: Sequence[Pair]) -> None:
    """Check that prompts have the tokens that generation reads when it is shown the file.

    Args:
        victim: the model.
        x: pictures as the attack starts, (n, 3, h, w) in [0, 1]; the first one is written and read.
        pairs: prompts and targets; at most four prompts are checked.

    Raises:
        ContractError: naming the first prompt that has others.
        UsageError: for a target that is no answer of the model.
    """
    height, width = int(x.shape[2]), int(x.shape[3])
    pixels = (x[0].detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    PilImage.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    for pair in list({pair.prompt: pair for pair in pairs}.values())[:PROMPTS]:
        ids, _ = victim.tokens(pair, (height, width))
        if victim.prompts.seen(pair.prompt, file.getvalue(), (height, width)) != ids:
            raise ContractError(
                f"{victim.id}: the loss and generation tokenize the prompt "
                f"{pair.prompt.last_user_text()[:80]!r} differently"
            )
