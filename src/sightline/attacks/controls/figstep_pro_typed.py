"""FigStep-Pro's pieces of the phrase and its text, all of it typed, without a picture or beside a white one.

Shows what taking the phrase apart does by itself, without a drawing: the pieces stand below each other, then
the text, word for word the attack's (it speaks of pictures). Give it the settings of the attack that it
stands beside; only font and type size decide no word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sightline.attacks.typed_words import Picture, typed_drafts, with_follow_up
from sightline.attacks.typographic.figstep_pro import FigStepPro, Kind
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {"blank": {"picture": "blank"}, "fallback": {"attempts": 2}}


@attack(
    "figstep_pro_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="figstep_pro",
    alike=("parts", "least", "items", "attempts", "kind", "instruction", "fallback"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FigStepProTyped(Attack):
    """`picture`: what stands beside the typed words. The others are FigStep-Pro's own."""

    picture: Picture = "none"
    parts: int = 3
    least: int = 2
    font: str = "FreeMonoBold.ttf"
    font_px: int = 80
    items: int = 3
    attempts: int = 1
    kind: Kind = "action"
    instruction: str = ""
    fallback: str = ""

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> FigStepPro:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return FigStepPro(
            parts=self.parts,
            least=self.least,
            font=self.font,
            font_px=self.font_px,
            items=self.items,
            attempts=self.attempts,
            kind=self.kind,
            instruction=self.instruction,
            fallback=self.fallback,
        )

    def resolved(self) -> Mapping[str, str]:
        """The font that decides the size of the blank page, as found on this machine."""
        return self.attack.resolved()

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Everything in the text; nothing in the picture."""
        for case, draft in zip(cases, typed_drafts(self.attack, cases, self.picture), strict=True):
            yield with_follow_up(draft, self.attack.words(case), ctx)
