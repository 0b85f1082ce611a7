"""The phrase and the question of MM-SafetyBench's pipeline, typed, with no picture or beside a blank page.

Shows what the wording of `query_relevant` does by itself: the phrase is typed first and the question below
it, which still speaks of an image. Where the attacker finds the words, it is asked as the attack asks it, at
temperature 0. Give it the settings of the attack that it stands beside; page and font decide no word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.typed_words import Picture, attack_of, typed_draft
from sightline.attacks.typographic._pipeline import Extractor
from sightline.attacks.typographic.query_relevant import Kind, QueryRelevant
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {
    "blank": {"picture": "blank"},
    "sd": {"kind": "sd"},
    "typo": {"kind": "typo"},
    "advice": {"question": "kept"},
    "release": {"extractor": "release"},
    "rule": {"extractor": "rule"},
}


@attack(
    "query_relevant_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="query_relevant",
    alike=("kind", "extractor", "question", "instruction", "tries", "max_tokens"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRelevantTyped(ConversingAttack):
    """`picture`: what stands beside the typed words. The others are `query_relevant`'s own."""

    picture: Picture = "none"
    kind: Kind = "sd_typo"
    extractor: Extractor = "role"
    question: Literal["changed", "kept"] = "changed"
    instruction: str = ""
    width_px: int = 1024
    layout: Literal["grow", "square"] = "grow"
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 90
    tries: int = 3
    max_tokens: int = 512

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> QueryRelevant:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, QueryRelevant)

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
