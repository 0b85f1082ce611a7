"""SI-Attack's phrase and its shuffled text, all of it typed, without a picture or beside a white page.

Shows what shuffled words and as many draws as the attack has do by themselves. The case's own picture, which
the attack would shuffle, is not shown. The orders are this control's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.attacks.best_of import best_of, calls_of
from sightline.attacks.typed_words import Picture, attack_of, typed_draft
from sightline.attacks.typographic.si_attack import Shuffles, SIAttack
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {"blank": {"picture": "blank"}, "one_draw": {"draws": 1}}


@attack(
    "si_attack_typed",
    source="Sightline",
    threat=ThreatModel(oracle="undefended"),
    role="control",
    control_of="si_attack",
    alike=("draws", "enough", "shuffles", "instruction"),
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SIAttackTyped(ConversingAttack):
    """`picture`: what stands beside the typed words. The others are SI-Attack's own."""

    picture: Picture = "none"
    draws: int = 10
    enough: float = 1.0
    shuffles: Shuffles = "both"
    size_px: int = 1024
    instruction: str = ""

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def attack(self) -> SIAttack:
        """The attack of these words; how the picture is cut does not matter.

        Raises:
            UsageError: if it does not take one of the settings.
        """
        return attack_of(self, SIAttack)

    @property
    def calls(self) -> Mapping[str, int]:
        """As the attack's."""
        return calls_of(self.draws)

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The best of several shuffles, everything in the text."""

        def draw(number: int) -> Draft:
            return typed_draft(self.attack, case, self.attack.words(case, ctx.seed, number), self.picture)

        return await best_of(case, ctx, draw, tries=self.draws, enough=self.enough)
