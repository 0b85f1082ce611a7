"""Success against attack budget: curves, areas, the loss of each search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from sightline.metrics.cells import SPLITS, CellId, limits_of
from sightline.metrics.effort import Curve
from sightline.plain import artifact_of
from sightline.records import Artifact
from sightline.report.cells import Board, Cell, Role, access_text
from sightline.report.costs import price_text, whose
from sightline.report.crafted import Crafted, Made
from sightline.report.figures import (
    POINT,
    RULE,
    SERIES,
    SHAPES,
    Plain,
    by_series,
    percent_axis,
    render,
    series_key,
)
from sightline.report.making import loss_text
from sightline.report.results import Results
from sightline.report.search_figure import search
from sightline.report.text import MEASURE_NAMES, amount, as_percent, bracket, label, limits, quantity

MOST_COMPARISONS = 12
MOST_CURVES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaLine:
    """A curve in the table below a figure."""

    name: str
    made: str
    area: str
    interval: str
    levels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Curves that may be compared: one setting, one budgeted quantity."""

    title: str
    measure: str
    svg: Markup
    key: tuple[tuple[str, str], ...]
    lines: tuple[AreaLine, ...]
    notes: tuple[str, ...]


def comparisons(board: Board, curves: Sequence[Curve]) -> list[Comparison]:
    """Figure and table of all curves that share setting and budgeted quantity.

    By the primary judge, and by judges that score the attacker's goal. Curves on which success is defined at
    no level, as on questions that the judge grades, are left out.
    """
    place = {cell.summary.id: cell for cell in board.cells}
    mine = [
        curve
        for curve in curves
        if board.is_told(place[curve.levels[0].cell])
        and any(place[level.cell].summary.success is not None for level in curve.levels)
    ]
    together: dict[tuple[object, ...], list[Curve]] = {}
    for curve in mine:
        together.setdefault(curve.compared, []).append(curve)
    order = sorted(together.values(), key=lambda found: not place[found[0].levels[0].cell].bare)
    return [_comparison(found, place) for found in order[:MOST_COMPARISONS]]


def _name(curve: Curve) -> str:
    return f"{curve.series} ({SPLITS[curve.seen]} cases)" if curve.seen else curve.series


def _comparison(curves: Sequence[Curve], place: Mapping[CellId, Cell]) -> Comparison:
    cell = curves[0].levels[0].cell
    what = quantity(curves[0].quantity)
    defended = "" if place[cell].bare else f", defense {cell.defense}"
    measure = MEASURE_NAMES[curves[0].success]
    title = f"{cell.target} on {cell.benchmark}{defended}: {measure} by {what} per artifact"
    drawn = [curve for curve in curves if curve.seen != "seen"][:MOST_CURVES] or list(curves[:MOST_CURVES])
    names = [_name(curve) for curve in drawn]
    points = [
        CurvePoint(name, level.amount, 100 * rate.point, 100 * rate.low, 100 * rate.high)
        for curve, name in zip(drawn, names, strict=True)
        for level in curve.levels
        if (rate := place[level.cell].success) is not None and rate.point is not None
    ]
    notes = ["A level is the budget of one artifact; a universal picture is one artifact."]
    if curves[0].besides:
        notes.append(f"At every level also: {limits(curves[0].besides)}.")
    left_out = [_name(curve) for curve in curves if curve not in drawn]
    if left_out:
        notes.append(f"Only in the table: {', '.join(left_out)}.")
    if len(drawn) > 1:
        notes.append("Points of one level are shifted sideways, so that intervals do not overlap.")
    if any(place[level.cell].summary.seeds for curve in curves for level in curve.levels):
        notes.append("With several seeds, a point is their mean; intervals cover requests only.")
    if all(curve.area is None for curve in curves):
        notes.append("No areas: these curves share no range of budgets, or have unscored samples.")
    return Comparison(
        title=title,
        measure=measure,
        svg=equal_cost(
            points, names, what, label(f"{title}; the numbers are in the table below", 300), measure
        ),
        key=tuple(series_key(names)),
        lines=tuple(_area_line(curve, place) for curve in curves),
        notes=tuple(notes),
    )


def _area_line(curve: Curve, place: Mapping[CellId, Cell]) -> AreaLine:
    levels = []
    for level in curve.levels:
        rate = place[level.cell].success
        reached = "unscored" if rate is None or rate.point is None else as_percent(rate.point)
        levels.append(f"{amount(level.amount)}: {reached}")
    area = curve.area
    return AreaLine(
        name=_name(curve),
        made=whose(place[curve.levels[0].cell]),
        area="" if area is None else as_percent(area.point),
        interval=""
        if area is None
        else f"{bracket(area.low, area.high)} from {amount(area.first)} to {amount(area.last)}",
        levels=", ".join(levels),
    )


