"""CS-DJ's three questions and its sentence, all of it typed, without a picture or beside a white one.

Shows what splitting the request does by itself. With `split=attacker` the helper is asked as the attack asks
it; a helper that samples may write other questions for the control.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightline.attacks.typed_words import Picture, TypedTwin, attack_of
from sightline.attacks.typographic.cs_dj import CSDJ, Split
from sightline.cards import Presets
from sightline.cases import ThreatModel
from sightline.registry import attack

PRESETS: Presets = {"blank": {"picture": "blank"}, "rule": {"split": "rule"}}


@attack(
    "cs_dj_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="cs_dj",
    alike=("split", "distractions", "instruction"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CSDJTyped(TypedTwin):
    """`picture`: what stands beside the typed words. The others are CS-DJ's own."""

    picture: Picture = "none"
    split: Split = "attacker"
    distractions: int = 9
    tile_px: int = 500
    number_px: int = 20
    instruction: str = ""

    @property
    def attack(self) -> CSDJ:
        """The attack of these words; which pictures stand in its grid does not matter.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, CSDJ)
