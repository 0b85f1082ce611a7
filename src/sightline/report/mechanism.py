"""Attacks beside their controls: what the same requests do without what the attack adds, one panel each.

Every row of a panel is of the same target, undefended, and of the same requests; differences are paired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightline import registry
from sightline.errors import UsageError
from sightline.metrics.cells import CellId, method_of
from sightline.metrics.contrast import Contrast
from sightline.report.cells import Board, Cell, Role, is_typed_twin
from sightline.report.differences import interval_text
from sightline.report.tables import Shown, shown
from sightline.report.text import MEASURE_NAMES, few, label, points

MOST_GROUPS = 12
MOST_PANELS = 8
NOTE = (
    "An effect is the attack's own only as far as no control shows it: what a control reaches too, the "
    "attack reaches without what that control leaves out. Differences are attack minus row on the same "
    "requests, with paired 95 % intervals, not adjusted for the number of rows. Dashed: strongest control."
)
TWIN = "the same words, typed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a panel: the attack, a control or the plain request; `over` '' where nothing was paired.

    `what` is '' for the attack and for controls of every attack, whose names say it.
    """

    name: str
    what: str
    role: Role
    rate: Shown | None
    strongest: bool = False
    over: str = ""
    over_interval: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One attack with its controls; `line` is the share that the strongest control reaches, None for none."""

    attack: str
    verdict: str
    rows: tuple[Row, ...]
    line: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The panels of one target by one judge, strongest attack first; `left` do not fit."""

    target: str
    benchmark: str
    judge: str
    measure: str
    panels: tuple[Panel, ...]
    left: int
    alone: str


def groups(board: Board) -> list[Group]:
    """A group per (judge, benchmark, target), the primary judge and judges of the attacker's goal alone."""
    against = _against(board.contrasts)
    cells = {cell.summary.id: cell for cell in board.cells}
    places: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in board.bare_attacks:
        where = cell.condition
        if cell.success is not None:
            places[where.judge, where.benchmark, where.release, cell.target].append(cell)
    found = [_group(attacks, against, cells) for attacks in places.values()]
    return [group for group in found if group.panels]


Against = Mapping[CellId, Sequence[Contrast]]


def _against(contrasts: Sequence[Contrast]) -> Against:
    """The comparisons of success that each cell has with its controls and with the plain request."""
    found: dict[CellId, list[Contrast]] = defaultdict(list)
    for contrast in contrasts:
        if contrast.kind in ("control", "attack") and contrast.measure == contrast.cell.success:
            found[contrast.cell].append(contrast)
    return found


def _group(attacks: Sequence[Cell], against: Against, cells: Mapping[CellId, Cell]) -> Group:
    """Of a series the budget that reaches most; attacks without a control are named, not drawn."""
    best: dict[tuple[str, str], Cell] = {}
    for cell in sorted(attacks, key=lambda cell: cell.reached, reverse=True):
        best.setdefault((cell.series, cell.summary.id.crafted_on), cell)
    panels, alone = [], []
    for cell in best.values():
        paired = [c for c in against.get(cell.summary.id, ()) if c.base in cells]
        if any(contrast.kind == "control" for contrast in paired):
            panels.append(_panel(cell, paired, cells))
        else:
            alone.append(label(cell.attack))
    first = attacks[0]
    return Group(
        target=first.target,
        benchmark=first.condition.benchmark,
        judge=first.condition.judge,
        measure=MEASURE_NAMES[first.summary.id.success],
        panels=tuple(panels[:MOST_PANELS]),
        left=max(0, len(panels) - MOST_PANELS),
        alone=f"No control was run for {few(alone)}: nothing says what makes it work." if alone else "",
    )


def _panel(cell: Cell, paired: Sequence[Contrast], cells: Mapping[CellId, Cell]) -> Panel:
    """The attack, its own controls, those of every attack, and the plain request, in the study's order."""
    one = cell.summary.id
    strongest = next((c for c in paired if c.kind == "control" and c.strongest), None)
    ordered = sorted(paired, key=lambda c: (c.kind != "control", not is_typed_twin(c.base, one)))
    rows = [Row(name=cell.attack, what="", role=Role.attack, rate=shown(cell.success, one.success))]
    for contrast in ordered:
        base = cells[contrast.base]
        rows.append(
            Row(
                name=base.attack,
                what=TWIN if is_typed_twin(contrast.base, one) else "",
                role=base.role,
                rate=shown(base.summary.success, one.success),
                strongest=contrast is strongest,
                over=points(contrast.point) if contrast.pairs else "",
                over_interval=interval_text(contrast) if contrast.pairs else "",
            )
        )
    line = cells[strongest.base].reached if strongest is not None else None
    return Panel(attack=cell.attack, verdict=_verdict(strongest), rows=tuple(rows), line=line)


def _verdict(strongest: Contrast | None) -> str:
    """What is left of the attack after its strongest control, in words."""
    if strongest is None:
        return "no control was scored"
    if not strongest.is_clear:
        return f"not clearly different from {label(strongest.base.shown)}"
    more = "more" if strongest.point > 0 else "less"
    return f"clearly {more} than {label(strongest.base.shown)}, its strongest control"


def what_it_shows(spec: str) -> str:
    """What a control shows to the target, as its card says it; '' if it is not installed."""
    try:
        return registry.card("attack", method_of(spec)).summary.removeprefix("Control: ")
    except UsageError:
        return ""


def kinds(board: Board) -> dict[str, str]:
    """What each control of a run shows to the target, by its name."""
    specs = {cell.attack: cell.summary.id.attack_params for cell in board.cells if cell.role is Role.control}
    return {name: told for name, spec in specs.items() if (told := what_it_shows(spec))}


def section(board: Board) -> dict[str, object]:
    """What `mechanism.html.j2` prints."""
    found = groups(board)
    return {
        "mechanisms": found[:MOST_GROUPS],
        "mechanism_note": NOTE,
        "mechanisms_left": max(0, len(found) - MOST_GROUPS),
        "control_kinds": kinds(board),
        "n_mechanisms": sum(len(group.panels) + group.left for group in found),
    }
