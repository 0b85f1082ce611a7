"""Which numbers go into which figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sightline.metrics.rates import Rate
from sightline.report.board import Board, Cell, cells_under, conditions
from sightline.report.figures import Bar, Spot, composition, series_key, tradeoff
from sightline.report.roles import Role
from sightline.report.text import label

MOST_PLOTS = 6
MOST_SPOTS = 40
MOST_BARS = 60
PANELS = {
    "refuse": "Restricted requests",
    "comply": "Benign twins",
    "answer": "Utility questions",
    "classify": "Classification items",
}
NO_TRADEOFF = (
    "No trade-off can be drawn: it takes a defense, restricted requests under an attack, and benign twins or "
    "utility questions."
)


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn figure with its legend and what is to be said under it."""

    title: str
    svg: Markup
    key: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def _interval(rate: Rate | None) -> tuple[float, float, float] | None:
    if rate is None or rate.point is None:
        return None
    return 100 * rate.point, 100 * rate.low, 100 * rate.high


def _spots(cells: Sequence[Cell], cost: str) -> list[Spot]:
    spots = []
    for cell in cells:
        rate = cell.summary.utility if cost == "utility" else cell.summary.over_refusal
        x, y = _interval(rate), _interval(cell.success)
        if x is not None and y is not None:
            name = "undefended" if cell.bare else label(cell.defense, 28)
            spots.append(Spot(name, label(cell.attack, 40), x, y, str(cell.n)))
    return spots


def tradeoffs(board: Board) -> list[Plot]:
    """One plot per (benchmark, oracle, target) under the primary judge, where there is a defense."""
    found = []
    for condition in conditions(board.cells, board.primary):
        if condition.judge != board.primary:
            continue
        under = cells_under(condition, board.cells)
        for target in dict.fromkeys(cell.target for cell in under):
            cells = [c for c in under if c.target == target and c.role is not Role.control]
            if any(c.role is Role.attack for c in cells):
                cells = [c for c in cells if c.role is Role.attack]
            if all(c.bare for c in cells):
                continue
            panels, notes = {}, []
            for cost, title in (
                ("utility", "utility, % (higher is better)"),
                ("over_refusal", "over-refusal of benign twins, % (lower is better)"),
            ):
                spots = _spots(cells, cost)
                if spots:
                    panels[title] = spots[:MOST_SPOTS]
                else:
                    notes.append(
                        f"{cost.replace('_', '-').capitalize()} was not measured here: its panel is left out."
                    )
                if len(spots) > MOST_SPOTS:
                    notes.append(f"{len(spots) - MOST_SPOTS} more points are in the table.")
            if not panels:
                continue
            names = list(dict.fromkeys(spot.series for spots in panels.values() for spot in spots))
            what = f"{target} on {condition.benchmark}"
            svg = tradeoff(
                panels, f"ASR against the cost of each defense, {what}; the numbers are in the results table"
            )
            found.append(Plot(what, svg, tuple(series_key(names)), tuple(notes)))
    return found[:MOST_PLOTS]


def compositions(board: Board) -> list[Plot]:
    """Outcomes of every cell under the primary judge, one plot per (benchmark, target)."""
    found = []
    cells = [cell for cell in board.cells if cell.condition.judge == board.primary]
    for benchmark, target in dict.fromkeys((c.condition.benchmark, c.target) for c in cells):
        mine = sorted(
            (c for c in cells if (c.condition.benchmark, c.target) == (benchmark, target)),
            key=lambda c: c.role,
        )
        kinds = [kind for kind in PANELS if any(sum(c.summary.outcomes.get(kind, {}).values()) for c in mine)]
        bars = [
            Bar(label(f"{c.attack} · {c.defense}", 44), PANELS[kind], c.summary.outcomes.get(kind, {}))
            for c in mine[:MOST_BARS]
            for kind in kinds
        ]
        notes = []
        if len(mine) > MOST_BARS:
            notes.append(f"{len(mine) - MOST_BARS} more cells are in results.parquet.")
        if bars:
            what = f"{target} on {benchmark}"
            found.append(Plot(what, composition(bars, f"Outcomes of every cell, {what}"), (), tuple(notes)))
    return found[:MOST_PLOTS]
