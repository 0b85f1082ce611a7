"""How pictures enter a model: one adapter per way, by the configuration's `model_type`.

An adapter calls the model's own modules with the packed tokens, a 4-D mask and explicit positions. Which
families there are: `KNOWN`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

from torch import Tensor

from sightline.errors import UsageError
from sightline.targets.local.processors import Fields
from sightline.whitebox.families._packed import Packed
from sightline.whitebox.families.cross_attention import CrossAttention
from sightline.whitebox.families.llava import Linear, Qwen
from sightline.whitebox.families.qformer import InstructedQueries, Queries
from sightline.whitebox.prompts import Asked


class Family(Protocol):
    """A way in which pictures enter a model.

    `picture_id` is the token in whose place a picture feature stands, None if there is no such token.
    """

    picture_id: int | None

    def reading(self, asked: Asked) -> Hashable:
        """What of a prompt the picture's encoder reads: prompts that agree share the picture's features."""
        ...

    def positions(self, asked: Asked, length: int) -> Tensor:
        """Positions of a prompt and what follows it, `length` tokens in all, int64 (axes, length)."""
        ...

    def looks(self, asked: Asked, length: int) -> Tensor | None:
        """What each token sees of the picture by cross-attention, (length, ...)."""
        ...

    def encoded(self, pixels: Fields, count: int) -> Any:
        """What `count` pictures are to the model whatever the prompts, for `logits`: run once for all packs.

        Args:
            pixels: what the processor makes of the pictures, in the model's number format.
            count: of pictures.
        """
        ...

    def logits(self, encoded: Any, packed: Packed, embeds: Tensor) -> Tensor:
        """Predictions at the nodes `packed.read`, (n, t, vocabulary).

        Args:
            encoded: the n pictures, as `encoded` gives them.
            packed: the tokens.
            embeds: their embeddings, (n, nodes, width); those of picture tokens are to be replaced.
        """
        ...


KNOWN: Mapping[str, Any] = {
    "blip-2": Queries,
    "idefics": CrossAttention,
    "idefics2": Linear,
    "idefics3": Linear,
    "instructblip": InstructedQueries,
    "llava": Linear,
    "llava_next": Linear,
    "mllama": CrossAttention,
    "qwen2_5_vl": Qwen,
    "qwen2_vl": Qwen,
    "smolvlm": Linear,
}


def check_known(kind: str) -> None:
    """Check, before weights are loaded, that a `model_type` has an adapter.

    Raises:
        UsageError: if not, naming those that have.
    """
    if kind not in KNOWN:
        raise UsageError(
            f"{kind} models cannot be attacked through their gradients: there is an adapter for "
            f"{', '.join(sorted(KNOWN))}; use a black-box attack, or craft on one of these and transfer"
        )


def family_of(model: Any) -> Family:
    """The adapter of a loaded model.

    Raises:
        UsageError: if there is none, or only for other models of the family.
    """
    kind = str(model.config.model_type)
    check_known(kind)
    found: Family = KNOWN[kind](model)
    return found


__all__ = ["KNOWN", "Family", "Packed", "check_known", "family_of"]
