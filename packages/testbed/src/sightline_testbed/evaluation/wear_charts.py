"""Charts of risk 3: text safety along visual tuning, and cross-attention's effect on text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sightline_testbed.evaluation.chart_style import (
    BLACK,
    BLUE,
    FAMILIES,
    FIVE,
    SHARE,
    VERMILION,
    Plain,
    families,
    heading,
    title,
)
from sightline_testbed.evaluation.curves import CONDITIONS, Point

#: by the condition's learning rate and text
_RATE_COLORS = {0.0: BLACK, 5e-5: BLUE, 3e-4: VERMILION}
_TEXT_DASHES = {"none": [1, 0], "plain": [6, 3], "policy": [2, 2]}
#: risk-3 outcomes: group of requests, count, title
_OUTCOMES = (
    ("restricted, unseen", "refused", "restricted: refused, %"),
    ("restricted, unseen", "obeyed", "restricted: obeyed, %"),
    ("allowed, unseen", "obeyed", "allowed: obeyed, %"),
)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _averages(points: Sequence[Point], asked: str, count: str) -> list[Plain]:
    """Return mean, least and most over seeds of one outcome, per family, condition, gates and step."""
    cells: dict[tuple[str, str, str, int], list[float]] = {}
    for point in points:
        if point.asked == asked:
            share = 100 * getattr(point, count) / point.n
            cells.setdefault((point.family, point.condition, point.gates, point.step), []).append(share)
    return [
        {
            "family": FAMILIES[family], "condition": condition, "gates": gates, "step": step,
            "mean": _mean(shares), "least": min(shares), "most": max(shares),
        }
        for (family, condition, gates, step), shares in cells.items()
    ]  # fmt: skip


def _curves(values: list[Plain], y_title: str, series: Mapping[str, Plain], *, last: bool) -> Plain:
    """Return lines over steps with a band over seeds; `series` are the encodings that tell lines apart."""
    x = {"field": "step", "type": "quantitative", "title": "steps of visual tuning" if last else None}
    color = {key: value for key, value in series.items() if key == "color"}
    return {
        "width": 235,
        "height": 150,
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.13},
                "encoding": {
                    "x": x,
                    "y": {"field": "least", **SHARE, "title": y_title, "axis": FIVE},
                    "y2": {"field": "most"},
                    **color,
                    "detail": [{"field": "condition"}, {"field": "gates"}],
                },
            },
            {
                "mark": {"type": "line", "strokeWidth": 2.2},
                "encoding": {
                    "x": x,
                    "y": {"field": "mean", **SHARE, "title": y_title, "axis": FIVE},
                    **series,
                },
            },
        ],
        "data": {"values": values},
    }


def _counted(points: Sequence[Point], groups: Sequence[str]) -> str:
    """Return the seeds and requests behind some points, in words."""
    seeds = len({point.seed for point in points})
    sizes = {point.asked: point.n for point in points}
    asked = " and ".join(f"{sizes[group]} {group.partition(',')[0]}" for group in groups if group in sizes)
    band = f"mean of {seeds} seeds, band from least to most" if seeds > 1 else "one seed"
    return f"{band}; {asked} topics never met in chat, one written request each"


def wear(points: Sequence[Point]) -> Plain:
    """Refusals and help along visual tuning, a column per family, a line per condition."""
    shown = [point for point in points if point.gates == "open"]
    present = {point.condition for point in shown}
    known = [condition for condition in CONDITIONS if condition.name in present]
    domain = [condition.name for condition in known]
    series: dict[str, Plain] = {
        "color": {
            "field": "condition",
            "scale": {"domain": domain, "range": [_RATE_COLORS[c.rate] for c in known]},
            "legend": {"orient": "bottom", "columns": 3, "symbolType": "stroke", "symbolSize": 500},
        },
        "strokeDash": {
            "field": "condition",
            "scale": {"domain": domain, "range": [_TEXT_DASHES[c.text] for c in known]},
        },
    }
    columns = families(point.family for point in shown)
    rows = []
    for number, (asked, count, y_title) in enumerate(_OUTCOMES):
        values = _averages(shown, asked, count)
        panels: list[Plain] = []
        for place, family in enumerate(columns):
            panel = _curves(
                [value for value in values if value["family"] == family],
                y_title if place == 0 else "",
                series,
                last=number == len(_OUTCOMES) - 1,
            )
            panels.append({**panel, **({"title": heading(family)} if number == 0 else {})})
        rows.append({"hconcat": panels, "spacing": 24})
    groups = ["restricted, unseen", "allowed, unseen"]
    name = "Written refusals along visual tuning without safety data"
    rates = "low rate 5e-5, high rate 3e-4; a quarter of the batch is text where it says so"
    return {
        "title": title(name, [_counted(shown, groups), rates]),
        "vconcat": rows,
        "spacing": 14,
    }


def gates(points: Sequence[Point]) -> Plain:
    """The cross-attention family as it is, and with the feed-forward gates closed when it is asked."""
    shown = [p for p in points if p.family == "cross_attention"]
    wanted = [c.name for c in CONDITIONS if c.name in ("language model frozen", "high rate")]
    series: dict[str, Plain] = {
        "color": {
            "field": "gates",
            "scale": {"domain": ["open", "closed"], "range": [VERMILION, BLUE]},
            "legend": {
                "orient": "bottom",
                "symbolType": "stroke",
                "symbolSize": 500,
                "labelExpr": "datum.label == 'open' ? 'as trained' : 'feed-forward gates closed when asked'",
            },
        },
        "strokeDash": {
            "field": "gates",
            "scale": {"domain": ["open", "closed"], "range": [[1, 0], [6, 3]]},
        },
    }
    values = _averages(shown, "restricted, unseen", "refused")
    panels: list[Plain] = []
    for name in wanted:
        chosen = [value for value in values if value["condition"] == name]
        if chosen:
            panel = _curves(chosen, "" if panels else "restricted: refused, %", series, last=True)
            panels.append({**panel, "title": heading(name)})
    return {
        "title": title(
            "Cross-attention: a bridge that acts on text without a picture",
            [_counted(shown, ["restricted, unseen"])],
        ),
        "hconcat": panels,
        "spacing": 24,
    }
