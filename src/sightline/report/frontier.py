"""The frontier of defenses: the highest ASR behind each against what it costs, one point per defense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightline.counting import plural
from sightline.metrics.rates import Rate
from sightline.report import defended, guards
from sightline.report.cells import Board
from sightline.report.defended import DefenseRow
from sightline.report.figures import Spot, scatter, series_key
from sightline.report.matrix import MOST_PLOTS, MOST_SPOTS, Plot
from sightline.report.panels import panels_svg
from sightline.report.results import Results
from sightline.report.text import label

UNAWARE, ADAPTIVE = "attacks that did not know the defense", "attacks that knew it (adaptive)"
HIGHEST = "highest ASR, % (lower is safer)"
Point = tuple[float, float]
COSTS = {
    "over_refusal": ("over-refusal of written twins, % (lower is better)", False),
    "utility": ("utility, % (higher is better)", True),
}


def frontier(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """The points (cost, ASR) that no other beats, by cost: none has a better cost at an ASR no higher."""
    best: list[Point] = []
    for x, y in sorted(set(points), key=lambda p: (-p[0] if higher_is_better else p[0], p[1])):
        if not best or y < best[-1][1]:
            best.append((x, y))
    return sorted(best)


def _percent(rate: Rate) -> tuple[float, float, float]:
    return 100 * (rate.point or 0.0), 100 * rate.low, 100 * rate.high


def _highest(row: DefenseRow) -> Rate | None:
    """The highest ASR that did not know the defense: of any attack, of plain requests without any."""
    rates = [worst.rate for worst in row.by_means.values()]
    if not rates and row.adaptive is None and row.plain is not None:
        rates = [row.plain]
    return max(rates, key=lambda rate: rate.point or 0.0, default=None)


def spots_of(rows: Sequence[DefenseRow], cost: str) -> list[Spot]:
    """A point for each defense and series of which ASR and cost were measured."""
    found = []
    for row in rows:
        price = row.utility if cost == "utility" else row.over_refusal
        if price is None or price.point is None:
            continue
        name = "undefended" if row.bare else label(row.defense, 28)
        adaptive = row.adaptive.rate if row.adaptive is not None else None
        for rate, series in ((_highest(row), UNAWARE), (adaptive, ADAPTIVE)):
            if rate is not None and rate.point is not None:
                found.append(Spot(name, series, _percent(price), _percent(rate), f"{rate.n:,}"))
    return found


def highest_by_defense(spots: Sequence[Spot]) -> list[Point]:
    """(cost, ASR) of each defense by the attack that reaches most, adaptive or not."""
    found: dict[str, Point] = {}
    for spot in spots:
        point = spot.x[0], spot.y[0]
        found[spot.name] = max(found.get(spot.name, point), point, key=lambda p: p[1])
    return list(found.values())


def frontiers(rows: Sequence[DefenseRow], primary: str) -> list[Plot]:
    """One plot per benchmark and target with a defense, by the primary judge."""
    found = []
    mine = [row for row in rows if row.judge == primary]
    for benchmark, target in dict.fromkeys((row.benchmark, row.target) for row in mine):
        here = [row for row in mine if (row.benchmark, row.target) == (benchmark, target)]
        measured = {cost: spots_of(here, cost) for cost in COSTS}
        drawn = {cost: spots[:MOST_SPOTS] for cost, spots in measured.items() if spots}
        if not drawn:
            continue
        series = list(dict.fromkeys(spot.series for spots in drawn.values() for spot in spots))
        panels: list[dict[str, Any]] = []
        for cost, spots in drawn.items():
            title, higher = COSTS[cost]
            panel = scatter(title, spots, series, y_title=None if panels else HIGHEST)
            line = frontier(highest_by_defense(spots), higher_is_better=higher)
            panel["layer"] = [_steps(line, higher=higher), *panel["layer"]]
            panels.append(panel)
        what = f"{label(target)} on {label(benchmark)}"
        said = f"Frontier of defenses: highest ASR against cost, {what}; numbers are in the table of defenses"
        svg = panels_svg(panels, said, spacing=36)
        notes = ["The line joins the defenses that no other beats in both."]
        bare = {row.defense for row in here if row.bare}
        unknown = [row.defense for row in here if row.adaptive is None and row.defense not in bare]
        if unknown:
            notes.append(f"{len(unknown)} of {len(here) - len(bare)} defenses: no attack knew it.")
        left = max(len(spots) - MOST_SPOTS for spots in measured.values())
        notes += [f"{plural(left, 'more point', 'are')} in the table."] if left > 0 else []
        found.append(Plot(what, svg, tuple(series_key(series)), tuple(notes)))
        if len(found) == MOST_PLOTS:
            break
    return found


def _steps(line: Sequence[Point], *, higher: bool) -> dict[str, object]:
    """The frontier as a step line."""
    shape = "step-before" if higher else "step-after"
    return {
        "data": {"values": [{"at": x, "reached": y} for x, y in line]},
        "mark": {"type": "line", "interpolate": shape, "color": "var(--soft)", "strokeDash": [4, 3]},
        "encoding": {
            "x": {"field": "at", "type": "quantitative"},
            "y": {"field": "reached", "type": "quantitative"},
        },
    }


def section(board: Board, results: Results, undefended: frozenset[str]) -> dict[str, Any]:
    """What `defended.html.j2` prints: tables of defenses and of their decisions, notes, frontiers."""
    rows = defended.defense_rows(board, defended.spent_by_defense(results))
    return {
        "defended": defended.views(rows, board.primary),
        "defended_notes": defended.NOTES,
        "guards": guards.views(guards.guard_rows(results, undefended), board.primary),
        "guard_heads": guards.HEADS,
        "guard_notes": guards.NOTES,
        "frontiers": frontiers(rows, board.primary),
    }
