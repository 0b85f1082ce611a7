"""Control: the last user turn of a script alone, without the turns before it.

Behind an attack over several turns: `{name: crescendo, then: last_turn}`. What the last turn achieves by
itself is not the dialogue's doing. By itself it leaves cases as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.cards import ANY_ATTACK
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "last_turn",
    role="control",
    control_of=ANY_ATTACK,
    threat=ThreatModel(may_edit=frozenset({"text"})),
    source="Sightline",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class LastTurn(Attack):
    """Nothing to set."""

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The last turn, as it is; the chain drops those before it."""
        for case in cases:
            yield Draft(case=case)
