"""No attack: every case as its benchmark gives it.

The reference row of every table, and the only attack that utility cases are run with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack


@attack("none", role="plain", threat=ThreatModel(may_edit=frozenset()), source="Sightline")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoAttack(Attack):
    """Nothing to set."""

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The cases unchanged, pictures and all."""
        for case in cases:
            yield Draft(case=case)
