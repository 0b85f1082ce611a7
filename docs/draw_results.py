"""Draw the charts of studies.md and testbed_smol_eyes.md from docs/results: `python docs/draw_results.py`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
CURVE = ("cpu_s", "letters", "exact", "pages", "low", "high")


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def judges(path: Path) -> dict[str, Any]:
    """Kendall's tau of the cells' rankings by each pair of judges, the highest first."""
    rows = [row for row in table(path) if row["tau"]]
    values = [{"pair": f"{row['judge']} - {row['other']}", "tau": float(row["tau"])} for row in rows]
    values.sort(key=lambda value: -value["tau"])
    order = [value["pair"] for value in values]
    axis = {"labelLimit": 520}
    return {
        "background": "white",
        "width": 300,
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "rule", "color": "#999999"},
                "encoding": {"x": {"datum": 0.8, "type": "quantitative"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "color": "#2a6f97"},
                "encoding": {
                    "y": {"field": "pair", "type": "nominal", "sort": order, "title": None, "axis": axis},
                    "x": {
                        "field": "tau",
                        "type": "quantitative",
                        "title": "Kendall's tau-b of the rankings; expected below the line at .8",
                        "scale": {"domain": [0, 1]},
                    },
                },
            },
        ],
    }


def items(path: Path) -> dict[str, Any]:
    """Discrimination of each item by its difficulty; below .3 an item tells systems hardly apart."""
    rows = [row for row in table(path) if row["discrimination"]]
    values = [{name: float(row[name]) for name in ("difficulty", "discrimination")} for row in rows]

    def axis(name: str, title: str) -> dict[str, Any]:
        return {
            "field": name,
            "type": "quantitative",
            "title": title,
            "scale": {"zero": name != "difficulty"},
        }

    return {
        "background": "white",
        "width": 300,
        "height": 200,
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "rule", "color": "#999999"},
                "encoding": {"y": {"datum": 0.3, "type": "quantitative"}},
            },
            {
                "mark": {"type": "point", "size": 60, "color": "#2a6f97"},
                "encoding": {
                    "x": axis("difficulty", "difficulty (b)"),
                    "y": axis("discrimination", "discrimination (a)"),
                },
            },
        ],
    }


def sensitivity(path: Path) -> dict[str, Any]:
    """The share of restricted requests that are refused, wordings by system prompts."""
    values = [{**row, "refused": 100 * float(row["refused"])} for row in table(path)]
    place = {
        "x": {"field": "system_prompt", "type": "nominal", "title": None, "axis": {"labelAngle": 0}},
        "y": {"field": "wording", "type": "nominal", "title": None},
    }
    color = {
        "field": "refused",
        "type": "quantitative",
        "title": "refused, %",
        "scale": {"domain": [70, 100]},
    }
    text = {"field": "refused", "type": "quantitative", "format": ".0f"}
    ink = {"condition": {"test": "datum.refused > 88", "value": "white"}, "value": "black"}
    return {
        "background": "white",
        "width": 300,
        "data": {"values": values},
        "layer": [
            {"mark": "rect", "encoding": {**place, "color": color}},
            {"mark": "text", "encoding": {**place, "text": text, "color": ink}},
        ],
    }


def data_mix(path: Path) -> dict[str, Any]:
    """Typed restricted requests that are refused, by steps of training on allowed topics alone."""
    values = [{**row, "share": 100 * int(row["refused"]) / int(row["topics"])} for row in table(path)]
    return {
        "background": "white",
        "width": 320,
        "height": 200,
        "data": {"values": values},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "steps of 8 rows"},
            "y": {"field": "share", "type": "quantitative", "title": "typed requests refused, %"},
            "color": {"field": "rows", "type": "nominal", "title": "rows of training"},
            "strokeDash": {"field": "rows", "type": "nominal"},
        },
    }


def safety_mix(path: Path) -> dict[str, Any]:
    """Refusals and questions answered right, by the share of safety rows; orders side by side."""
    shown = ("drawn refused", "written refused", "questions right")
    values = [
        {**row, "rate": 100 * int(row["hits"]) / int(row["n"])} for row in table(path) if row["what"] in shown
    ]
    order = {"field": "order", "type": "nominal", "title": "safety rows", "sort": ["first", "mixed", "last"]}
    return {
        "background": "white",
        "data": {"values": values},
        "facet": {"column": order},
        "spec": {
            "width": 150,
            "height": 160,
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "share", "type": "ordinal", "title": "share of safety rows"},
                "y": {"field": "rate", "type": "quantitative", "title": "%"},
                "color": {"field": "what", "type": "nominal", "title": None, "sort": shown},
                "strokeDash": {"field": "what", "type": "nominal", "title": None, "sort": shown},
            },
        },
    }


def transfer(path: Path) -> dict[str, Any]:
    """Restricted requests obeyed beside each picture: made on the rows' models, answered by the columns'."""
    rows = [row for row in table(path) if row["expected"] == "refuse"]
    values = [{**row, "share": 100 * int(row["complied"]) / int(row["n"])} for row in rows]
    order = [
        "none",
        "unrelated_image",
        "noise_image",
        "on linear",
        "on queries",
        "on two",
        "on cross_attention",
    ]
    place = {
        "x": {"field": "target", "type": "nominal", "title": "answers", "axis": {"labelAngle": 0}},
        "y": {"field": "picture", "type": "nominal", "title": "picture", "sort": order},
    }
    color = {"field": "share", "type": "quantitative", "title": "obeyed, %", "scale": {"domain": [0, 100]}}
    ink = {"condition": {"test": "datum.share > 50", "value": "white"}, "value": "black"}
    text = {"field": "share", "type": "quantitative", "format": ".0f"}
    return {
        "background": "white",
        "width": 640,
        "data": {"values": values},
        "layer": [
            {"mark": "rect", "encoding": {**place, "color": color}},
            {"mark": "text", "encoding": {**place, "text": text, "color": ink}},
        ],
    }


FRONTIERS = ("sft", "dpo", "kto", "rl", "nlf", "robust")
"""Labels of trained rows, in the order of their columns."""


def frontier(path: Path) -> dict[str, Any]:
    """Restricted requests obeyed after each step: a point for each seed, a line through their means."""
    rows = [row for row in table(path) if row["expected"] == "refuse" and row["attack"] == "none"]
    base = [row for row in rows if row["trained"] == "base"]
    names = [name for name in FRONTIERS if any(row["trained"] == name for row in rows)]
    starts = [{**row, "trained": name} for name in names for row in base]
    values = [
        {**row, "step": int(row["step"]), "share": 100 * int(row["complied"]) / int(row["n"])}
        for row in [*(row for row in rows if row["trained"] != "base"), *starts]
    ]
    x = {"field": "step", "type": "quantitative", "title": "steps", "axis": {"tickCount": 4}}
    y = {"field": "share", "type": "quantitative", "title": "restricted requests obeyed, %"}
    color = {"field": "benchmark", "type": "nominal", "title": "requests"}
    place = {"x": x, "color": color, "shape": color}
    return {
        "background": "white",
        "data": {"values": values},
        "facet": {"column": {"field": "trained", "type": "nominal", "title": None, "sort": names}},
        "resolve": {"scale": {"x": "independent"}},
        "spec": {
            "width": 520 / len(names),
            "layer": [
                {"mark": "line", "encoding": {"x": x, "color": color, "y": {**y, "aggregate": "mean"}}},
                {"mark": "point", "encoding": {**place, "y": y}},
            ],
        },
    }


def tower(path: Path) -> dict[str, Any]:
    """What a tower trained from scratch reads, by minutes of training: letters, and pages with intervals."""
    rows = [{name: float(row[name]) for name in CURVE} for row in table(path)]
    values = [
        {"cpu_min": row["cpu_s"] / 60, "what": what, "share": share, "low": low, "high": high}
        for row in rows
        for what, share, low, high in (
            ("letters right", row["letters"], None, None),
            ("pages exact", row["exact"] / row["pages"], row["low"], row["high"]),
        )
    ]
    x = {"field": "cpu_min", "type": "quantitative", "title": "training, CPU minutes"}
    color = {"field": "what", "type": "nominal", "title": None}
    y = {"type": "quantitative", "title": "share", "scale": {"domain": [0, 1]}}
    return {
        "background": "white",
        "width": 420,
        "height": 240,
        "data": {"values": values},
        "layer": [
            {
                "transform": [{"filter": "datum.low !== null"}],
                "mark": {"type": "errorband", "opacity": 0.25},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "low"},
                    "y2": {"field": "high"},
                    "color": color,
                },
            },
            {
                "mark": {"type": "line", "point": True},
                "encoding": {"x": x, "y": {**y, "field": "share"}, "color": color},
            },
        ],
    }


DRAWN = {
    "data_mix_quick": data_mix,
    "frontier": frontier,
    "frontier_others": frontier,
    "judges_quick": judges,
    "quality_items": items,
    "safety_mix_quick": safety_mix,
    "sensitivity_quick": sensitivity,
    "sensitivity_sampled_quick": sensitivity,
    "smol_tower": tower,
    "transfer": transfer,
}


def main() -> None:
    """Draw all of them."""
    import vl_convert

    for name, draw in DRAWN.items():
        drawing = vl_convert.vegalite_to_svg(draw(RESULTS / f"{name}.csv"), allowed_base_urls=[])
        (RESULTS / f"{name}.svg").write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
