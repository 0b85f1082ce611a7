"""Figures as inline SVG: drawn once by Vega-Lite without a browser, colored by the page's own variables.

Colors are CSS variables, so one drawing serves light and dark pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from sightline.records import Outcome
from sightline.report.arrows import Point, arrows, shared_names
from sightline.report.inline_svg import FONT, inline_svg
from sightline.report.panels import panels_svg
from sightline.report.text import label

OUTCOME_ORDER = (
    Outcome.complied,
    Outcome.partial,
    Outcome.off_topic,
    Outcome.refused,
    Outcome.blocked_provider,
    Outcome.blocked_defense,
    Outcome.unparsed,
    Outcome.error,
)
OUTCOME_INK = dict.fromkeys(("complied", "refused", "blocked_defense", "error"), "var(--on-dark)")
SERIES = tuple(f"var(--series-{number})" for number in range(1, 7))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")


Plain = dict[str, Any]
RULE: Plain = {"type": "rule", "strokeWidth": 1.4, "opacity": 0.6}
POINT: Plain = {"type": "point", "size": 70, "filled": True, "opacity": 1}
_HALO: Plain = {"stroke": "var(--card)", "strokeWidth": 4, "strokeJoin": "round"}
_LABEL_WIDTH = 34  # percent of the axis that a name may take
_FARTHEST = 2.5  # heights of a line that a name may stand away from its point


class Dot(NamedTuple):
    """A value with its 95 % interval."""

    name: str
    at: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bar:
    """Outcome counts of one cell and one kind of request; `n` is their sum.

    `right` is the outcome that is right there, so that it is not drawn in the color of harm; '' for none.
    """

    row: str
    panel: str
    counts: Mapping[str, int]
    right: str = ""

    @property
    def n(self) -> int:
        """All samples, scored or not."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Spot:
    """A point with 95 % intervals on both axes, in percent."""

    name: str
    series: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    n: str


def render(spec: Plain, description: str) -> Markup:
    """A Vega-Lite drawing in the page's colors and type, as markup."""
    import vl_convert

    drawing = vl_convert.vegalite_to_svg({**spec, "config": _CONFIG}, allowed_base_urls=[])
    return inline_svg(drawing, description)


_CONFIG: Plain = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--soft)", "titleColor": "var(--ink)", "gridColor": "var(--line)",
        "domainColor": "var(--line)", "tickColor": "var(--line)", "labelFontSize": 12, "titleFontSize": 13,
        "titleFontWeight": "normal", "labelLimit": 320, "labelFlush": False, "labelFont": FONT,
        "titleFont": FONT,
    },
    "text": {"color": "var(--ink)", "font": FONT},
}  # fmt: skip


