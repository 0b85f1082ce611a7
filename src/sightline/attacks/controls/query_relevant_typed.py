"""The phrase and the question of MM-SafetyBench's pipeline, typed, with no picture or beside a blank page.

Shows what the wording of `query_relevant` does by itself: the phrase is typed first and the question below
it, which still speaks of an image. Where the attacker finds the words, it is asked as the attack asks it, at
temperature 0. Give it the settings of the attack that it stands beside; page and font decide no word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.typed_words import Picture, TypedTwin, attack_of
from sightline.attacks.typographic._pipeline import Extractor
from sightline.attacks.typographic.query_relevant import Kind, QueryRelevant
from sightline.cards import Presets
from sightline.cases import ThreatModel
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
class QueryRelevantTyped(TypedTwin):
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

    @property
    def attack(self) -> QueryRelevant:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, QueryRelevant)

    def resolved(self) -> Mapping[str, str]:
        """The font that decides the size of the blank page, as found on this machine."""
        return self.attack.resolved()
