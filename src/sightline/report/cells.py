"""The cells of a run: their roles, which of them may be compared, and in which order they are printed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import Any

from sightline import registry
from sightline.errors import UsageError
from sightline.metrics import cells
from sightline.metrics.cells import PLAIN, CellId, method_of
from sightline.metrics.contrast import Contrast
from sightline.metrics.rates import Rate
from sightline.metrics.summary import CellSummary, Summary
from sightline.report.text import ACCESS


@dataclass(frozen=True, slots=True)
class Condition:
    """What two numbers of one table share."""

    benchmark: str
    release: str
    judge: str
    oracle: str


@cache
def _condition(benchmark: str, release: str, judge: str, oracle: str) -> Condition:
    """The condition, made once for all its cells."""
    return Condition(benchmark, release, judge, oracle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the summary. `bare`: the target is undefended."""

    summary: CellSummary
    bare: bool

    @property
    def condition(self) -> Condition:
        """What its numbers may be compared under."""
        found = self.summary.id
        return _condition(found.benchmark, found.release, found.judge, found.oracle)

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
        """The name of the attack in the study, with its split: training or held-out cases."""
        return self.summary.id.shown

    @property
    def series(self) -> str:
        """The study's entry, of which the attack is one at one budget."""
        return self.summary.id.series or self.summary.id.attack

    @property
    def headline(self) -> bool:
        """Whether the headline may show it: results on an attack's training cases may not."""
        return self.summary.id.seen != "seen"

    @property
    def defense(self) -> str:
        """The name of the defense in the study."""
        return self.summary.id.defense

    @property
    def success(self) -> Rate | None:
        """ASR, or targeted ASR by a judge of the attacker's goal; None if nothing was scored."""
        rate = self.summary.success
        return rate if rate is not None and rate.point is not None else None

    @property
    def reached(self) -> float:
        """The share of successes; 0 if nothing was scored."""
        return self.success.point or 0.0 if self.success is not None else 0.0

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
    """All cells of a run.

    `primary` is the judge that headline, figures and gallery follow; of the errors of those that are
    `uncalibrated` nothing is known. `trained` are trained targets in the order of training.
    """

    cells: tuple[Cell, ...]
    primary: str
    contrasts: tuple[Contrast, ...] = ()
    judge_names: Mapping[str, str] = field(default_factory=dict)
    uncalibrated: frozenset[str] = frozenset()
    trained: tuple[str, ...] = ()
    _between: dict[tuple[object, ...], Contrast] = field(init=False, repr=False, compare=False)
    _strongest: dict[tuple[object, ...], Contrast] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pairs: dict[tuple[object, ...], Contrast] = {}
        strongest: dict[tuple[object, ...], Contrast] = {}
        for each in self.contrasts:  # the first of several
            pairs.setdefault((each.measure, each.cell, each.base), each)
            if each.strongest:
                strongest.setdefault((each.kind, each.measure, each.cell), each)
        object.__setattr__(self, "_between", pairs)
        object.__setattr__(self, "_strongest", strongest)

    def place(self, target: str) -> tuple[int, str]:
        """For sorting: trained targets behind the others, in the order of training."""
        return self.trained.index(target) + 1 if target in self.trained else 0, target

    def judge_name(self, judge: str) -> str:
        """The short name of a judge."""
        return self.judge_names.get(judge) or method_of(judge)

    def judge_title(self, judge: str) -> str:
        """The short name of a judge, and that it is uncalibrated if nothing is known of its errors."""
        return self.judge_name(judge) + (", uncalibrated" if judge in self.uncalibrated else "")

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
        return self._between.get((measure, cell.summary.id, base.summary.id))

    def over_control(self, cell: Cell, measure: str = "") -> Contrast | None:
        """An attack minus its strongest control, by a measure ('': success); None if none was scored."""
        return self._strongest.get(("control", measure or cell.summary.id.success, cell.summary.id))

    def over_unaware(self, cell: Cell) -> Contrast | None:
        """Success minus that of the strongest attack of its kind that did not know the defense."""
        return self._strongest.get(("unaware", cell.summary.id.success, cell.summary.id))

    @property
    def bare_attacks(self) -> list[Cell]:
        """Attacks on undefended targets that a headline may show, those of the primary judge first."""
        found = [
            cell
            for cell in self.cells
            if cell.bare and cell.headline and cell.role is Role.attack and self.is_told(cell)
        ]
        return sorted(found, key=lambda cell: cell.condition.judge != self.primary)

    @property
    def goal_judges(self) -> frozenset[str]:
        """Judges that score the attacker's goal."""
        goals = (cell for cell in self.cells if cell.summary.id.success == "attacker_goal")
        return frozenset(cell.condition.judge for cell in goals)

    def is_told(self, cell: Cell) -> bool:
        """Whether its judge is the primary one, or scores the attacker's goal."""
        return cell.condition.judge == self.primary or cell.summary.id.success == "attacker_goal"

    @property
    def attack_order(self) -> tuple[str, ...]:
        """Names of attacks: attacks first, then the plain request, then controls."""
        found = dict.fromkeys((cell.role, cell.attack) for cell in self.cells)
        return tuple(attack for _, attack in sorted(found, key=lambda pair: pair[0]))


