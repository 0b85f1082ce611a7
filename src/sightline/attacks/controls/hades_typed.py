"""The keyword and the pointed text of HADES' first stage, typed, with no picture or beside a blank strip.

Shows what the wording of `hades` does by itself: the keyword is typed first and the text below it, which
still speaks of a picture. Where the attacker finds the keyword, it is asked as the attack asks it, at
temperature 0. Give it the settings of the attack that it stands beside; strip and picture decide no word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.attacks.typed_words import Picture, attack_of, typed_draft
from sightline.attacks.typographic._pipeline import Extractor
from sightline.attacks.typographic.hades import Hades
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.records import Draft
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
class HadesTyped(ConversingAttack):
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

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

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

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """Everything in the text; nothing in the picture."""
        words = await self.attack.words_of(case, ctx)
        return typed_draft(self.attack, case, words, self.picture)
