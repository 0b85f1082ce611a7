"""Crafted on one model, answered by another: a matrix of success with the strongest control in the margin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightline.metrics.cells import CellId, limits_of, method_of, models_of
from sightline.metrics.contrast import Contrast
from sightline.report.cells import Board, Cell
from sightline.report.differences import interval_text
from sightline.report.matrix import HeatCell, heat_cell
from sightline.report.text import MEASURE_NAMES, label, points

MOST_ROWS = 40
MOST_COLUMNS = 16
MOST_MATRICES = 8
NOTE = (
    "A row is what was crafted on the models that it names, at its largest budget; a column is the model "
    "that answers, undefended. Outlined: crafted on the model that answers. The last row is the control of "
    "these attacks that reaches most on the model. Clear on other models: on how many the paired 95 % "
    "interval of the difference to the strongest control is above zero, not adjusted for their number."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCell:
    """A rate of the matrix; `own`: the model was crafted on. `over` is the difference to `control`."""

    heat: HeatCell
    own: bool
    over: str
    control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRow:
    """What was crafted on some models, a cell per target (None: not run), and how far it reaches beyond."""

    models: str
    attack: str
    cells: tuple[TransferCell | None, ...]
    clear: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """All attacks of one benchmark by one judge; `controls` are (name, rate) of the margin, by target."""

    benchmark: str
    judge: str
    measure: str
    targets: tuple[str, ...]
    rows: tuple[TransferRow, ...]
    controls: tuple[tuple[str, HeatCell] | None, ...]
    sentence: str
    notes: tuple[str, ...]


def matrices(board: Board) -> list[Matrix]:
    """A matrix per (judge, benchmark) in which an attack meets a model that it was not crafted on."""
    places: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in board.bare_attacks:
        where = cell.condition
        if cell.summary.success:
            places[where.judge, where.benchmark, where.release].append(cell)
    made = (_matrix(attacks, board) for attacks in places.values())
    return [matrix for matrix in made if matrix is not None]


Row = dict[str, Cell]


def _rows(cells: Sequence[Cell]) -> list[Row]:
    """By what they were crafted on and their series, cells by target, those of the largest budget.

    Rows that no other model answers are left out.
    """
    found: dict[tuple[str, ...], Row] = defaultdict(dict)
    for cell in sorted(cells, key=lambda each: limits_of(each.summary.id.budget)):
        one = cell.summary.id
        if one.own is not None:
            found[method_of(one.attack_params), cell.series, one.crafted_on, one.seen][cell.target] = cell
    return [row for row in found.values() if _others(row)]


def _matrix(cells: Sequence[Cell], board: Board) -> Matrix | None:
    rows = _rows(cells)
    if not rows:
        return None
    targets = list(dict.fromkeys(cell.target for cell in cells if any(cell.target in row for row in rows)))
    over = {
        cell.summary.id: contrast
        for row in rows
        for cell in row.values()
        if (contrast := board.over_control(cell)) is not None
    }
    known = {cell.summary.id: cell for cell in board.cells}
    shown_targets = targets[:MOST_COLUMNS]
    first = cells[0]
    others = [cell for row in rows for cell in _others(row)]
    left = ((len(rows) - MOST_ROWS, "rows"), (len(targets) - MOST_COLUMNS, "targets"))
    return Matrix(
        benchmark=first.condition.benchmark,
        judge=first.condition.judge,
        measure=MEASURE_NAMES[first.summary.id.success],
        targets=tuple(shown_targets),
        rows=tuple(_row(row, shown_targets, over) for row in rows[:MOST_ROWS]),
        controls=tuple(_margin(target, rows, over, known) for target in shown_targets),
        sentence=_sentence(_compared(others, over), len(others)),
        notes=tuple(f"{n} more {what} are in results.parquet." for n, what in left if n > 0),
    )


def _others(row: Row) -> list[Cell]:
    """Cells of models that were not crafted on."""
    return [cell for cell in row.values() if cell.summary.id.own is False]


def _compared(cells: Sequence[Cell], over: Mapping[CellId, Contrast]) -> list[Contrast]:
    return [over[cell.summary.id] for cell in cells if cell.summary.id in over]


def _row(row: Row, targets: Sequence[str], over: Mapping[CellId, Contrast]) -> TransferRow:
    first = next(iter(row.values()))
    compared = _compared(_others(row), over)
    return TransferRow(
        models=" + ".join(models_of(first.summary.id.crafted_on)),
        attack=first.attack,
        cells=tuple(_cell(row.get(target), over) for target in targets),
        clear=f"{_clear(compared)} of {len(compared)}" if compared else "no control",
    )


def _cell(cell: Cell | None, over: Mapping[CellId, Contrast]) -> TransferCell | None:
    heat = None if cell is None else heat_cell(cell.summary.success)
    if cell is None or heat is None:
        return None
    contrast = over.get(cell.summary.id)
    return TransferCell(
        heat=heat,
        own=cell.summary.id.own is True,
        over="" if contrast is None else f"{points(contrast.point)} {interval_text(contrast)}",
        control="" if contrast is None else label(contrast.base.shown),
    )


def _margin(
    target: str, rows: Sequence[Row], over: Mapping[CellId, Contrast], known: Mapping[CellId, Cell]
) -> tuple[str, HeatCell] | None:
    """The strongest control of any attack on a target; None if none was scored."""
    met = [row[target].summary.id for row in rows if target in row]
    bases = [known[over[cell].base] for cell in met if cell in over and over[cell].base in known]
    scored = [base for base in bases if base.success is not None]
    if not scored:
        return None
    best = max(scored, key=lambda base: base.reached)
    heat = heat_cell(best.success)
    return None if heat is None else (best.attack, heat)


def _clear(contrasts: Sequence[Contrast]) -> int:
    return sum(contrast.pairs > 0 and contrast.low > 0 for contrast in contrasts)


def _sentence(compared: Sequence[Contrast], others: int) -> str:
    """How many pairs of different models show more than a control."""
    what = "pair" if others == 1 else "pairs"
    if not compared:
        return f"{others} {what} of different models; no control was run, so nothing is said of transfer."
    return (
        f"In {_clear(compared)} of {len(compared)} pairs of different models, what was crafted on one "
        "clearly reaches more on the other than the strongest control does."
    )


def section(board: Board) -> dict[str, object]:
    """What `transfer.html.j2` prints."""
    return {"transfers": matrices(board)[:MOST_MATRICES], "transfer_note": NOTE}
