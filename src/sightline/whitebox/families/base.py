"""What the engine asks of a family of models: how pictures enter, and a forward pass, cached or not.

`Family` is the plain case: picture features are in the token sequence. Others override what differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sightline.targets.local.processors import Fields
from sightline.whitebox.prompts import PromptTokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForwardInputs:
    """One forward pass over nodes of a tree, after `cached` nodes whose keys and values are in `cache`.

    Attributes:
        embeds: (rows, nodes, width), with picture features in their places.
        mask: what is added to attention scores, (1, 1, nodes, cached + nodes); None for plain causal text.
        positions: (axes, nodes).
        picture_mask: (nodes, ...), what each node sees of the picture by cross-attention; else None.
        read: (t,), places whose predictions are wanted.
        picture: what `Family.encode` gives, or `Family.kept` of it after a cache; None if none is shown.
        cache: of the library; the pass appends to it. None keeps nothing.
        cached: nodes in the cache before the pass.
    """

    embeds: Tensor
    mask: Tensor | None
    positions: Tensor
    picture_mask: Tensor | None
    read: Tensor
    picture: Any
    cache: Any = None
    cached: int = 0


class Family(ABC):
    """Models whose picture features are in the token sequence and depend on the picture alone.

    Attributes:
        picture_id: the token that a picture feature replaces; None if there is no such token.
        reads_text: whether the picture's encoder reads the user's text too, so that this text cannot be
            attacked token by token.
    """

    picture_id: int | None
    reads_text = False

    def __init__(self, model: Any) -> None:
        self.model = model
        self.picture_id = int(model.config.image_token_id)

    def encoder_text(self, prompt: PromptTokens) -> Hashable:  # noqa: ARG002
        """What of a prompt the picture's encoder reads: prompts that agree share the picture's features."""
        return None

    def positions(self, prompt: PromptTokens, length: int) -> Tensor:  # noqa: ARG002
        """Positions of a prompt and what follows it, `length` tokens in all, int64 (axes, length)."""
        return torch.arange(length)[None]

    def picture_mask(self, prompt: PromptTokens, length: int) -> Tensor | None:  # noqa: ARG002
        """What each token sees of the picture by cross-attention, (length, ...); None without."""
        return None

    @abstractmethod
    def encode(self, pixels: Fields, count: int) -> Any:
        """What `count` pictures are to the model whatever the prompts; run once for all packs of a pass.

        Args:
            pixels: what the processor makes of the pictures, in the model's number format.
            count: of pictures.
        """

    def features(self, encoded: Any, readings: Sequence[Fields]) -> Tensor:  # noqa: ARG002
        """What the language model reads in place of picture tokens, (n, features, width).

        Args:
            encoded: n pictures, as `encode` gives them.
            readings: fields of the prompts whose picture is encoded differently.
        """
        found: Tensor = encoded
        return found

    def kept(self, encoded: Any) -> Any:  # noqa: ARG002
        """What of one encoded picture a pass after cached tokens still needs."""
        return None

    def forward(self, inputs: ForwardInputs) -> Tensor:
        """Predictions at `inputs.read`, (rows, t, vocabulary)."""
        return self.decoded(self.model, inputs)

    def decoded(self, module: Any, inputs: ForwardInputs, **pictures: Any) -> Tensor:
        """The same by a module of the model."""
        positions = inputs.positions[:, None].expand(-1, len(inputs.embeds), -1)
        found: Tensor = module(
            inputs_embeds=inputs.embeds,
            attention_mask=inputs.mask,
            position_ids=positions[0] if len(positions) == 1 else positions,
            past_key_values=inputs.cache,
            logits_to_keep=inputs.read,
            use_cache=inputs.cache is not None,
            **pictures,
        ).logits
        return found
