"""The three ways the survey names to fuse a picture into a language model, as genuine Hugging Face models.

`linear` projects every patch (LLaVA), `queries` asks the picture through a Q-Former (BLIP-2),
`cross_attention` reads it between the language model's layers (Idefics-1). All share one world, one
tokenizer, one kind of vision transformer and one kind of language model; each lives in one file, which says
what the stages of the build need to know about it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sightline.errors import UsageError, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel

NAMES = ("linear", "queries", "cross_attention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Width, depth and inner widths of vision transformer and language model; heads are 48 wide or less."""

    width: int = 192
    layers: int = 4
    heads: int = 4
    vision_ffn: int = 512
    text_ffn: int = 496


FULL = Size()


class Family(Protocol):
    """What the build, the card and the gradient checks need of an architecture.

    Attributes:
        name: `linear`, `queries` or `cross_attention`.
        size: of its parts.
    """

    name: str
    size: Size
    #: which auxiliary loss of visual tuning suits: on the projected patches, on the queries, or none
    aid: Literal["patches", "queries", "none"]

    def config(self) -> PretrainedConfig:
        """The configuration all variants share."""
        ...

    def new_model(self, seed: int) -> PreTrainedModel:
        """A model with random weights that follow from `seed`."""
        ...

    def processor(self) -> Any:
        """The family's processor: scales to 64 x 64, normalizes by fixed constants, applies the template."""
        ...

    def picture_tokens(self) -> list[int]:
        """The token ids that stand for one picture."""
        ...

    @property
    def picture_first(self) -> bool:
        """Whether they stand before everything else (BLIP-2) instead of at the start of the user's turn."""
        ...

    def parts(self, model: Any) -> Mapping[str, nn.Module]:
        """The modules of a model: `tower`, `bridge` (what fuses) and `language`.

        `language` is a `ModuleDict` of `embed_tokens`, `layers` and `norm` with the same parameter names in
        every family, so that one language model's weights fit all. `bridge` holds all other trained weights.
        """
        ...

    def features(self, model: Any, pixels: Tensor) -> Tensor:
        """The tower's features (n, 65, width) of normalized `float32` pixels (n, 3, 64, 64).

        Row 0 is the class token, rows 1 to 64 the patches in reading order; exactly what the genuine model
        hands to its bridge (LLaVA drops row 0 there).
        """
        ...

    def projected(self, model: Any, features: Tensor) -> Tensor:
        """What the language model gets to see of pictures with these features (m, 65, width).

        (m, 64, width) tokens of `linear`, (m, 32, width) tokens of `queries`; `cross_attention` looks at the
        features themselves.
        """
        ...

    def joined(self, model: Any, ids: Tensor, shown: Tensor | None) -> Tensor:
        """The language model's last hidden states (n, t, width), ready for the vocabulary.

        Args:
            model: of this family.
            ids: (n, t), padded on the right, which is invisible (causal); rows with a picture hold
                `picture_tokens`.
            shown: what `projected` returned for the rows that show a picture, in order; none if no row does.
        """
        ...


def hidden(arch: Family, model: Any, ids: Tensor, features: Tensor | None) -> Tensor:
    """Return what `Family.joined` does, from features (m, 65, width) of the pictures shown."""
    return arch.joined(model, ids, None if features is None else arch.projected(model, features))


def family(name: str, size: Size = FULL) -> Family:
    """Return a family by name.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in NAMES:
        raise UsageError(nearest(name, NAMES, "testbed family"))
    found: Family = importlib.import_module(f"sightline.testbed.families.{name}").make(size)
    return found
