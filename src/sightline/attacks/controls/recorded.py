"""What another harness showed the model, under the name that it has in a table of responses.

Comes with `responses:` alone (docs/responses.md): it stands for the attack, the control or the plain request
of a row, and shows what the row says was shown. Who the attacker was, what the attack could see, and whether
it asked the target while it was made are not recorded: all three are `unknown`. The attack's own code
is not run, and nothing about it is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError
from sightline.records import Cost, Draft
from sightline.registry import attack
from sightline.responses.table import RECORDED, Combination, ResponseTable


@attack(
    "recorded",
    role="attack",
    threat=ThreatModel(
        attacker="unknown",
        access="unknown",
        oracle="unknown",
        may_edit=frozenset({"image", "text", "system"}),
    ),
    source="Sightline",
    plain_when={"attack": ("none",)},
    control_when={"role": ("control",)},
    elsewhere=True,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded(Attack):
    """`attack`: its name in the table, `none` for the plain request; `role`: whether it is a control.

    `model` and `defense` say whose rows these are.
    """

    attack: str = "none"
    role: Literal["attack", "control"] = "attack"
    model: str = field(default="", repr=False)
    defense: str = field(default="none", repr=False)
    _table: Any = field(default=None, init=False, repr=False, compare=False)

    def of(self, table: ResponseTable) -> Recorded:
        """The same, with the rows that it shows."""
        found = copy(self)
        object.__setattr__(found, "_table", table)
        return found

    @property
    def combination(self) -> Combination:
        """Whose rows these are, under what."""
        return Combination(self.model, self.attack, self.defense)

    def record_of(self, case: str) -> str:
        """Digest of what the table holds of a case; see `contracts.ReadsRecords`."""
        return self._rows().mark(case, self.combination)

    def _rows(self) -> ResponseTable:
        if not isinstance(self._table, ResponseTable):
            raise UsageError("recorded stands for what another harness did: it comes with `responses:`")
        return self._table

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """What each case's row shows.

        Raises:
            UsageError: for a case that the combination has no usable row of.
        """
        table = self._rows()
        for case in cases:
            row = table.answer(case.id, self.combination)
            if row is None:
                raise UsageError(f"the table has no response of {' | '.join(self.combination)} to this case")
            if row.problems:
                raise UsageError(f"{row.place}: {'; '.join(row.problems)}")
            shown = replace(case, conversation=table.shown(row, ctx.images))
            yield Draft(case=shown, cost=Cost(calls_target=row.queries), note=f"{RECORDED}{self.attack}")
