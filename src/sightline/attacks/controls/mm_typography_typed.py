"""MM-SafetyBench's key phrase and sentence, all of it typed, with no picture or beside a blank page.

Shows what the wording of `mm_typography` does by itself. The key phrase (or the statement, if that is drawn)
is typed first and the sentence below it, as the picture stands before the text in the attack. The sentence is
the attack's own, word for word, so it still speaks of a picture: nothing but the drawing may differ. The
paper has no such control.

Give it the `draws`, `fallback` and `instruction` of the attack that it stands beside. `width_px`, `layout`,
`font` and `font_px` decide the size of the blank page alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.typed_words import Picture, typed_drafts
from sightline.attacks.typographic.mm_typography import MMTypography
from sightline.cards import Renamed
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "mm_typography_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="mm_typography",
    alike=("draws", "fallback", "instruction"),
    presets={"blank": {"picture": "blank"}},
    renamed={"wording": Renamed("fallback", None)},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMTypographyTyped(Attack):
    """`picture`: what stands beside the typed words. The others are `mm_typography`'s own."""

    picture: Picture = "none"
    draws: Literal["key_phrase", "statement"] = "key_phrase"
    fallback: str = ""
    instruction: str = ""
    width_px: int = 1024
    layout: Literal["grow", "square"] = "grow"
    overflow: Literal["clip", "split"] = "clip"
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 90

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> MMTypography:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return MMTypography(
            draws=self.draws,
            fallback=self.fallback,
            instruction=self.instruction,
            width_px=self.width_px,
            layout=self.layout,
            overflow=self.overflow,
            font=self.font,
            font_px=self.font_px,
        )

    def resolved(self) -> Mapping[str, str]:
        """The font that decides the size of the blank page, as found on this machine."""
        return self.attack.resolved()

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Everything in the text; nothing in the picture."""
        yield from typed_drafts(self.attack, cases, self.picture)
