"""Injections by a third party in one table: the attacker's goal reached, and what is left of the answer.

The user is the victim, so each row joins two judges' readings of the same replies: one that scores the
attacker's goal, and one that scores the honest answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from sightline import registry
from sightline.errors import UsageError
from sightline.metrics.cells import CellId, method_of
from sightline.report.cells import Board, Cell, Role, access_text
from sightline.report.tables import Over, Shown, over_control, shown
from sightline.report.text import label

GOAL_JUDGE = "injected_goal"
"""The judge whose cells are looked at before those of other judges of the attacker's goal."""
THIRD = "third_party"
MOST_LINES = 200
NOTES = (
    "Goal reached: replies that reach the attacker's goal. Rows without an attack show the cases "
    "as their benchmark gives them: the honest picture (its rate is the base rate), or a release's own "
    "injection.",
    "Utility: questions answered right without an attack; under attack: the same questions as the row shows "
    "them. A question that is neither answered right nor ends in the goal was only disturbed.",
    "Controls: the same words typed by the user, a second picture that nobody asks about, the target shown "
    "without an instruction. What they reach as well is not the injection's doing.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An attack, a control or the plain cases, with both readings of the same replies."""

    attack: str
    access: str
    role: Role
    defense: str
    goal: Shown | None
    over: Over | None
    robust_utility: Shown | None
    utility: Shown | None
    n: int


@dataclass(frozen=True, slots=True)
class Group:
    """The lines of one benchmark and target."""

    benchmark: str
    target: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Injections:
    """The table. `judges` score the attackers' goals, `honest` the answers; `left` lines are not shown."""

    judges: tuple[str, ...]
    honest: tuple[str, ...]
    groups: tuple[Group, ...]
    left: int


def is_third_party(spec: str) -> bool:
    """Whether the attacker of an attack is a third party; not of one that is not installed."""
    try:
        threat = registry.card("attack", method_of(spec)).threat
    except UsageError:
        return False
    return threat is not None and threat.attacker == THIRD


def injections(board: Board) -> Injections | None:
    """The table of a run; None if no third party attacks in it, or nobody looks for its goal."""
    goals = [cell for cell in board.cells if cell.summary.id.scores == "attacker_goal"]
    injected = [cell for cell in goals if method_of(cell.condition.judge) == GOAL_JUDGE]
    chosen = injected or [
        cell
        for cell in goals
        if any(
            is_third_party(other.summary.id.attack_params)
            for other in goals
            if other.condition.benchmark == cell.condition.benchmark
        )
    ]
    first = dict[str, str]()
    for cell in chosen:
        first.setdefault(cell.condition.benchmark, cell.condition.judge)
    rows = [cell for cell in chosen if first[cell.condition.benchmark] == cell.condition.judge]
    if not rows:
        return None
    rows.sort(key=lambda cell: (cell.condition.benchmark, board.place(cell.target), cell.role, not cell.bare))
    honest = {_replies(cell.summary.id): cell for cell in reversed(_answers(board))}
    groups = tuple(
        Group(
            benchmark,
            target,
            tuple(_line(cell, honest.get(_replies(cell.summary.id)), board) for cell in each),
        )
        for (benchmark, target), each in groupby(
            rows[:MOST_LINES], key=lambda cell: (cell.condition.benchmark, cell.target)
        )
    )
    used = [found for cell in rows if (found := honest.get(_replies(cell.summary.id)))]
    return Injections(
        judges=tuple(dict.fromkeys(cell.condition.judge for cell in rows)),
        honest=tuple(dict.fromkeys(cell.condition.judge for cell in used)),
        groups=groups,
        left=max(0, len(rows) - MOST_LINES),
    )


def _answers(board: Board) -> list[Cell]:
    """Cells in which honest answers were scored, those of the primary judge first."""
    cells = [cell for cell in board.cells if "utility" in cell.summary.rates]
    return sorted(cells, key=lambda cell: cell.condition.judge != board.primary)


def _replies(cell: CellId) -> CellId:
    """What a cell's replies are, whoever judges them."""
    return replace(cell, judge="", scores="case")


def _line(cell: Cell, honest: Cell | None, board: Board) -> Line:
    attacked = None if honest is None or cell.role is Role.plain else honest.summary.robust_utility
    return Line(
        attack=cell.attack,
        access=access_text(cell.summary.id) if cell.role is Role.attack else "",
        role=cell.role,
        defense=cell.defense,
        goal=shown(cell.summary.success, "attacker_goal"),
        over=over_control(cell, board),
        robust_utility=shown(attacked, "utility"),
        utility=None if honest is None else shown(honest.summary.utility, "utility"),
        n=cell.success.n if cell.success is not None else 0,
    )


ROLES = {Role.attack: "", Role.plain: "no attack", Role.control: "control: "}


def text_rows(found: Injections) -> Iterator[tuple[str, Sequence[Sequence[str]]]]:
    """Each group's title with its rows, for a terminal: names, goal, both utilities, n."""
    for group in found.groups:
        rows = [["", "goal reached", "utility under attack", "utility", "n"]]
        for line in group.lines:
            name = "no attack" if line.role is Role.plain else ROLES[line.role] + label(line.attack)
            defense = "" if line.defense == "none" else f", defense {label(line.defense)}"
            rates = (line.goal, line.robust_utility, line.utility)
            rows.append([name + defense, *map(_text, rates), f"{line.n:,}"])
        yield f"Injection by a third party; {label(group.benchmark)}, {label(group.target)}", rows


def _text(rate: Shown | None) -> str:
    return (
        "-" if rate is None else f"{rate.text} {rate.interval}" if rate.point is not None else "none scored"
    )