MOST_SEARCHES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimization:
    """One attack of the study at its largest budget. `svg` is None if no losses were recorded."""

    name: str
    access: str
    facts: tuple[str, ...]
    svg: Markup | None
    caption: str


def optimizations(board: Board, crafting: Mapping[Made, Crafted], results: Results) -> list[Optimization]:
    """Every attack of the study, once per benchmark and model that it was crafted on; losses of a first seed.

    Empty for a study without attacks that compute on a model.
    """
    if not crafting:
        return []
    chosen: dict[tuple[str, str, str], Cell] = {}
    for cell in board.cells:
        if cell.role is Role.attack and cell.condition.judge == board.primary:
            one = cell.summary.id  # the largest budget comes last
            chosen[cell.condition.benchmark, cell.series, one.crafted_on] = cell
    found = {place: _of(crafting, cell.summary.id) for place, cell in chosen.items()}
    keys = [next(iter(crafted.one.values())) for crafted in found.values() if crafted is not None]
    rows = results.records("craft", "key", keys[:MOST_SEARCHES])
    artifacts = {row["key"]: artifact_of(row) for row in rows}
    return [
        _optimization(cell, found[place], artifacts, several=len({name for name, *_ in chosen}) > 1)
        for place, cell in chosen.items()
    ]


def _of(crafting: Mapping[Made, Crafted], cell: CellId) -> Crafted | None:
    """The crafting cost of what the cell shows, on held-out cases if there are any."""
    made = Made.of(cell)
    return next(
        (crafting[at] for seen in ("unseen", "", "seen") if (at := made._replace(seen=seen)) in crafting),
        None,
    )


def _optimization(
    cell: Cell, crafted: Crafted | None, artifacts: Mapping[str, Artifact], *, several: bool
) -> Optimization:
    one = cell.summary.id
    name = f"{cell.series} · {one.benchmark}" if several else cell.series
    facts = [limits(limits_of(one.budget)) + " per artifact" if one.budget else "no budget"]
    if crafted is None:
        return Optimization(
            name=name, access=access_text(one), facts=("no model passes, no calls",), svg=None, caption=""
        )
    facts.append(f"cost {price_text(crafted)}")
    if cell.summary.seeds:
        facts.append(f"seeds {', '.join(seed.seed for seed in cell.summary.seeds)}")
    seed, key = next(iter(crafted.one.items()))
    artifact = artifacts.get(key)
    if artifact is None or not (artifact.trace or artifact.checks):
        return Optimization(name=name, access=access_text(one), facts=tuple(facts), svg=None, caption="")
    which = f"{label(cell.attack)}, seed {label(seed)}"
    described = f"Loss of one run: {which}; {loss_text(artifact)}"
    return Optimization(
        name=name,
        access=access_text(one),
        facts=tuple(facts),
        svg=search(artifact.trace, artifact.checks, described),
        caption=f"{which}: {loss_text(artifact)}",
    )


ASIDE = 0.012
"""How far points of one level stand apart, as a share of the axis."""


class CurvePoint(NamedTuple):
    """A series at a budget level: its success with the 95 % interval, in percent."""

    series: str
    amount: float
    reached: float
    low: float
    high: float


def equal_cost(
    points: Sequence[CurvePoint], names: Sequence[str], what: str, description: str, measure: str = "ASR"
) -> Markup:
    """Success (y) of each series at each budget level (x, logarithmic), with intervals.

    Args:
        points: all levels of all series.
        names: of the series, in the order of the legend.
        what: the budgeted quantity.
        description: what a reader who does not see the figure is told.
        measure: what success is.
    """
    amounts = sorted({point.amount for point in points})
    names = [label(name, 60) for name in names]
    span = amounts[-1] / amounts[0] if amounts else 1.0
    values = []
    for point in points:
        series = label(point.series, 60)
        aside = span ** (ASIDE * (names.index(series) - (len(names) - 1) / 2))
        values.append({**point._asdict(), "series": series, "amount": point.amount * aside})
    x: Plain = {
        "field": "amount",
        "type": "quantitative",
        "title": f"{what} per artifact at most (logarithmic)",
        "scale": {"type": "log", "nice": False, "padding": 16},
        "axis": {"values": amounts, "format": "~s", "grid": False},
    }
    y = percent_axis("reached", f"{measure}, %")
    shared = {"x": x, "y": y, "color": by_series(names, SERIES)}
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    layers = [
        {"mark": RULE, "encoding": {**shared, **ends}},
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": shared},
        {"mark": POINT, "encoding": {**shared, "shape": by_series(names, SHAPES)}},
    ]
    padding = {"left": 8, "right": 24, "top": 8, "bottom": 4}
    spec = {"width": 560, "height": 280, "padding": padding, "data": {"values": values}, "layer": layers}
    return render(spec, description)