def board(
    summary: Summary,
    undefended: Collection[str],
    primary: str,
    judge_names: Mapping[str, str] | None = None,
    uncalibrated: Collection[str] = (),
    trained: Collection[str] = (),
) -> Board:
    """The cells of a run, in the order of its summary."""
    cells = tuple(Cell(summary=cell, bare=cell.id.defense in undefended) for cell in summary.cells)
    return Board(
        cells=cells,
        primary=primary,
        contrasts=summary.contrasts,
        judge_names=judge_names or {},
        uncalibrated=frozenset(uncalibrated),
        trained=tuple(trained),
    )


def conditions(cells: Sequence[Cell], primary: str) -> list[Condition]:
    """The conditions that get a table, the primary judge first.

    An oracle other than `none` gets no table of plain requests and of controls that query nothing alone.
    """
    found = {
        c.condition
        for c in cells
        if c.role is Role.attack or (c.role is Role.control and c.condition.oracle != "none")
    }
    with_attack = {(c.benchmark, c.judge) for c in found}
    found |= {c.condition for c in cells if (c.condition.benchmark, c.condition.judge) not in with_attack}
    return sorted(found, key=lambda c: (c.judge != primary, c.benchmark, c.judge, c.oracle))


def cells_under(condition: Condition, cells: Sequence[Cell]) -> list[Cell]:
    """Cells that may stand in the condition's table.

    Plain requests and controls that query no target are within any oracle's budget and are listed with every
    attack; a control that was made in asking a target stands with attacks of its own oracle.
    """
    return [
        c
        for c in cells
        if (found := c.summary.id).judge == condition.judge
        and (found.benchmark, found.release) == (condition.benchmark, condition.release)
        and (
            found.oracle == condition.oracle
            or c.role is Role.plain
            or (c.role is Role.control and found.oracle == "none")
        )
    ]


class Role(IntEnum):
    """The role of an attack, in the order of a table."""

    attack = 0
    plain = 1
    control = 2


def role_of(spec: str) -> Role:
    """The role of an attack, as the metrics see it."""
    return Role[cells.role_of(spec)]


def is_typed_twin(control: CellId, attack: CellId) -> bool:
    """Whether a control is the attack's own: it types the words that the attack draws."""
    return method_of(control.attack_params) == twin_of(attack.attack_params)


@cache
def twin_of(spec: str) -> str:
    """The control of this attack alone, which types its words; '' if there is none."""
    found = (name for name in registry.names("attack") if _control_of(name) == method_of(spec))
    return next(found, "")


def _control_of(name: str) -> str:
    try:
        return registry.card("attack", name).control_of
    except UsageError:
        return ""


def lacks_twin(spec: str, specs: Collection[str]) -> bool:
    """Whether an attack has a typed twin that was not run with its settings."""
    if cells.role_of(spec) != "attack":
        return False
    twin = twin_of(spec)
    typed = [other for other in specs if method_of(other) == twin]
    return bool(twin) and not any(cells.is_control_of(one, spec) for one in typed)


def access_of(spec: str) -> str:
    """The access of an attack: `white box`, `grey box` or `black box`; '' if it is not installed."""
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
    """The access of a cell's attack: `white box: gradients of testbed/linear`."""
    access = access_of(cell.attack_params)
    if not cell.crafted_on:
        return access
    models = " + ".join(cells.models_of(cell.crafted_on))
    if access == ACCESS["black"]:
        return f"{access}: talks to {models}"
    what = "features" if access == ACCESS["grey"] else "gradients"
    return f"{access or 'crafted'}: {what} of {models}"


def origin_text(cell: CellId) -> str:
    """What the model that an attack was crafted on is to the target; '' for an attack crafted on none."""
    if cell.own is None:
        return ""
    if cell.adaptive:
        return "adaptive: the defended target itself"
    return "the target itself" if cell.own else "transfer"


def undefended_labels(lock: Mapping[str, Any]) -> frozenset[str]:
    """The labels under which a study lists the bare target ('none' if the lock does not say)."""
    entries = [entry for entry in lock.get("defenses", ()) if isinstance(entry, Mapping)]
    bare = {str(entry["label"]) for entry in entries if "spec" not in entry and "label" in entry}
    return frozenset(bare or {PLAIN})
