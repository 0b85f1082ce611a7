"""The keyword and the pointed text of HADES' first stage, typed, with no picture or beside a blank strip.

Shows what the wording of `hades` does by itself: the keyword is typed first and the text below it, which
still speaks of a picture. Where the attacker finds the keyword, it is asked as the attack asks it, at
temperature 0. Give it the settings of the attack that it stands beside; strip and picture decide no word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.attacks.typed_words import Picture, TypedTwin, attack_of
from sightline.attacks.typographic._pipeline import Extractor
from sightline.attacks.typographic.hades import Hades
from sightline.cards import Presets
from sightline.cases import ThreatModel
from sightline.registry import attack

PRESETS: Presets = {
    "blank": {"picture": "blank"},
    "release": {"extractor": "release"},
    "rule": {"extractor": "rule"},
}


@attack(
    "hades_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="hades",
    alike=("extractor", "instruction", "tries", "max_tokens"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class HadesTyped(TypedTwin):
    """`picture`: what stands beside the typed words. The others are `hades`'s own."""

    picture: Picture = "none"
    extractor: Extractor = "role"
    instruction: str = ""
    width_px: int = 1024
    height_px: int = 0
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 90
    tries: int = 3
    max_tokens: int = 1000

    @property
    def attack(self) -> Hades:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, Hades)

    @property
    def calls(self) -> Mapping[str, int]:
        """The attacker's tries for the keyword."""
        return {"attacker": self.tries} if self.extractor == "role" else {}

    def resolved(self) -> Mapping[str, str]:
        """The font that decides the size of the blank page, as found on this machine."""
        return self.attack.resolved()
