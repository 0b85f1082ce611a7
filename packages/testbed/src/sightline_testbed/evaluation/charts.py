"""Charts of what cards hold: answers forced by PGD, the size ladder, written against drawn requests.

Shares are in percent; whiskers are 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline_testbed.evaluation.chart_style import (
    BLUE,
    FAMILIES,
    FAMILY_COLORS,
    FAMILY_SHAPES,
    FIVE,
    GRAY,
    SHARE,
    VERMILION,
    Plain,
    families,
    heading,
    title,
)

Card = Mapping[str, Any]

#: rates whose dependence on size is drawn
LADDER_MEASURES = {
    "caption": "captions right",
    "read a word": "unseen word read",
    "text, restricted: refused": "written, refused",
    "drawn (figstep), restricted: obeyed": "drawn, obeyed",
    "pgd 16/255, recipe for a caption: exact": "forced by PGD, 16/255",
}
#: PGD on captions: eps -> least and most, in percent, that the issue asks for
_WANTED = {8: (0, 40), 16: (40, 95), 32: (90, 100)}


def rows(card: Card, variant: str = "") -> list[Plain]:
    """Return the rates of one variant of a card, the default one if none is named; none if not measured."""
    one = card["measured"].get(variant or card["default"])
    return list(one["rows"]) if one else []


def _percent(row: Card) -> Plain:
    return {"rate": 100 * row["rate"], "low": 100 * row["low"], "high": 100 * row["high"]}


def _spread(x: Plain, y_title: str, color: Plain) -> list[Plain]:
    """Return the layers of a whisker, to stand before the points."""
    y = {"field": "low", **SHARE, "title": y_title, "axis": FIVE}
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 1.3, "opacity": 0.7},
            "encoding": {"x": x, "y": y, "y2": {"field": "high"}, **color},
        }
    ]


def forced(cards: Sequence[Card]) -> Plain:
    """What PGD forces by eps, a column per goal, a line per family; noise of equal norm beside it."""
    shown = [card for card in cards if card["model"] in FAMILIES]
    order = families(card["family"] for card in shown)
    values, sizes = [], set()
    for place, card in enumerate(shown):
        for row in rows(card):
            if row.get("outcome") == "exact" and row.get("way") in ("pgd", "signs", "uniform"):
                dodge = 1 + 0.07 * (place - (len(shown) - 1) / 2)
                values.append(
                    {
                        "family": FAMILIES[card["family"]], "goal": row["goal"], "eps": row["eps"] * dodge,
                        "noise": row["way"] != "pgd", **_percent(row),
                    }
                )  # fmt: skip
                sizes.add(row["n"])
    goals = [goal for goal in ("recipe for a caption", "recipe asked", "tool call") if _any(values, goal)]
    range_ = dict(zip(FAMILIES.values(), FAMILY_COLORS, strict=True))
    shapes = dict(zip(FAMILIES.values(), FAMILY_SHAPES, strict=True))
    color = {
        "color": {
            "field": "family",
            "scale": {"domain": order, "range": [range_[name] for name in order]},
            "legend": {"orient": "bottom"},
        }
    }
    shape = {
        "shape": {"field": "family", "scale": {"domain": order, "range": [shapes[name] for name in order]}}
    }
    panels = [
        _forced_panel([v for v in values if v["goal"] == goal], goal, number == 0, {**color, **shape})
        for number, goal in enumerate(goals)
    ]
    count = "/".join(str(size) for size in sorted(sizes))
    subtitle = [
        f"n = {count} held-out scenes per point, 100 steps, written and read back as PNG; 95 % intervals",
        "gray crosses: random signs and uniform noise of equal norm; gray boxes: the range asked for",
    ]
    return {"title": title("Answers forced by a plain PGD on the picture", subtitle), "hconcat": panels,
            "spacing": 24}  # fmt: skip


def _any(values: Sequence[Plain], goal: str) -> bool:
    return any(value["goal"] == goal for value in values)


def _forced_panel(values: list[Plain], goal: str, first: bool, series: Plain) -> Plain:
    y_title = "forced exactly, %" if first else ""
    x = {
        "field": "eps",
        "type": "quantitative",
        "title": "eps, 1/255",
        "scale": {"type": "log", "base": 2, "domain": [3.3, 39], "nice": False},
        "axis": {"values": [4, 8, 16, 32], "format": "d", "grid": False},
    }
    y = {"field": "rate", **SHARE, "title": y_title, "axis": FIVE}
    attack = [value for value in values if not value["noise"]]
    boxes = [
        {"from": eps / 1.22, "to": eps * 1.22, "least": low, "most": high}
        for eps, (low, high) in (_WANTED.items() if goal == "recipe for a caption" else ())
    ]
    layers: list[Plain] = [
        {
            "data": {"values": boxes},
            "mark": {"type": "rect", "color": "#dddddd", "opacity": 0.6},
            "encoding": {
                "x": {**x, "field": "from"},
                "x2": {"field": "to"},
                "y": {**y, "field": "least"},
                "y2": {"field": "most"},
            },
        },
        {
            "data": {"values": [value for value in values if value["noise"]]},
            "mark": {"type": "point", "shape": "cross", "color": GRAY, "filled": True, "size": 45},
            "encoding": {"x": x, "y": y},
        },
        {"data": {"values": attack}, "mark": {"type": "line", "strokeWidth": 1.6},
         "encoding": {"x": x, "y": y, "color": series["color"]}},
        *({"data": {"values": attack}, **layer} for layer in _spread(x, y_title, {"color": series["color"]})),
        {"data": {"values": attack}, "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
         "encoding": {"x": x, "y": y, **series}},
    ]  # fmt: skip
    return {"width": 235, "height": 210, "title": heading(goal), "layer": layers}


# Scale and modality -------------------------------------------------------------------------------


def ladder(cards: Sequence[Card]) -> Plain:
    """Skills and risks of the linear family by number of parameters, a column per rate."""
    values, sizes = [], {}
    for card in cards:
        if card["family"] != "linear" or not rows(card):
            continue
        millions = card["measured"][card["default"]]["parameters"] / 1e6
        for row in rows(card):
            if row["name"] in LADDER_MEASURES:
                values.append(
                    {"measure": LADDER_MEASURES[row["name"]], "millions": millions, **_percent(row)}
                )
                sizes[LADDER_MEASURES[row["name"]]] = row["n"]
    ticks = sorted({round(value["millions"], 1) for value in values})
    span = [0.75 * min(v["millions"] for v in values), 1.33 * max(v["millions"] for v in values)]
    panels: list[Plain] = []
    for measure in (label for label in LADDER_MEASURES.values() if label in sizes):
        x = {
            "field": "millions",
            "type": "quantitative",
            "title": "parameters, millions",
            "scale": {"type": "log", "domain": span, "nice": False},
            "axis": {"values": ticks, "format": ".1f", "grid": False},
        }
        y_title = "" if panels else "share, %"
        y = {"field": "rate", **SHARE, "title": y_title, "axis": FIVE}
        panels.append(
            {
                "width": 132,
                "height": 170,
                "title": {**heading(measure), "fontSize": 12, "subtitle": f"n = {sizes[measure]}"},
                "data": {"values": [value for value in values if value["measure"] == measure]},
                "layer": [
                    {
                        "mark": {"type": "line", "strokeWidth": 1.6, "color": BLUE},
                        "encoding": {"x": x, "y": y},
                    },
                    *_spread(x, y_title, {"color": {"value": BLUE}}),
                    {
                        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "color": BLUE},
                        "encoding": {"x": x, "y": y},
                    },
                ],
            }
        )
    subtitle = "the victim of the linear family; 95 % intervals over topics, words or scenes"
    return {"title": title("What grows with size", subtitle), "hconcat": panels, "spacing": 20}


def modality(cards: Sequence[Card]) -> Plain:
    """Refusals of restricted requests, written and drawn, per variant; a column per family."""
    kinds = {"text, restricted: refused": "written", "drawn (figstep), restricted: refused": "drawn"}
    shown = [card for card in cards if card["model"] in FAMILIES]
    variants = list(dict.fromkeys(variant for card in shown for variant in card["measured"]))
    values, sizes = [], set()
    for card in shown:
        for variant in card["measured"]:
            for row in rows(card, variant):
                if row["name"] in kinds:
                    values.append(
                        {
                            "family": FAMILIES[card["family"]],
                            "variant": variant,
                            "kind": kinds[row["name"]],
                            **_percent(row),
                        }
                    )  # fmt: skip
                    sizes.add(row["n"])
    scale = {"domain": ["written", "drawn"], "range": [BLUE, VERMILION]}
    series = {
        "color": {"field": "kind", "scale": scale, "legend": {"orient": "bottom"}},
        "shape": {"field": "kind", "scale": {"domain": scale["domain"], "range": ["circle", "square"]}},
    }
    panels: list[Plain] = []
    for family in families(card["family"] for card in shown):
        y = {
            "field": "variant",
            "type": "nominal",
            "title": None,
            "sort": variants,
            "scale": {"domain": variants},
            "axis": {"labels": not panels, "ticks": False, "domain": False, "grid": True, "labelPadding": 8},
        }
        offset = {"yOffset": {"field": "kind", "scale": {"domain": scale["domain"]}}}
        x = {"field": "rate", **SHARE, "title": "refused, %", "axis": FIVE}
        panels.append(
            {
                "width": 215,
                "height": {"step": 30, "for": "position"},
                "title": heading(family),
                "data": {"values": [value for value in values if value["family"] == family]},
                "layer": [
                    {
                        "mark": {"type": "rule", "strokeWidth": 1.3, "opacity": 0.7},
                        "encoding": {
                            "x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, **offset,
                            "color": series["color"],
                        },
                    },
                    {
                        "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                        "encoding": {"x": x, "y": y, **offset, **series},
                    },
                ],
            }
        )  # fmt: skip
    count = "/".join(str(size) for size in sorted(sizes))
    subtitle = f"n = {count} requests for held-out restricted topics per point; 95 % intervals over topics"
    return {"title": title("Restricted requests refused, written and drawn", subtitle), "hconcat": panels,
            "spacing": 24}  # fmt: skip
