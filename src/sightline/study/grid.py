"""The grid: which attack applies to which case, the key of every row, and the shape of a cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sightline import registry
from sightline.budget import UNLIMITED
from sightline.contracts import ReadsRecords, Surrogate
from sightline.digests import digest
from sightline.rng import seed_of
from sightline.shards import Row
from sightline.study.config import NamedAttack, NamedDefense, Source, Study
from sightline.study.stage_code import stage_code
from sightline.study.talkers import Talkers

CHUNK = 1024
V = TypeVar("V")


def chunks(rows: Iterator[V], size: int = CHUNK) -> Iterator[list[V]]:
    """`rows` in lists of at most `size`."""
    while batch := list(islice(rows, size)):
        yield batch


def applies(attack: NamedAttack, expected: str) -> bool:
    """Whether a study runs `attack` on cases of this expectation; all cases are asked plainly."""
    return registry.role_of(attack.attack) == "plain" or expected in attack.expectations


@dataclass(frozen=True, slots=True)
class Column:
    """One attack of the grid, with what its rows' keys need, and the models that it is made with."""

    named: NamedAttack
    identity: str
    seed: int
    surrogates: tuple[Surrogate, ...] = ()
    talkers: Talkers | None = None

    @classmethod
    def of(
        cls,
        named: NamedAttack,
        study: Study,
        surrogates: tuple[Surrogate, ...] = (),
        talkers: Talkers | None = None,
    ) -> Column:
        """The column of `named` in `study`."""
        return cls(named, registry.identity(named.attack), study.seed + named.seed_index, surrogates, talkers)

    @property
    def crafted_on(self) -> str | None:
        """Ids of the models that it looks into, and of the target that it talks to; None without any."""
        ids = [surrogate.id for surrogate in self.surrogates]
        if self.talkers is not None and self.talkers.target is not None:
            ids.append(self.talkers.target.id)
        return " + ".join(ids) or None

    def seed_for(self, case: str = "") -> int:
        """Seed of the attack for a case, by its key, or for all cases of a call.

        It follows from what a study says (attack and settings, seed, models by name) and not from code or
        weights: what is drawn at random stays when code is rewritten. Levels of a budget share it.
        """
        said = (registry.seed_text(self.named.attack), self.seed, self.named.surrogates)
        return seed_of("craft", *said, case)

    def select(self, cases: Sequence[Row]) -> list[Row]:
        """The rows of `cases` that this attack applies to."""
        return [row for row in cases if applies(self.named, row["expected"])]

    def size(self, expected: Mapping[str, int]) -> int:
        """Number of cases that this attack applies to, from counts by expectation."""
        return sum(number for what, number in expected.items() if applies(self.named, what))

    def keys(self, cases: Sequence[Row]) -> list[str]:
        """Key of an artifact: case content, attack with settings, code and fonts, seed, surrogates, budget.

        The code that seals drafts counts, too, the rows of a table that an attack shows, and whom it asks.
        """
        attack = self.named.attack
        how = (self.identity, stage_code("craft"), self.seed)
        on = [self.crafted_on] if self.surrogates else []
        on += [self.talkers.identity] if self.talkers is not None else []
        within = [str(self.named.budget)] if self.named.budget != UNLIMITED else []
        if isinstance(attack, ReadsRecords):
            return [digest("craft", row["key"], *how, attack.record_of(row["id"])) for row in cases]
        return [digest("craft", row["key"], *how, *on, *within) for row in cases]


def cell_name(source: Source, target: str, attack: NamedAttack, defense: NamedDefense) -> str:
    """`benchmark | target | attack | defense`."""
    return f"{source.label} | {target} | {attack.label} | {defense.label}"
