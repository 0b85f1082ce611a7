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

from sightline.attacks.typed_words import Picture, attack_of, typed_draft
from sightline.attacks.typographic.visual_roleplay import VisualRoleplay
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.records import Draft
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
class VisualRoleplayTyped(ConversingAttack):
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

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> VisualRoleplay:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, VisualRoleplay)

    @property
    def calls(self) -> Mapping[str, int]:
        """The attacker's tries for the words."""
        return {role: number for role, number in self.attack.calls.items() if role == "attacker"}

    def resolved(self) -> Mapping[str, str]:
        """The font that decides the size of the blank page, as found on this machine."""
        return self.attack.resolved()

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """Everything in the text; nothing in the picture."""
        words = await self.attack.words_of(case, ctx)
        return typed_draft(self.attack, case, words, self.picture)