def composition(bars: Sequence[Bar], description: str) -> Markup:
    """Stacked shares of all eight outcomes: one row per cell, one panel per kind of request."""
    panels = list(dict.fromkeys(bar.panel for bar in bars))
    order = list(dict.fromkeys(bar.row for bar in bars))
    width = max(180, 620 // len(panels))
    drawn = [
        _panel([bar for bar in bars if bar.panel == panel], order, width, names=number == 0)
        for number, panel in enumerate(panels)
    ]
    return panels_svg(drawn, description, spacing=16)


def _segments(bar: Bar, width: int) -> list[Plain]:
    """Where each outcome of a bar begins and ends, in percent; a count is printed where it has room."""
    segments, start = [], 0.0
    for outcome in (o.value for o in OUTCOME_ORDER):
        count = bar.counts.get(outcome, 0)
        share = 100 * count / bar.n if bar.n else 0.0
        room = share * width / 100 > 9 * len(str(count))
        if count:
            segments.append(
                {
                    "row": bar.row,
                    "outcome": outcome,
                    "from": start,
                    "to": start + share,
                    "middle": start + share / 2,
                    "text": str(count) if room else "",
                }
            )
        start += share
    return segments


def _panel(bars: Sequence[Bar], order: Sequence[str], width: int, *, names: bool) -> Plain:
    outcomes, right = [outcome.value for outcome in OUTCOME_ORDER], bars[0].right
    y = {
        "field": "row",
        "type": "nominal",
        "title": None,
        "scale": {"domain": order},
        "axis": {"labels": names},
    }
    x = {
        "field": "from",
        "type": "quantitative",
        "title": "% of samples",
        "scale": {"domain": [0, 100], "nice": False},
        "axis": {"values": [0, 25, 50, 75, 100]},
    }
    color = {
        "field": "outcome",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": outcomes, "range": [f"var(--{'right' if o == right else o})" for o in outcomes]},
    }
    inks = ["#111" if o == right else OUTCOME_INK.get(o, "#111") for o in outcomes]
    ink = {**color, "scale": {"domain": outcomes, "range": inks}}
    pieces = {"values": [segment for bar in bars for segment in _segments(bar, width)]}
    sums = {
        "values": [
            {"row": bar.row, "at": 101, "text": f"n = {bar.n:,}" if bar.n else "not asked"} for bar in bars
        ]
    }
    return {
        "title": {"text": bars[0].panel},
        "width": width,
        "height": {"step": 24},
        "layer": [
            {
                "data": pieces,
                "mark": {"type": "bar", "height": 16, "stroke": "var(--card)", "strokeWidth": 0.7},
                "encoding": {"y": y, "x": x, "x2": {"field": "to"}, "color": color},
            },
            {
                "data": pieces,
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {"y": y, "x": {**x, "field": "middle"}, "text": {"field": "text"}, "color": ink},
            },
            {
                "data": sums,
                "mark": {
                    "type": "text",
                    "align": "left",
                    "fontSize": 11,
                    "color": "var(--soft)",
                },
                "encoding": {"y": y, "x": {**x, "field": "at"}, "text": {"field": "text"}},
            },
        ],
    }


def _spread(spots: Sequence[Spot], gap: float) -> list[float]:
    """Heights for labels so that two labels with overlapping abscissas are at least `gap` apart.

    Labels of the upper half move down, those of the lower half up, so that none falls off the axis.
    """
    placed: list[tuple[float, float]] = []
    heights = [0.0] * len(spots)

    def taken(x: float, y: float) -> bool:
        return any(abs(y - other) < gap - 1e-9 and abs(x - at) < _LABEL_WIDTH for at, other in placed)

    upper = sorted((i for i, s in enumerate(spots) if s.y[0] >= 50), key=lambda i: -spots[i].y[0])
    lower = sorted((i for i, s in enumerate(spots) if s.y[0] < 50), key=lambda i: spots[i].y[0])
    for index in (*upper, *lower):
        x, height = spots[index].x[0], spots[index].y[0]
        step = gap / 4 if height < 50 else -gap / 4
        while taken(x, height):
            height += step
        heights[index] = height
        placed.append((x, height))
    return heights


def tradeoff(panels: Mapping[str, Sequence[Spot]], description: str) -> Markup:
    """ASR (y) against what a defense costs (x), one panel per cost, both with 95 % intervals."""
    series = list(dict.fromkeys(spot.series for spots in panels.values() for spot in spots))
    drawn = [
        scatter(title, spots, series, y_title="ASR, % (lower is safer)" if number == 0 else None)
        for number, (title, spots) in enumerate(panels.items())
    ]
    return panels_svg(drawn, description, spacing=36)


def percent_axis(field: str, title: str | None) -> Plain:
    """An encoding on an axis from 0 to 100."""
    scale = {"domain": [0, 100], "nice": False}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale}


def by_series(names: Sequence[str], choices: Sequence[str]) -> Plain:
    """An encoding that gives each series its own color or shape."""
    scale = {"domain": list(names), "range": [choices[n % len(choices)] for n in range(len(names))]}
    return {"field": "series", "type": "nominal", "legend": None, "scale": scale}


