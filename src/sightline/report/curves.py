"""Line drawings of attacks: success against budget, and loss against the steps of one search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from sightline.report.figures import SERIES, SHAPES, Plain, render
from sightline.report.text import label

MOST_POINTS = 100
ASIDE = 0.012
"""How far points of one level stand apart, as a share of the axis."""


class CurvePoint(NamedTuple):
    """A series at a budget level: its success with the 95 % interval, in percent."""

    series: str
    amount: float
    reached: float
    low: float
    high: float


def _by_series(names: Sequence[str], choices: Sequence[str]) -> Plain:
    """An encoding that tells series apart."""
    values = [choices[number % len(choices)] for number in range(len(names))]
    scale = {"domain": list(names), "range": values}
    return {"field": "series", "type": "nominal", "legend": None, "scale": scale}


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
    x = {
        "field": "amount",
        "type": "quantitative",
        "title": f"{what} per artifact at most (logarithmic)",
        "scale": {"type": "log", "nice": False, "padding": 16},
        "axis": {"values": amounts, "format": "~s", "grid": False},
    }
    y = {
        "type": "quantitative",
        "title": f"{measure}, %",
        "scale": {"domain": [0, 100], "nice": False},
    }
    color = _by_series(names, SERIES)
    return render(
        {
            "width": 560,
            "height": 280,
            "padding": {"left": 8, "right": 24, "top": 8, "bottom": 4},
            "data": {"values": values},
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 1.4, "opacity": 0.6},
                    "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color},
                },
                {
                    "mark": {"type": "line", "strokeWidth": 2},
                    "encoding": {"x": x, "y": {**y, "field": "reached"}, "color": color},
                },
                {
                    "mark": {"type": "point", "size": 70, "filled": True, "opacity": 1},
                    "encoding": {
                        "x": x,
                        "y": {**y, "field": "reached"},
                        "color": color,
                        "shape": _by_series(names, SHAPES),
                    },
                },
            ],
        },
        description,
    )


def thinned(curve: Sequence[tuple[float, ...]], most: int = MOST_POINTS) -> list[tuple[float, ...]]:
    """At most `most` points of a curve, evenly among its own, first and last kept."""
    if len(curve) <= most:
        return list(curve)
    places = [round(number * (len(curve) - 1) / (most - 1)) for number in range(most)]
    return [curve[place] for place in places]


def search(
    trace: Sequence[tuple[int, float]], checks: Sequence[tuple[int, float, float]], description: str
) -> Markup:
    """The loss of one search by step: while training (line) and as a file (dots); the share forced below it.

    Args:
        trace: (step, training loss).
        checks: (step, loss of the probe, share of the probe's targets that would be written).
        description: what a reader who does not see the figure is told.
    """
    width = 300
    trained = [{"step": step, "loss": loss} for step, loss in thinned(trace)]
    judged = [{"step": step, "loss": loss, "forced": 100 * share} for step, loss, share in thinned(checks)]
    end = max((int(point["step"]) for point in (*trained, *judged)), default=0)
    scale = {"domain": [0, max(end, 1)], "nice": False}

    def axis(field: str, title: str | None, *, domain: Sequence[int] = ()) -> Plain:
        limited = {"scale": {"domain": list(domain), "nice": False}} if domain else {"scale": {"zero": False}}
        return {"field": field, "type": "quantitative", "title": title, "axis": {"tickCount": 3}, **limited}

    def steps(title: str | None) -> Plain:
        return {**axis("step", title), "scale": scale, "axis": {"tickCount": 4, "grid": False}}

    loss: Plain = {
        "width": width,
        "height": 90,
        "layer": [
            {
                "data": {"values": trained},
                "mark": {"type": "line", "strokeWidth": 1.2, "color": SERIES[1], "opacity": 0.75},
                "encoding": {"x": steps(None), "y": axis("loss", "loss")},
            },
            {
                "data": {"values": judged},
                "mark": {"type": "point", "filled": True, "size": 18, "color": SERIES[0], "opacity": 1},
                "encoding": {"x": steps(None), "y": axis("loss", "loss")},
            },
        ],
    }
    panels = [loss]
    if any(point["forced"] for point in judged):
        panels.append(
            {
                "width": width,
                "height": 50,
                "data": {"values": judged},
                "mark": {"type": "line", "strokeWidth": 1.6, "color": SERIES[0]},
                "encoding": {"x": steps("step"), "y": axis("forced", "forced, %", domain=(0, 100))},
            }
        )
    else:
        loss["layer"][0]["encoding"]["x"] = steps("step")
    return render({"spacing": 8, "vconcat": panels}, description)
