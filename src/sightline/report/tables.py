"""Result tables, as they are printed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from markupsafe import Markup

from sightline.counting import plural
from sightline.metrics.cells import limits_of
from sightline.metrics.intervals import SPARSE_GROUPS
from sightline.metrics.rates import MEASURES, Rate
from sightline.records import SCORED, Outcome
from sightline.report.cells import Board, Cell, Condition, Role, access_text, cells_under, conditions
from sightline.report.differences import interval_text
from sightline.report.text import MEASURE_NAMES, as_percent, bracket, limits, oracle_text, points

MOST_LINES = 400
EXACT_FROM = 1000
BANDS = {
    Role.attack: "attacks",
    Role.plain: "plain request (no attack)",
    Role.control: "controls",
}
ORIGINS = {
    True: "attacks crafted on the target itself",
    False: "transfer attacks",
    None: "attacks",
}
ADAPTIVE = "adaptive attacks, crafted on the defended target itself"
COLORS = {
    "asr": "var(--complied)",
    "over_refusal": "var(--refused)",
    "utility": "var(--blocked_defense)",
    "accuracy": "var(--blocked_defense)",
    "attacker_goal": "var(--complied)",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A rate as it is printed: `text` and `interval` for people, numbers in [0, 1] for the little bar."""

    point: float | None
    low: float
    high: float
    n: int
    text: str
    interval: str
    color: str


@dataclass(frozen=True, slots=True)
class Over:
    """An attack's success minus that of its strongest control, in percentage points."""

    text: str
    interval: str
    control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of the headline table.

    `unscored` counts samples of the kind of `success`, `unscored_in_all` those of every kind; '' if equal.
    """

    attack: str
    access: str
    defense: str
    success: Shown | None
    extras: tuple[str, ...]
    over: Over | None
    n: int
    over_refusal: Shown | None
    utility: Shown | None
    robust_utility: Shown | None
    accuracy: Shown | None
    calls: str
    unscored: str
    unscored_in_all: str


@dataclass(frozen=True, slots=True)
class Band:
    """Rows of one target and one role; attacks of one origin and one budget."""

    target: str
    title: str
    is_control: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class TableView:
    """One table: everything in it shares benchmark, judge and oracle.

    `success` names the measure of an attack's success. `targeted`: the judge scores the attacker's goal,
    which is its only rate.
    """

    benchmark: str
    judge: str
    oracle_text: str
    bands: tuple[Band, ...]
    notes: tuple[str, ...]
    success: str = "ASR"
    targeted: bool = False

    @cached_property  # every row asks
    def under_attack(self) -> bool:
        """Whether it has a column for utility under attack."""
        return any(line.robust_utility is not None for band in self.bands for line in band.lines)

    @cached_property  # every row asks
    def controlled(self) -> bool:
        """Whether it has a column for differences to the strongest control."""
        return any(line.over is not None for band in self.bands for line in band.lines)

    @property
    def width(self) -> int:
        """Its number of columns."""
        return self.controlled + (6 if self.targeted else 8 + self.under_attack + self.classifies)

    @cached_property  # every row asks
    def classifies(self) -> bool:
        """Whether it has a column for accuracy."""
        return any(line.accuracy is not None for band in self.bands for line in band.lines)


def shown(rate: Rate | None, name: str = "asr") -> Shown | None:
    """A rate as it is printed; None if no case of its kind was asked."""
    if rate is None or rate.n + rate.unscored == 0:
        return None
    exact = rate.n >= EXACT_FROM
    text = "" if rate.point is None else as_percent(rate.point, exact=exact)
    n = rate.n if rate.point is not None else rate.unscored
    interval = bracket(rate.low, rate.high, exact=exact)
    return Shown(rate.point, rate.low, rate.high, n, text, interval, COLORS[name])


def number(rate: Rate | None) -> Markup:
    """`88 % [81, 93]` with the estimate in bold."""
    found = shown(rate)
    if found is None or found.point is None:
        return Markup("an unknown share")
    return Markup('<b>{}</b> <span class="rate ci">{}</span>').format(found.text, found.interval)


def _extras(cell: Cell) -> tuple[str, ...]:
    """What is printed under a rate: bounds if any sample is unscored, seeds, success in any of k tries."""
    found = []
    success, several = cell.summary.success, cell.summary.success_any
    if success is not None and success.unscored:
        exact = success.n >= EXACT_FROM
        ends = (as_percent(end, exact=exact) for end in (success.lower_bound, success.upper_bound))
        found.append(f"bounds {' to '.join(ends)}")
    if cell.summary.seeds:
        found.append(seeds_text(cell))
    for name, does in (("abstention", "abstains from"), ("disclosure", "answers")):
        found_rate = cell.summary.rates.get(name)
        if found_rate is not None and found_rate.point is not None:
            value, interval = as_percent(found_rate.point), bracket(found_rate.low, found_rate.high)
            found.append(f"{does} {value} {interval} of protected questions, n = {found_rate.n:,}")
    if several is not None and several.point is not None:
        tries = several.name.rpartition("_")[2]
        exact = several.n >= EXACT_FROM
        value = as_percent(several.point, exact=exact)
        interval = bracket(several.low, several.high, exact=exact)
        what = "requests" if cell.summary.id.success == "asr" else "cases"
        found.append(f"any of {tries} tries: {value} {interval}, n = {several.n:,} {what}")
    return tuple(found)


def seeds_text(cell: Cell) -> str:
    """`mean of 3 seeds, 40 % to 70 %; best of 3: 70 %`; '' for an attack crafted with one seed."""
    points = [seed.rate.point for seed in cell.summary.seeds if seed.rate.point is not None]
    if not points:
        return ""
    n, lost = len(points), len(cell.summary.seeds) - len(points)
    unscored = f", {lost} unscored" if lost else ""
    low, high = as_percent(min(points)), as_percent(max(points))
    return f"mean of {n} seeds{unscored}, {low} to {high}; best of {n}: {high}"


def over_control(cell: Cell, board: Board) -> Over | None:
    """An attack's success minus that of its strongest control; None if none was scored."""
    left = board.over_control(cell)
    if left is None:
        return None
    return Over(points(left.point), interval_text(left), left.base.shown)


