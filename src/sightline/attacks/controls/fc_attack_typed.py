"""FC-Attack's goal and steps and its sentence, all of it typed, without a picture or beside a white one.

Shows what the steps and the sentence do by themselves. With `steps=attacker` the helper is asked as the
attack asks it; a helper that samples may write other steps for the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.attacks.charts import Layout
from sightline.attacks.typed_words import Picture, TypedTwin, attack_of
from sightline.attacks.typographic.fc_attack import FCAttack, Steps
from sightline.cards import Presets
from sightline.cases import ThreatModel
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
class FCAttackTyped(TypedTwin):
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
