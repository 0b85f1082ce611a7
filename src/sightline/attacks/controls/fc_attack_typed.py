"""FC-Attack's goal and steps and its sentence, all of it typed, without a picture or beside a white one.

Shows what the steps and the sentence do by themselves. With `steps=attacker` the helper is asked as the
attack asks it; a helper that samples may write other steps for the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.attacks.charts import Layout
from sightline.attacks.typed_words import Picture, attack_of, typed_draft
from sightline.attacks.typographic.fc_attack import FCAttack, Steps
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {"blank": {"picture": "blank"}, "empty": {"steps": "empty"}}


@attack(
    "fc_attack_typed",
    source="Sightline",
    threat=ThreatModel(),
    role="control",
    control_of="fc_attack",
    alike=("steps", "most_steps", "shown", "items", "instruction"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FCAttackTyped(ConversingAttack):
    """`picture`: what stands beside the typed words. The others are the attack's own."""

    picture: Picture = "none"
    layout: Layout = "vertical"
    steps: Steps = "attacker"
    most_steps: int = 10
    shown: int = 0
    items: int = 3
    columns: int = 3
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 32
    box_width_px: int = 480
    box_height_px: int = 160
    gap_px: int = 60
    margin_px: int = 30
    line_px: int = 3
    instruction: str = ""

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> FCAttack:
        """The attack of these words.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, FCAttack)

    def resolved(self) -> Mapping[str, str]:
        """The font that decides the size of the blank page, as found on this machine."""
        return self.attack.resolved()

    @property
    def calls(self) -> Mapping[str, int]:
        """As the attack's."""
        return self.attack.calls

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """Everything in the text; nothing in the picture."""
        words = await self.attack.words_of(case, ctx)
        return typed_draft(self.attack, case, words, self.picture)
