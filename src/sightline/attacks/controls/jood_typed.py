"""JOOD's phrase and its text, all of it typed, without a picture or beside a white one.

Shows what the text does by itself. The case's own picture, which the attack would mix, is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks.typed_words import Picture, attack_of, typed_drafts
from sightline.attacks.typographic.jood import JOOD, Mix
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {"blank": {"picture": "blank"}}


@attack(
    "jood_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="jood",
    alike=("mix", "instruction"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class JOODTyped(Attack):
    """`picture`: what stands beside the typed words. The others are JOOD's own."""

    picture: Picture = "none"
    mix: Mix = "mixup"
    side_px: int = 320
    instruction: str = ""

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> JOOD:
        """The attack of these words; what is mixed in does not matter.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, JOOD)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Everything in the text; nothing in the picture."""
        yield from typed_drafts(self.attack, cases, self.picture)
