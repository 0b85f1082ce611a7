"""The cells of a run: their roles, which of them may be compared, and in which order they are printed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from sightline import registry
from sightline.errors import UsageError
from sightline.metrics import cells
from sightline.metrics.cells import PLAIN, CellId, method_of
from sightline.metrics.comparisons import Contrast
from sightline.metrics.rates import Rate
from sightline.metrics.summary import CellSummary, Summary
from sightline.report.text import ACCESS


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be the same for two numbers to stand in one table."""

    benchmark: str
    release: str
    judge: str
    oracle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the summary. `bare`: the target is undefended."""

    summary: CellSummary
    bare: bool

    @property
    def condition(self) -> Condition:
        """What its numbers may be compared under."""
        found = self.summary.id
        return Condition(found.benchmark, found.release, found.judge, found.oracle)

    @property
    def role(self) -> Role:
        """Attack, plain request or control."""
        if self.summary.is_plain:
            return Role.plain
        return Role.control if self.summary.is_control else Role.attack

    @property
    def target(self) -> str:
        """The model string of the target, without defenses."""
        return self.summary.id.target

    @property
    def attack(self) -> str:
        """The name of the attack in the study, apart on cases that it has seen while it was crafted."""
        return self.summary.id.shown

    @property
    def series(self) -> str:
        """The study's entry, of which the attack is one at one budget."""
        return self.summary.id.series or self.summary.id.attack

    @property
    def headline(self) -> bool:
        """Whether it may stand for what an attack does: cases that it was made on may not."""
        return self.summary.id.seen != "seen"

    @property
    def defense(self) -> str:
        """The name of the defense in the study."""
        return self.summary.id.defense

    @property
    def success(self) -> Rate | None:
        """ASR or, by a judge that reads the attacker's wish, steered replies; None if nothing was scored."""
        rate = self.summary.success
        return rate if rate is not None and rate.point is not None else None

    @property
    def n(self) -> int:
        """All samples of the cell."""
        return self.summary.n_expected

    @property
    def unscored(self) -> int:
        """Samples without a readable verdict, or never answered."""
        return self.summary.counts.get("unparsed", 0) + self.summary.counts.get("error", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All cells of a run. `primary` is the judge that headline, figures and gallery follow."""

    cells: tuple[Cell, ...]
    primary: str
    contrasts: tuple[Contrast, ...] = ()

    def direction(self, cell: Cell, base: Cell) -> int:
        """Sign of the difference in success between two cells, 0 if it is not clear.

        Clear is a paired interval without zero; without a paired comparison, two intervals apart.
        """
        contrast = self.between(cell, base, cell.summary.id.success)
        if contrast is not None:
            return (contrast.low > 0) - (contrast.high < 0)
        one, other = cell.success, base.success
        if one is None or other is None:
            return 0
        return (one.low > other.high) - (one.high < other.low)

    def between(self, cell: Cell, base: Cell, measure: str) -> Contrast | None:
        """The paired difference of two cells, if it was taken."""
        wanted = measure, cell.summary.id, base.summary.id
        return next((c for c in self.contrasts if (c.measure, c.cell, c.base) == wanted), None)

    def over_control(self, cell: Cell, measure: str = "") -> Contrast | None:
        """An attack minus its strongest control, by a measure ('': success); None if none was scored."""
        wanted = True, measure or cell.summary.id.success, cell.summary.id
        return next((c for c in self.contrasts if (c.strongest, c.measure, c.cell) == wanted), None)

    @property
    def attack_order(self) -> tuple[str, ...]:
        """Names of attacks: attacks first, then the plain request, then controls."""
        found = dict.fromkeys((cell.role, cell.attack) for cell in self.cells)
        return tuple(attack for _, attack in sorted(found, key=lambda pair: pair[0]))


def board(summary: Summary, undefended: Collection[str], primary: str) -> Board:
    """The cells of a run, in the order of its summary."""
    cells = tuple(Cell(summary=cell, bare=cell.id.defense in undefended) for cell in summary.cells)
    return Board(cells=cells, primary=primary, contrasts=summary.contrasts)


def conditions(cells: Sequence[Cell], primary: str) -> list[Condition]:
    """The conditions that get a table, the primary judge first.

    An oracle other than `none` does not get a table of plain requests and controls alone.
    """
    found = {c.condition for c in cells if c.role is Role.attack}
    with_attack = {(c.benchmark, c.judge) for c in found}
    found |= {c.condition for c in cells if (c.condition.benchmark, c.condition.judge) not in with_attack}
    return sorted(found, key=lambda c: (c.judge != primary, c.benchmark, c.judge, c.oracle))


def cells_under(condition: Condition, cells: Sequence[Cell]) -> list[Cell]:
    """Cells that may stand in the condition's table.

    Plain requests and controls ask nobody while they are made, so they are within any oracle's budget
    and stand beside every attack.
    """
    return [
        c
        for c in cells
        if replace(c.condition, oracle=condition.oracle) == condition
        and (c.condition.oracle == condition.oracle or c.role is not Role.attack)
    ]


class Role(IntEnum):
    """In the order in which a table shows them."""

    attack = 0
    plain = 1
    control = 2


def role_of(spec: str) -> Role:
    """The role of an attack, as the metrics see it."""
    return Role[cells.role_of(spec)]


def is_typed_twin(control: CellId, attack: CellId) -> bool:
    """Whether a control types the words that the attack draws: it is that attack's own, and named for it."""
    return method_of(control.attack_params) == twin_of(attack.attack_params)


def twin_of(spec: str) -> str:
    """The name that the typed twin of an attack has, if there is one."""
    return f"{method_of(spec)}_typed"


def lacks_twin(spec: str, specs: Collection[str]) -> bool:
    """Whether an attack has a typed twin, and none of `specs` is one with its settings."""
    twin = twin_of(spec)
    typed = [other for other in specs if method_of(other) == twin]
    return twin in registry.names("attack") and not any(cells.is_control_of(one, spec) for one in typed)


def access_of(spec: str) -> str:
    """What an attack sees of a model: `white box`, `grey box`, `black box`; '' if it is not installed."""
    try:
        threat = registry.card("attack", method_of(spec)).threat
    except UsageError:
        return ""
    return ACCESS[threat.access] if threat is not None else ""


def edits_image(spec: str) -> bool:
    """Whether an attack changes or adds a picture; one that is not installed may."""
    try:
        threat = registry.card("attack", method_of(spec)).threat
    except UsageError:
        return True
    return threat is None or "image" in threat.may_edit


def access_text(cell: CellId) -> str:
    """What the attack of a cell saw of which model: `white box: gradients of testbed/linear`."""
    access = access_of(cell.attack_params)
    if not cell.crafted_on:
        return access
    models = " + ".join(cells.models_of(cell.crafted_on))
    what = "features" if access == ACCESS["grey"] else "gradients"
    return f"{access or 'crafted'}: {what} of {models}"


def undefended_labels(lock: Mapping[str, Any]) -> frozenset[str]:
    """The labels under which a study lists the bare target ('none' if the lock does not say)."""
    entries = [entry for entry in lock.get("defenses", ()) if isinstance(entry, Mapping)]
    bare = {str(entry["label"]) for entry in entries if "spec" not in entry and "label" in entry}
    return frozenset(bare or {PLAIN})
