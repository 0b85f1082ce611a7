"""Figures of trainings: curves over steps, and the frontier over checkpoints with right answers as color."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sightline.counting import plural
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
from sightline.report.matrix import Plot, color_of, css
from sightline.report.text import label
from sightline.report.training import NOTES, PLAIN_SERIES, Condition, Step, Training, views

MOST_LINES = 6
MOST_LABELS = 12
MOST_PLOTS = 8
CURVES = {
    "refused": "restricted requests refused, %",
    "over_refusal": "over-refusal of benign requests, %",
    "right": "benign requests answered right, %",
}
SKILLS = "skills: questions answered right, %"
_WIDTH, _HEIGHT = 250, 200


def section(found: Training | None) -> dict[str, Any]:
    """What `training.html.j2` prints."""
    return {
        "training": found,
        "trained": views(found) if found else [],
        "trained_curves": [*curves(found), *doses(found)] if found else [],
        "trained_frontier": frontier(found) if found else [],
        "trained_notes": NOTES if found else (),
    }


def curves(found: Training) -> list[Plot]:
    """A figure of every condition, with a panel of each measure; x is the number of steps.

    Empty if only ends were measured.
    """
    names = found.with_checkpoints[:MOST_LINES]
    left = len(found.with_checkpoints) - len(names)
    plots = []
    for condition in found.conditions if names else ():
        panels = [
            _panel(points, names, title)
            for measure, title in CURVES.items()
            if (points := _points(found, names, condition, measure))
        ]
        if condition.series == PLAIN_SERIES and (points := _skill_points(found, names)):
            panels.append(_panel(points, names, SKILLS))
        if panels:
            what = f"By steps of training, {condition}; the numbers are in the table"
            notes = [f"{plural(left, 'more training', 'are')} in the table."] if left > 0 else []
            svg = render({"spacing": 30, "hconcat": panels}, what)
            plots.append(Plot(str(condition), svg, tuple(series_key(names)), tuple(notes)))
    return _first(plots)


def _first(plots: list[Plot]) -> list[Plot]:
    """As many as the page shows; the last of them says how many there are besides."""
    left = len(plots) - MOST_PLOTS
    if left <= 0:
        return plots
    last = plots[MOST_PLOTS - 1]
    note = f"{plural(left, 'more condition', 'are')} in the table."
    return [*plots[: MOST_PLOTS - 1], replace(last, notes=(*last.notes, note))]


def _points(found: Training, names: Sequence[str], condition: Condition, measure: str) -> list[Plain]:
    return [
        _point(each, *(100 * value for value in share))
        for each in found.steps
        if each.label in names and (share := each.share(condition, measure)) is not None
    ]


def _skill_points(found: Training, names: Sequence[str]) -> list[Plain]:
    """Categories count alike."""
    points = []
    for each in found.steps:
        rights = [skill.right for skill in each.skills.values()]
        if each.label in names and rights:
            points.append(
                _point(each, *(100 * sum(part) / len(rights) for part in zip(*rights, strict=True)))
            )
    return points


def _point(each: Step, mean: float, low: float, high: float) -> Plain:
    return {"series": each.label, "at": each.step, "y": mean, "low": low, "high": high}


def doses(found: Training) -> list[Plot]:
    """Of grids: measures at the end of training over the first factor that is a number.

    A line is a level of the next factor, a figure the levels of all others, under one condition.
    """
    ends = [each for each in found.steps if each.last and each.factors]
    together: dict[tuple[Condition, str], list[tuple[float, str, Step]]] = {}
    axis = ""
    for condition in found.conditions:
        for each in ends if condition.series == PLAIN_SERIES else ():
            axis = next((name for name, value in each.factors.items() if _number(value) is not None), "")
            if axis:
                others = [(name, value) for name, value in each.factors.items() if name != axis]
                line = others[0] if others else ("", each.label.partition(" [")[0])
                rest = ", ".join([each.label.partition(" [")[0], *(f"{n} {v}" for n, v in others[1:])])
                dose = _number(each.factors[axis]) or 0.0
                shown = " ".join(part for part in line if part)
                together.setdefault((condition, rest), []).append((dose, shown, each))
    plots = []
    for (condition, rest), members in together.items():
        names = list(dict.fromkeys(name for _, name, _ in members))[:MOST_LINES]
        panels = []
        for measure, title in CURVES.items():
            points = [
                {"series": name, "at": dose, "y": 100 * s.mean, "low": 100 * s.low, "high": 100 * s.high}
                for dose, name, each in members
                if name in names and (s := each.share(condition, measure)) is not None
            ]
            if points:
                panels.append(_panel(points, names, title, axis))
        if panels and len({dose for dose, _, _ in members}) > 1:
            what = f"By {axis}, {rest}: {condition}"
            svg = render({"spacing": 30, "hconcat": panels}, f"{what}; the numbers are in the table")
            plots.append(Plot(what, svg, tuple(series_key(names))))
    return _first(plots)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _panel(points: Sequence[Plain], names: Sequence[str], title: str, over: str = "steps") -> Plain:
    """Lines with the range over runs; steps on an axis in the logarithm of n + 10, doses of their roots."""
    steps = sorted({point["at"] for point in points})
    scale = {"type": "symlog", "constant": 10} if over == "steps" else {"type": "sqrt"}
    few = steps if len(steps) <= 6 else [0, 10, 50, 200, 1000]
    x = {
        "field": "at",
        "type": "quantitative",
        "title": label(over, 40),
        "scale": {**scale, "domain": [min(0, steps[0]), max(steps) or 1], "nice": False},
        "axis": {"values": few, "labelFontSize": 11} if few is steps or over == "steps" else {},
    }
    color, shape = by_series(names, SERIES), by_series(names, SHAPES)
    y = percent_axis("y", None)
    ranged = {"y": percent_axis("low", None), "y2": {"field": "high"}}
    return {
        "title": {"text": title, "anchor": "start", "color": "var(--ink)", "fontSize": 12},
        "width": _WIDTH,
        "height": _HEIGHT,
        "data": {"values": list(points)},
        "layer": [
            {"mark": RULE, "encoding": {"x": x, **ranged, "color": color}},
            {"mark": {"type": "line", "strokeWidth": 1.6}, "encoding": {"x": x, "y": y, "color": color}},
            {"mark": POINT, "encoding": {"x": x, "y": y, "color": color, "shape": shape}},
        ],
    }


def frontier(found: Training) -> list[Plot]:
    """1 - ASR against 1 - over-refusal, a panel of each condition; color is the share answered right."""
    names = found.labels[:MOST_LABELS]
    panels = [
        panel
        for condition in found.conditions
        if (panel := _frontier_panel(found, names, condition)) is not None
    ]
    if not panels:
        return []
    svg = render(
        {"spacing": 30, "columns": 2, "concat": panels[:MOST_PLOTS]},
        "Frontier over checkpoints: 1 - ASR against 1 - over-refusal; the numbers are in the tables",
    )
    key = tuple((f"{share} % answered right", css(color_of(share / 100))) for share in (0, 50, 100))
    notes = [
        "Up and to the right is better; a thin line joins the checkpoints of one training, whose end is "
        "named. Bars are the range over its runs."
    ]
    if len(found.labels) > len(names):
        notes.append(f"{plural(len(found.labels) - len(names), 'more training', 'are')} in the tables.")
    if len(panels) > MOST_PLOTS:
        notes.append(f"{plural(len(panels) - MOST_PLOTS, 'more condition', 'are')} in the tables.")
    return [Plot("1 − ASR against 1 − over-refusal, over checkpoints", svg, key, tuple(notes))]


def _frontier_panel(found: Training, names: Sequence[str], condition: Condition) -> Plain | None:
    values: list[Plain] = []
    for each in found.steps:
        asr, over = each.share(condition, "asr"), each.share(condition, "over_refusal")
        if each.label not in names or asr is None or over is None:
            continue
        right = each.share(condition, "right")
        values.append(
            {
                "series": each.label,
                "step": each.step,
                "x": 100 * (1 - over.mean),
                "x_low": 100 * (1 - over.high),
                "x_high": 100 * (1 - over.low),
                "y": 100 * (1 - asr.mean),
                "y_low": 100 * (1 - asr.high),
                "y_high": 100 * (1 - asr.low),
                "ink": "var(--card)" if right is None else css(color_of(right.mean)),
                "name": label(each.label, 24) if each.last else "",
                "where": "left" if over.mean < 0.4 else "right",
            }
        )
    if not values:
        return None
    across, up = "1 − over-refusal, %", "1 − ASR, %"
    x, y = percent_axis("x", across), percent_axis("y", up)
    series = {"field": "series", "type": "nominal"}
    shape = by_series(names, SHAPES)
    fill = {"field": "ink", "type": "nominal", "legend": None, "scale": None}
    soft = {**RULE, "color": "var(--soft)"}
    texts = [
        {
            "data": {"values": [value for value in values if value["where"] == where]},
            "mark": {"type": "text", "align": align, "dx": shift, "dy": -9, "fontSize": 11},
            "encoding": {"x": x, "y": y, "text": {"field": "name"}},
        }
        for where, align, shift in (("left", "right", -6), ("right", "left", 6))
    ]
    return {
        "title": {"text": str(condition), "anchor": "start", "color": "var(--ink)", "fontSize": 12},
        "width": 330,
        "height": 260,
        "data": {"values": values},
        "layer": [
            {"mark": soft, "encoding": {"x": x, "y": percent_axis("y_low", up), "y2": {"field": "y_high"}}},
            {
                "mark": soft,
                "encoding": {"x": percent_axis("x_low", across), "x2": {"field": "x_high"}, "y": y},
            },
            {
                "mark": {"type": "line", "color": "var(--soft)", "strokeWidth": 1, "strokeDash": [3, 3]},
                "encoding": {
                    "x": x,
                    "y": y,
                    "detail": series,
                    "order": {"field": "step", "type": "quantitative"},
                },
            },
            {
                "mark": {"type": "point", "size": 90, "filled": True, "opacity": 1, "stroke": "var(--ink)"},
                "encoding": {"x": x, "y": y, "fill": fill, "shape": shape},
            },
            *texts,
        ],
    }
