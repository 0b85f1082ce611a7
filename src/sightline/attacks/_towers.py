"""What attacks on vision towers share: the towers that a study names, drawn words, features of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightline import whitebox
from sightline.attacks._surrogates import surrogates
from sightline.attacks.mm_typography import Typography
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.records import Pixels

#: a page of the testbed: what its models have learned to read
TESTBED_FONT = "DejaVuSans.ttf"


def towers(ctx: Craft, attack: str) -> tuple[whitebox.Encoder, ...]:
    """The vision towers of the models that the study names for crafting.

    Raises:
        ContractError: if the stage gave none.
    """
    return tuple(surrogate.encoder() for surrogate in surrogates(ctx, attack))


def tower(ctx: Craft, attack: str) -> whitebox.Encoder:
    """The vision tower of the only model that the study names for crafting.

    Raises:
        UsageError: if it names several.
    """
    found = towers(ctx, attack)
    if len(found) > 1:
        raise UsageError(
            f"attack {attack!r} is crafted on one vision tower, not on {len(found)}: name one surrogate"
        )
    return found[0]


def text_features(encoder: whitebox.Encoder, texts: Sequence[str], attack: str) -> Any:
    """Features of texts in the space of the tower's `projected` features, float32 (texts, width).

    Raises:
        UsageError: for a tower without a text tower beside it, as those inside language models are.
    """
    read = getattr(encoder, "texts", None)
    if read is None:
        raise UsageError(
            f"attack {attack!r} compares a picture with a text, which needs a CLIP text tower, and "
            f"{encoder.id} has none: match the text as it looks when it is drawn"
        )
    return read(list(texts))


def page(text: str, size_px: int, font: str, font_px: int) -> Pixels:
    """A square page with the text in its middle, wrapped."""
    drawn, _ = Typography(width_px=size_px, font=font, font_px=font_px, layout="square").page(text)
    return drawn
