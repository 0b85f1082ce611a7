"""The plain request as text, without any picture.

A case without pictures is asked as it is; one with pictures, whose text may point at them, by its behavior.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks.wordings import plain_text
from sightline.cards import ANY_ATTACK
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "text_only",
    threat=ThreatModel(),
    role="control",
    control_of=ANY_ATTACK,
    source="Sightline",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TextOnly(Attack):
    """Nothing to set."""

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The plain request alone."""
        for case in cases:
            yield Draft(case=case, text=plain_text(case), keep_images=False)
