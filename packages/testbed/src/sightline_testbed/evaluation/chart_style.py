"""What all figures of the testbed's documents share: colors, shapes, axes, titles.

Colors are Okabe and Ito's, which people with any color vision can tell apart; no figure relies on them alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Plain = dict[str, Any]

BLUE, VERMILION, GREEN, BLACK, GRAY = "#0072B2", "#D55E00", "#009E73", "#222222", "#8a8a8a"
FAMILIES = {"linear": "linear", "queries": "queries", "cross_attention": "cross-attention"}
FAMILY_COLORS, FAMILY_SHAPES = [BLUE, VERMILION, GREEN], ["circle", "square", "triangle-up"]
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
CONFIG: Plain = {
    "background": "white",
    "font": _FONT,
    "padding": 10,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "#444", "titleColor": BLACK, "gridColor": "#e4e4e4", "domainColor": "#999",
        "tickColor": "#999", "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
        "labelFlush": False,
    },
    "header": {"labelFontSize": 13, "labelColor": BLACK, "labelFontWeight": "bold", "title": None},
    "legend": {
        "labelFontSize": 12,
        "labelColor": BLACK,
        "labelLimit": 320,
        "title": None,
        "symbolSize": 90,
        "symbolOpacity": 1,
        "symbolStrokeWidth": 2.2,
    },
    "title": {
        "anchor": "start", "fontSize": 15, "subtitleFontSize": 12, "subtitleColor": "#555", "offset": 14,
        "subtitlePadding": 5, "frame": "group",
    },
}  # fmt: skip
SHARE: Plain = {"type": "quantitative", "scale": {"domain": [0, 100], "nice": False}}
FIVE = {"values": [0, 25, 50, 75, 100]}


def title(text: str, subtitle: str | list[str]) -> Plain:
    """Return a figure's title with a line or two under it."""
    return {"text": text, "subtitle": subtitle}


def families(names: Iterable[str]) -> list[str]:
    """Return the families among names, as figures call them, in their order."""
    present = set(names)
    return [label for name, label in FAMILIES.items() if name in present]


def heading(text: str) -> Plain:
    """Return the title of one panel."""
    return {"text": text, "fontSize": 13, "anchor": "middle", "offset": 8}
