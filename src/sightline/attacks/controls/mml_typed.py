"""MML's title as its page has it and its text, all of it typed, without a picture or beside a white page.

Shows what the text does by itself: the shuffled words, the frame, and as many tries as the attack has. A
mirrored or rotated title is typed upright. The shuffled order is this control's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.attacks.best_of import best_of, calls_of
from sightline.attacks.typed_words import Picture, typed_draft
from sightline.attacks.typographic.mml import MML, Cipher, Frame
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {"blank": {"picture": "blank"}, "one_try": {"tries": 1}}


@attack(
    "mml_typed",
    source="Sightline",
    threat=ThreatModel(oracle="undefended"),
    role="control",
    control_of="mml",
    alike=("cipher", "frame", "tries", "enough", "instruction", "items"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMLTyped(ConversingAttack):
    """`picture`: what stands beside the typed words. The others are MML's own."""

    picture: Picture = "none"
    cipher: Cipher = "mirror"
    frame: Frame = "game"
    tries: int = 5
    enough: float = 1.0
    instruction: str = ""
    items: int = 3
    canvas_px: int = 760

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> MML:
        """The attack of these words; where on the page they stand does not matter.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return MML(
            cipher=self.cipher,
            frame=self.frame,
            tries=self.tries,
            enough=self.enough,
            instruction=self.instruction,
            items=self.items,
            canvas_px=self.canvas_px,
            origin_x_px=0,
            origin_y_px=0,
        )

    @property
    def calls(self) -> Mapping[str, int]:
        """As the attack's."""
        return calls_of(self.tries)

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """Everything in the text; nothing in the picture."""
        words = self.attack.words(case, ctx.seed)
        draft = typed_draft(self.attack, case, words, self.picture)
        return await best_of(case, ctx, lambda _: draft, tries=self.tries, enough=self.enough)
