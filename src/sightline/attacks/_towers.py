"""What attacks on vision towers share: the towers that a study names, and drawn words."""

from __future__ import annotations

from sightline import whitebox
from sightline.attacks.toolkit import only, surrogates
from sightline.attacks.typographic.mm_typography import MMTypography
from sightline.contracts import Craft
from sightline.records import Pixels

#: a page of the testbed: what its models have learned to read
TESTBED_FONT = "DejaVuSans.ttf"


def towers(ctx: Craft, attack: str) -> tuple[whitebox.Encoder, ...]:
    """The encoders that the study names for crafting, or the vision towers of the models that it names.

    Raises:
        ContractError: if the stage gave none.
    """
    return tuple(surrogate.encoder() for surrogate in surrogates(ctx, attack))


def tower(ctx: Craft, attack: str) -> whitebox.Encoder:
    """The only encoder that the study names for crafting, or the vision tower of the only model.

    Raises:
        UsageError: if it names several.
    """
    return only(towers(ctx, attack), attack, "vision tower")


def page(text: str, size_px: int, font: str, font_px: int) -> Pixels:
    """A square page with the text in its middle, wrapped."""
    drawn, _ = MMTypography(width_px=size_px, font=font, font_px=font_px, layout="square").page(text)
    return drawn