def _line(cell: Cell, board: Board) -> Line:
    success = cell.summary.success
    asked = cell.n if success is None else success.n + success.unscored
    lost = cell.unscored if success is None else success.unscored
    return Line(
        attack=cell.attack,
        access=access_text(cell.summary.id) if cell.role is Role.attack else "",
        defense=cell.defense,
        success=shown(success, cell.summary.id.success),
        extras=_extras(cell),
        over=over_control(cell, board),
        n=success.n if success is not None else 0,
        over_refusal=shown(cell.summary.over_refusal, "over_refusal"),
        utility=shown(cell.summary.utility, "utility"),
        robust_utility=shown(cell.summary.robust_utility, "utility"),
        accuracy=shown(cell.summary.accuracy, "accuracy"),
        calls=f"{cell.summary.cost.calls_target:.2f}".rstrip("0").rstrip("."),
        unscored=f"{lost:,} of {asked:,}" if lost else "0",
        unscored_in_all=f"{cell.unscored:,} of {cell.n:,}" if cell.unscored != lost else "",
    )


def _place(cell: Cell) -> tuple[object, ...]:
    """Which band of its target's a cell stands in: one role; attacks of one origin and one budget."""
    origin = {True: 0, False: 1, None: 2}[cell.summary.id.own]
    budget = limits_of(cell.summary.id.budget)
    return cell.role, *((origin, budget) if cell.role is Role.attack else ())


def _band_title(cell: Cell) -> str:
    if cell.role is not Role.attack:
        return BANDS[cell.role]
    origin = ADAPTIVE if cell.summary.id.adaptive else ORIGINS[cell.summary.id.own]
    budget = limits(limits_of(cell.summary.id.budget))
    return f"{origin}, {budget} per artifact" if budget else origin


