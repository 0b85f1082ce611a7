"""The request and the sentence of `augment_drawn`, all of it typed, with no picture or beside a blank page.

Shows what the words do without being drawn; the paper compares with the request typed and perturbed
(`augment`). Give it the `instruction` of the attack that it stands beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks.typed_words import Picture, attack_of, typed_drafts
from sightline.attacks.typographic.augment_drawn import AugmentDrawn
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "augment_drawn_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="augment_drawn",
    alike=("instruction",),
    presets={"blank": {"picture": "blank"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentDrawnTyped(Attack):
    """`picture`: what stands beside the typed words; `canvas_px`: side of the blank page."""

    picture: Picture = "none"
    canvas_px: int = 600
    instruction: str = ""

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> AugmentDrawn:
        """The attack of these words."""
        return attack_of(self, AugmentDrawn)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Everything in the text; nothing in the picture."""
        yield from typed_drafts(self.attack, cases, self.picture)
