"""HIMRD's drawn words and its prompts, all of it typed, without a picture or beside a white strip.

Shows what taking the request apart and searching for prompts do by themselves: the same search runs over
typed words. No picture is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.typed_words import Picture, Typed, attack_of, typed_draft
from sightline.attacks.typographic.himrd import HIMRD
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import IMAGE_SOURCE, ConversingAttack, Craft
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {
    "blank": {"picture": "blank"},
    "rule": {"split": "rule"},
    "one_prompt": {"split": "rule", "rounds": 0},
}


@attack(
    "himrd_typed",
    source="Sightline",
    threat=ThreatModel(oracle="undefended"),
    role="control",
    control_of="himrd",
    alike=("split", "rounds", "enough", "temperature", "instruction", "inducing"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class HIMRDTyped(ConversingAttack):
    """`picture`: what stands beside the typed words. The others are HIMRD's own."""

    picture: Picture = "none"
    split: Literal["attacker", "rule"] = "attacker"
    rounds: int = 5
    enough: float = 1.0
    temperature: float = 1.0
    width_px: int = 512
    strip_px: int = 100
    instruction: str = ""
    inducing: Literal["ours", "none"] = "ours"

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> HIMRD:
        """The attack of these words; what stands below the strip does not matter.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, HIMRD)

    @property
    def calls(self) -> Mapping[str, int]:
        """As the attack's, without a picture."""
        return {role: most for role, most in self.attack.calls.items() if role != IMAGE_SOURCE}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The prompt that got furthest, after the typed words."""
        split, note = await self.attack.split_of(case, ctx)

        def show(words: Typed) -> Draft:
            told = "; ".join(filter(None, (words.note, note)))
            noted = Typed(drawn=words.drawn, sentence=words.sentence, note=told)
            return typed_draft(self.attack, case, noted, self.picture)

        return await self.attack.searched(case, ctx, split, show)