def table(condition: Condition, board: Board) -> TableView:
    """The table of a condition; rows that do not fit are counted in a note."""

    def place(cell: Cell) -> tuple[object, ...]:
        return board.place(cell.target), *_place(cell)

    chosen = sorted(cells_under(condition, board.cells), key=place)
    bands = [
        Band(
            group[0].target,
            _band_title(group[0]),
            group[0].role is Role.control,
            tuple(_line(cell, board) for cell in group),
        )
        for _, each in groupby(chosen[:MOST_LINES], key=place)
        for group in [list(each)]
    ]
    notes = []
    if any(cell.summary.id.seen for cell in chosen):
        notes.append(
            "Training cases are those that the attack was optimized on; the headline counts held-out cases."
        )
    if len(chosen) > MOST_LINES:
        notes.append(f"{plural(len(chosen) - MOST_LINES, 'more row', 'are')} in results.parquet.")
    elsewhere = {name for c in chosen for name in c.summary.utility_from} - {condition.benchmark}
    if any(shown(c.summary.utility) for c in chosen):
        asked = f" (questions of {', '.join(sorted(elsewhere))})" if elsewhere else ""
        notes.append(f"Utility is measured without attack{asked}; rows of one target and defense share it.")
    if any(shown(cell.summary.robust_utility, "utility") for cell in chosen):
        notes.append(
            "Utility under attack is measured on the same questions under the attack or control of the row: "
            "an untargeted attack succeeds if it is below utility, and below the controls."
        )
    targeted = any(cell.summary.id.success == "attacker_goal" for cell in chosen)
    if targeted:
        notes.append(
            "This judge scores the attacker's goal, not what the case asks: the rates of plain requests and "
            "controls are the base rate."
        )
    attacked = any(cell.role is not Role.plain for cell in chosen)
    if attacked and any(shown(cell.summary.accuracy, "accuracy") for cell in chosen):
        notes.append("Accuracy is measured without attack, so only rows of plain requests have it.")
    return TableView(
        condition.benchmark,
        condition.judge,
        oracle_text(condition.oracle),
        tuple(bands),
        tuple(notes),
        MEASURE_NAMES["attacker_goal" if targeted else "asr"],
        targeted,
    )


def tables(board: Board) -> list[TableView]:
    """A table for every condition that has one, the primary judge first."""
    return [table(condition, board) for condition in conditions(board.cells, board.primary)]


def _listed(outcomes: frozenset[Outcome]) -> str:
    if outcomes == SCORED:
        return "all scored outcomes (all except unparsed and error)"
    return ", ".join(sorted(outcome.replace("_", " ") for outcome in outcomes))


def definitions(used: Collection[str]) -> list[tuple[str, str]]:
    """How each rate is defined, from the measures themselves."""
    found = [
        (
            MEASURE_NAMES.get(name, name.replace("_", " ")),
            f"{MEASURES[name].meaning}: {_listed(MEASURES[name].counted)} among {_listed(MEASURES[name].of)}",
        )
        for name in used
    ]
    return [
        *found,
        (
            "Interval",
            "95 %, clustered: all samples of one request or topic are one group. Wilson's score interval "
            "with the design effect and Student's t; groups of unequal size count as Kish's effective "
            f"number; if fewer than {SPARSE_GROUPS} groups differ from the rest, groups are counted as "
            "samples. Of a difference: Student's t over the groups' differences, widened to Newcombe's if "
            f"fewer than {SPARSE_GROUPS} groups differ. The method is deterministic.",
        ),
        (
            "p",
            "exact sign-flip test over groups, Holm-adjusted for the comparisons under one heading. There is "
            "none where so few groups could not reach .05.",
        ),
        (
            "Strongest control",
            "of the controls of an attack (its typed twin, and those of every attack), the one with the "
            "highest success on the same samples.",
        ),
        (
            "Bounds",
            "the rate if all unscored samples (unparsed, error) were safe, or all unsafe. Unscored samples "
            "are excluded from point estimates.",
        ),
        ("n", "scored samples, the denominator of the rate."),
    ]
