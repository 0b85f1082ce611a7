"""The trigger's phrase and the sentence of `jailbreak_in_pieces`, typed, without the picture.

Shows what the wording of `jailbreak_in_pieces` does by itself, where its trigger holds the key phrase (`ocr`,
`textual`, `combined`): the phrase is typed first and the sentence below it, without a picture or beside a
blank one. The sentence is the attack's own, word for word. The paper has no such control. Give it the
`instruction` of the attack that it stands beside; `size_px` is the side of the blank page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks.typed_words import Picture, typed_drafts
from sightline.attacks.visual.jailbreak_in_pieces import JailbreakInPieces
from sightline.cards import Renamed
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "jailbreak_in_pieces_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="jailbreak_in_pieces",
    alike=("instruction",),
    presets={"blank": {"picture": "blank"}},
    renamed={"wording": Renamed("instruction", None)},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class JailbreakInPiecesTyped(Attack):
    """`picture`: what stands beside the typed words. The others are `jailbreak_in_pieces`' own."""

    picture: Picture = "none"
    instruction: str = ""
    size_px: int = 336

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> JailbreakInPieces:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return JailbreakInPieces(instruction=self.instruction, size_px=self.size_px)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Everything in the text; nothing in the picture."""
        yield from typed_drafts(self.attack, cases, self.picture)
