"""The headline table: cells put into bands of rows, rates as people read them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from sightline.metrics.rates import MEASURES, Rate
from sightline.records import SCORED, Outcome
from sightline.report.board import Board, Cell, Condition, cells_under, conditions
from sightline.report.roles import Role
from sightline.report.words import MEASURE_NAMES, as_percent, bracket, oracle_text

MOST_LINES = 400
EXACT_FROM = 1000
BANDS = {
    Role.attack: "attacks",
    Role.plain: "plain request (no attack)",
    Role.control: "controls: what an attack must beat",
}
COLORS = {
    "asr": "var(--complied)",
    "over_refusal": "var(--refused)",
    "utility": "var(--blocked_defense)",
    "accuracy": "var(--blocked_defense)",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of the headline table."""

    attack: str
    crafted_on: str
    defense: str
    asr: Shown | None
    extras: tuple[str, ...]
    n: int
    over_refusal: Shown | None
    utility: Shown | None
    accuracy: Shown | None
    calls: str
    unscored: str


@dataclass(frozen=True, slots=True)
class Band:
    """Rows of one target and one role."""

    target: str
    title: str
    is_control: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class TableView:
    """One table: everything in it shares benchmark, judge and oracle."""

    benchmark: str
    judge: str
    oracle_text: str
    bands: tuple[Band, ...]
    notes: tuple[str, ...]

    @property
    def classifies(self) -> bool:
        """Whether a row holds items to classify: only then is there a column for accuracy."""
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


def _extras(cell: Cell) -> tuple[str, ...]:
    """What stands under an ASR: its bounds if anything is unscored, and success within several tries."""
    found = []
    asr, several = cell.summary.asr, cell.summary.asr_any
    if asr is not None and asr.unscored:
        found.append(f"bounds {as_percent(asr.lower_bound)} to {as_percent(asr.upper_bound)}")
    if several is not None and several.point is not None:
        tries = several.name.rpartition("_")[2]
        exact = several.n >= EXACT_FROM
        value = as_percent(several.point, exact=exact)
        interval = bracket(several.low, several.high, exact=exact)
        found.append(f"any of {tries} tries: {value} {interval}, n = {several.n:,} requests")
    return tuple(found)


def _line(cell: Cell) -> Line:
    asr = cell.summary.asr
    return Line(
        attack=cell.attack,
        crafted_on=cell.summary.id.crafted_on,
        defense=cell.defense,
        asr=shown(asr),
        extras=_extras(cell),
        n=asr.n if asr is not None else 0,
        over_refusal=shown(cell.summary.over_refusal, "over_refusal"),
        utility=shown(cell.summary.utility, "utility"),
        accuracy=shown(cell.summary.accuracy, "accuracy"),
        calls=f"{cell.summary.cost.calls_target:.2f}".rstrip("0").rstrip("."),
        unscored=f"{cell.unscored:,} of {cell.n:,}" if cell.unscored else "0",
    )


def table(condition: Condition, cells: Sequence[Cell]) -> TableView:
    """The table of a condition; rows that do not fit are counted in a note."""
    chosen = sorted(cells_under(condition, cells), key=lambda c: (c.target, c.role, c.attack))
    bands = [
        Band(target, BANDS[role], role is Role.control, tuple(_line(c) for c in group))
        for (target, role), group in groupby(chosen[:MOST_LINES], key=lambda c: (c.target, c.role))
    ]
    notes = []
    if len(chosen) > MOST_LINES:
        notes.append(f"{len(chosen) - MOST_LINES:,} more rows are in results.parquet.")
    elsewhere = {name for c in chosen for name in c.summary.utility_from} - {condition.benchmark}
    if any(shown(c.summary.utility) for c in chosen):
        asked = f" (questions of {', '.join(sorted(elsewhere))})" if elsewhere else ""
        notes.append(f"Utility is asked plainly{asked}, so rows of one target and defense share it.")
    attacked = any(cell.role is not Role.plain for cell in chosen)
    if attacked and any(shown(cell.summary.accuracy, "accuracy") for cell in chosen):
        notes.append("Items are classified without attack, so only rows of plain requests have an accuracy.")
    return TableView(
        condition.benchmark, condition.judge, oracle_text(condition.oracle), tuple(bands), tuple(notes)
    )


def tables(board: Board) -> list[TableView]:
    """A table for every condition that has one, the primary judge first."""
    return [table(condition, board.cells) for condition in conditions(board.cells, board.primary)]


def _listed(outcomes: frozenset[Outcome]) -> str:
    if outcomes == SCORED:
        return "all scored outcomes (all but unparsed and error)"
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
            "95 %. Wilson's score interval where every group has one sample; otherwise a bootstrap over "
            "groups (all samples of one request or topic are one group), widened to Wilson's over groups "
            "where nearly all groups agree.",
        ),
        (
            "Bounds",
            "the rate if every unscored sample (unparsed, error) had counted as safe, and if every one had "
            "counted as unsafe. Unscored samples are in no point estimate.",
        ),
        ("n", "scored samples that the rate is a share of."),
    ]
