"""Visual-RolePlay's description, request and text, all typed, with no picture or beside a blank page.

Shows what the character does by its words: description and request are typed below each other, then the text,
which still speaks of a picture. Nothing stands for the portrait. The attacker is asked for the character as
the attack asks it: at temperature 0 it is the same one. Give it the settings of the attack that it stands
beside; pages and font decide no word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.typed_words import Picture, TypedTwin, attack_of
from sightline.attacks.typographic.visual_roleplay import VisualRoleplay
from sightline.cards import Presets
from sightline.cases import ThreatModel
from sightline.registry import attack

PRESETS: Presets = {
    "blank": {"picture": "blank"},
    "fixed": {"profile": "fixed"},
    "no_description": {"description": False},
    "no_portrait": {"portrait": False},
    "typed_question": {"question": "typed"},
}


@attack(
    "visual_roleplay_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="visual_roleplay",
    alike=(
        "profile",
        "description",
        "portrait",
        "question",
        "draws",
        "instruction",
        "max_words",
        "tries",
        "max_tokens",
        "temperature",
    ),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VisualRoleplayTyped(TypedTwin):
    """`picture`: what stands beside the typed words. The others are `visual_roleplay`'s own."""

    picture: Picture = "none"
    profile: Literal["role", "fixed"] = "role"
    description: bool = True
    portrait: bool = True
    question: Literal["drawn", "typed"] = "drawn"
    draws: Literal["request", "statement"] = "request"
    instruction: str = ""
    width_px: int = 1024
    layout: Literal["grow", "square"] = "grow"
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 60
    max_words: int = 40
    tries: int = 3
    max_tokens: int = 1024
    temperature: float = 0.0

    @property
    def attack(self) -> VisualRoleplay:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, VisualRoleplay)

    def resolved(self) -> Mapping[str, str]:
        """The font that decides the size of the blank page, as found on this machine."""
        return self.attack.resolved()
