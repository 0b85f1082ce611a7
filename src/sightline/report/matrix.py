"""Success by hazard and attack, defense trade-offs and outcomes: which numbers each overview shows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sightline import taxonomy
from sightline.counting import plural
from sightline.metrics.rates import Rate
from sightline.metrics.summary import Slice
from sightline.report.cells import Board, Cell, Role, cells_under, conditions
from sightline.report.figures import Bar, Spot, composition, series_key, tradeoff
from sightline.report.text import MEASURE_NAMES, as_percent, bracket, label, oracle_text

MOST_ROWS = 40
MOST_COLUMNS = 16
MOST_MAPS = 8
STOPS = ((0.0, (253, 246, 227)), (0.35, (246, 205, 130)), (0.7, (214, 113, 43)), (1.0, (110, 32, 8)))
"""Share -> sRGB: one hue whose lightness falls steadily, so it reads alike with any color vision."""
DARK, LIGHT = (0, 0, 0), (255, 255, 255)  # black or white: one of them has 4.58 : 1 on any ground

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class HeatCell:
    """`text` None: nothing was scored. `interval` is that of the rate, 95 %."""

    text: str | None
    n: int
    ground: str
    ink: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One hazard or category, a cell per attack (None: not run)."""

    hazard: str
    cells: tuple[HeatCell | None, ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One target under one judge and oracle."""

    benchmark: str
    judge: str
    oracle_text: str
    target: str
    attacks: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    notes: tuple[str, ...]
    measure: str


def color_of(share: float) -> Rgb:
    """The ground of a share in [0, 1]."""
    for (low, start), (high, end) in itertools.pairwise(STOPS):
        if share <= high:
            t = (share - low) / (high - low)
            red, green, blue = (round(a + t * (b - a)) for a, b in zip(start, end, strict=True))
            return red, green, blue
    return STOPS[-1][1]


def luminance(color: Rgb) -> float:
    """Relative luminance of an sRGB color (WCAG 2)."""
    parts = [c / 255 for c in color]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    """Contrast ratio of two colors (WCAG 2), 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink_on(ground: Rgb) -> Rgb:
    """Dark or white text, whichever is easier to read."""
    return max((DARK, LIGHT), key=lambda ink: contrast(ink, ground))


def css(color: Rgb) -> str:
    """A color as style sheets and figures write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def heat_cell(rate: Rate | None) -> HeatCell | None:
    """A rate on the ground of its share; None if nothing of its kind was asked."""
    if rate is None or rate.n + rate.unscored == 0:
        return None
    if rate.point is None:
        return HeatCell(None, rate.unscored, "", "")
    ground = color_of(rate.point)
    interval = bracket(rate.low, rate.high)
    return HeatCell(as_percent(rate.point), rate.n, css(ground), css(ink_on(ground)), interval)


def _kinds(slices: Sequence[Slice]) -> list[Slice]:
    """Slices by hazard where the benchmark has hazards, by its own category otherwise."""
    by_hazard = [each for each in slices if each.by == "hazard" and each.value and each.success]
    with_hazard = {each.id for each in by_hazard}
    return by_hazard + [
        each for each in slices if each.by == "category" and each.success and each.id not in with_hazard
    ]


def _named(value: str) -> str:
    """A hazard's name with its code; a benchmark's own category as it is."""
    known = taxonomy.hazards().get(value)
    return f"{known.name} ({value})" if known else value


def heatmaps(board: Board, slices: Sequence[Slice]) -> list[HeatMap]:
    """One map per (condition, target) of undefended cells; what does not fit is said in a note."""
    bare = {cell.summary.id for cell in board.cells if cell.bare}
    kinds = [each for each in _kinds(slices) if each.id in bare]
    maps, order = [], board.attack_order
    for condition in conditions(board.cells, board.primary):
        under = {cell.summary.id for cell in cells_under(condition, board.cells)}
        mine: dict[str, list[Slice]] = {}
        for each in kinds:
            if each.id in under:
                mine.setdefault(each.id.target, []).append(each)
        for target, slices_of in mine.items():
            cells = {(each.value, each.id.shown): each.success for each in slices_of}
            found = {attack for _, attack in cells}
            attacks = [attack for attack in order if attack in found]
            values = sorted({value for value, _ in cells})
            left = ((len(values) - MOST_ROWS, "rows"), (len(attacks) - MOST_COLUMNS, "attacks"))
            maps.append(
                HeatMap(
                    benchmark=condition.benchmark,
                    judge=condition.judge,
                    oracle_text=oracle_text(condition.oracle),
                    target=target,
                    attacks=tuple(attacks[:MOST_COLUMNS]),
                    rows=tuple(
                        HeatRow(
                            _named(value),
                            tuple(heat_cell(cells.get((value, a))) for a in attacks[:MOST_COLUMNS]),
                        )
                        for value in values[:MOST_ROWS]
                    ),
                    notes=tuple(f"{n} more {what} are not shown." for n, what in left if n > 0),
                    measure=MEASURE_NAMES[slices_of[0].id.success],
                )
            )
    return maps


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
    "No trade-off to show: that needs a defense, restricted requests under an attack, and benign twins or "
    "utility questions."
)


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its legend and notes."""

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
    found: list[Plot] = []
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
                        f"{cost.replace('_', '-').capitalize()} was not measured; its panel is left out."
                    )
                if len(spots) > MOST_SPOTS:
                    notes.append(f"{plural(len(spots) - MOST_SPOTS, 'more point', 'are')} in the table.")
            if not panels:
                continue
            names = list(dict.fromkeys(spot.series for spots in panels.values() for spot in spots))
            what = f"{target} on {condition.benchmark}"
            if len(found) == MOST_PLOTS:
                return found
            svg = tradeoff(
                panels, f"ASR against the cost of each defense, {what}; the numbers are in the results table"
            )
            found.append(Plot(what, svg, tuple(series_key(names)), tuple(notes)))
    return found


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
            Bar(
                label(f"{c.attack} · {c.defense}", 44),
                PANELS[kind],
                c.summary.outcomes.get(kind, {}),
                "" if kind == "refuse" or c.summary.id.scores == "attacker_goal" else "complied",
            )
            for c in mine[:MOST_BARS]
            for kind in kinds
        ]
        notes = []
        if len(mine) > MOST_BARS:
            notes.append(f"{plural(len(mine) - MOST_BARS, 'more cell', 'are')} in results.parquet.")
        if bars:
            what = f"{target} on {benchmark}"
            found.append(Plot(what, composition(bars, f"Outcomes of every cell, {what}"), (), tuple(notes)))
        if len(found) == MOST_PLOTS:
            break
    return found