def scatter(title: str, spots: Sequence[Spot], series: Sequence[str], y_title: str | None) -> Plain:
    """One panel of points with their intervals and names; `title` is that of the lower axis."""
    width, height = 400, 320
    places = [Point(spot.name, spot.series, spot.x[0], spot.y[0]) for spot in spots]
    x, y = percent_axis("x", title), percent_axis("y", y_title)
    color, shape = by_series(series, SERIES), by_series(series, SHAPES)
    names = shared_names(places)
    named = [number for number, name in enumerate(names) if name]
    gap = 100 * 14 / height
    heights = dict(zip(named, _spread([spots[number] for number in named], gap), strict=True))
    for number, at in heights.items():
        if abs(at - spots[number].y[0]) > _FARTHEST * gap:
            names[number] = ""  # no room near its point: the table names it
    values: list[Plain] = [
        {
            "name": name,
            "series": spot.series,
            **dict(zip(("x", "x_low", "x_high"), spot.x, strict=True)),
            **dict(zip(("y", "y_low", "y_high"), spot.y, strict=True)),
            "label_y": heights.get(number, spot.y[0]),
        }
        for number, (spot, name) in enumerate(zip(spots, names, strict=True))
    ]
    layers: list[Plain] = [
        {
            "mark": RULE,
            "encoding": {
                "x": x,
                "y": percent_axis("y_low", y_title),
                "y2": {"field": "y_high"},
                "color": color,
            },
        },
        {
            "mark": RULE,
            "encoding": {
                "x": percent_axis("x_low", title),
                "x2": {"field": "x_high"},
                "y": y,
                "color": color,
            },
        },
        {
            "mark": POINT,
            "encoding": {"x": x, "y": y, "color": color, "shape": shape},
        },
    ]
    sides = (
        ("left", 9, [v for v in values if v["x"] <= 60 and v["name"]]),
        ("right", -9, [v for v in values if v["x"] > 60 and v["name"]]),
    )
    layers += [
        {
            "data": {"values": named},
            "mark": {"type": "text", "align": align, "dx": shift, "dy": -11, "fontSize": 12, **halo},
            "encoding": {
                "x": x,
                "y": percent_axis("label_y", y_title),
                "text": {"field": "name"},
                "color": color,
            },
        }
        for align, shift, named in sides
        for halo in (_HALO, {})
    ]
    layers = [*arrows(places, width, height), *layers]
    return {"width": width, "height": height, "data": {"values": values}, "layer": layers}


def intervals(dots: Sequence[Dot], x: Plain, description: str, *, zero: bool = False) -> Markup:
    """One point to a row with its 95 % interval, in the order given; `zero`: with a line at 0.

    Args:
        dots: names, which must differ, with values in percent or percentage points.
        x: encoding of the field `at`.
        description: for those who do not see the figure.
        zero: see above.
    """
    names = [dot.name for dot in dots]
    axis = {"labelLimit": 520}
    y: Plain = {"field": "name", "type": "nominal", "sort": names, "title": None, "axis": axis}
    ends: Plain = {"x": {**x, "field": "low"}, "x2": {"field": "high"}}
    ink = {"color": SERIES[0]}
    layers: list[Plain] = [
        {"mark": {**RULE, **ink}, "encoding": {"y": y, **ends}},
        {"mark": {**POINT, **ink}, "encoding": {"y": y, "x": x}},
    ]
    if zero:
        line = {"type": "rule", "color": "var(--soft)"}
        at: Plain = {"x": {**x, "field": "zero"}}
        layers.insert(0, {"data": {"values": [{"zero": 0}]}, "mark": line, "encoding": at})
    size: Plain = {"width": 460, "height": 18 * len(dots) + 10}
    values = [dot._asdict() for dot in dots]
    return render({**size, "data": {"values": values}, "layer": layers}, description)


def series_key(names: Sequence[str]) -> list[tuple[str, str]]:
    """(name, color) of each series of a trade-off figure, for a legend beside it."""
    return [(label(name), SERIES[number % len(SERIES)]) for number, name in enumerate(names)]
