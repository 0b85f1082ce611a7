"""Panels of Vega-Lite drawn as SVG by ourselves: the few marks that most charts of the page have.

A report has many charts of shares, and starting and running Vega for each took most of its time. What is
drawn here is written in the same terms: a panel is `width`, `height`, `data`, `layer`, each layer a mark
(rule, point, text, bar, line) with its `encoding`; axes go over numbers with a `domain`, or over names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from markupsafe import Markup

from sightline.characters import printable
from sightline.report.inline_svg import root_attributes

Plain = Mapping[str, Any]
_TICK, _LABEL, _TITLE, _TOP = 5, 12, 13, 22.0
_EM = 0.55
"""Width of a character in its size, on the wide side: the page's type is that of the reader's system."""


class _Scale(NamedTuple):
    """Where values of an axis stand, in pixels: numbers between two ends, or names one below the other."""

    low: float
    high: float
    length: float
    upward: bool
    names: Mapping[str, int]
    step: float

    def at(self, value: Any) -> float:
        if self.names:
            return (self.names[str(value)] + 0.5) * self.step
        share = (float(value) - self.low) / (self.high - self.low)
        return self.length * (1 - share if self.upward else share)


class _Panel(NamedTuple):
    """What is drawn of a panel, and how far it reaches beyond its four sides."""

    markup: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


def panels_svg(panels: Sequence[Plain], description: str, *, spacing: float) -> Markup:
    """Panels side by side, with an accessible name.

    Args:
        panels: see the module.
        description: text alternative of the figure.
        spacing: pixels between two panels.
    """
    drawn = [_panel(panel) for panel in panels]
    top, bottom = max(each.top for each in drawn), max(each.bottom for each in drawn)
    parts, x = [], 4.0
    for each in drawn:
        x += each.left
        parts.append(f'<g transform="translate({_n(x)},{_n(top + 4)})">{each.markup}</g>')
        x += each.width + each.right + spacing
    width, height = x - spacing + 4, max(each.height for each in drawn) + top + bottom + 8
    attributes = {"viewBox": f"0 0 {_n(width)} {_n(height)}", **root_attributes(width, description)}
    root = " ".join(f'{name}="{_text(value)}"' for name, value in attributes.items())
    return Markup(f'<svg {root}><g fill="none">{"".join(parts)}</g></svg>')  # noqa: S704  (texts are escaped below)


def _n(value: float) -> str:
    """A number to a hundredth of a pixel."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _text(value: object) -> str:
    """A text of data, as markup."""
    return escape(printable(str(value)))


def _panel(panel: Plain) -> _Panel:
    layers = panel["layer"]
    x_axis, y_axis = _axis(layers, "x"), _axis(layers, "y")
    names = [str(name) for name in y_axis["scale"]["domain"]] if y_axis["type"] == "nominal" else []
    width = float(panel["width"])
    step = panel["height"]["step"] if names else 0
    height = float(step * len(names) if names else panel["height"])
    low, high = map(float, x_axis["scale"]["domain"])
    x = _Scale(low, high, width, False, {}, 0)
    places = {name: number for number, name in enumerate(names)}
    low, high = (0.0, 1.0) if names else map(float, y_axis["scale"]["domain"])
    y = _Scale(low, high, height, True, places, step)
    axis_x, bottom = _x_axis(x_axis, x, height)
    axis_y, left = _y_axis(y_axis, y)
    grid = '<g stroke="var(--line)">'
    grid += "".join(f'<path d="M{_n(x.at(v))},0v{_n(height)}"/>' for v in _ticks(x_axis))
    if not names:
        grid += "".join(f'<path d="M0,{_n(y.at(v))}h{_n(width)}"/>' for v in _ticks(y_axis))
    marks = "".join(_layer(layer, panel, x, y) for layer in layers)
    title, right = "", 0.0
    if "title" in panel:
        title = (
            f'<text y="-7" font-size="{_TITLE}" font-weight="bold" fill="var(--ink)">'
            f"{_text(panel['title']['text'])}</text>"
        )
    if names:
        right = max((_beyond(layer, x) for layer in layers), default=0.0)
    return _Panel(f"{grid}</g>{axis_x}{axis_y}{marks}{title}", width, height, left, right, _TOP, bottom)


def _axis(layers: Sequence[Plain], name: str) -> Plain:
    """The first encoding of a direction that says its scale."""
    found = (layer["encoding"].get(name, {}) for layer in layers)
    encoding: Plain = next(each for each in found if "domain" in each.get("scale", {}))
    return encoding


def _ticks(axis: Plain) -> Sequence[float]:
    """The values of an axis: its own, or ten steps."""
    own: Sequence[float] | None = axis.get("axis", {}).get("values")
    low, high = axis["scale"]["domain"]
    return own if own is not None else [low + (high - low) * n / 10 for n in range(11)]


def _x_axis(axis: Plain, scale: _Scale, height: float) -> tuple[str, float]:
    """The lower axis, and its height."""
    ticks = [(_n(scale.at(v)), f"{v:g}") for v in _ticks(axis)]
    bars = "".join(f"M{at},{_n(height)}v{_TICK}" for at, _ in ticks)
    labels = "".join(f'<text x="{at}" y="{_n(height + 16)}">{text}</text>' for at, text in ticks)
    found = f'<path stroke="var(--line)" d="M0,{_n(height)}h{_n(scale.length)}{bars}"/>'
    found += f'<g font-size="{_LABEL}" fill="var(--soft)" text-anchor="middle">{labels}</g>'
    title = axis.get("title")
    if title:
        place = f'x="{_n(scale.length / 2)}" y="{_n(height + 33)}" text-anchor="middle"'
        found += f'<text {place} font-size="{_TITLE}" fill="var(--ink)">{_text(title)}</text>'
    return found, 38.0 if title else 20.0


def _y_axis(axis: Plain, scale: _Scale) -> tuple[str, float]:
    """The left axis, and its width."""
    if scale.names and not axis["axis"].get("labels", True):
        return "", 0.0
    values = list(scale.names) if scale.names else _ticks(axis)
    ticks = [(scale.at(v), v if scale.names else f"{v:g}") for v in values]
    gap = 8 if scale.names else _TICK + 3
    labels = "".join(
        f'<text x="-{gap}" y="{_n(at + 0.3 * _LABEL)}">{_text(text)}</text>' for at, text in ticks
    )
    found = f'<g font-size="{_LABEL}" fill="var(--soft)" text-anchor="end">{labels}</g>'
    if not scale.names:
        bars = "".join(f"M0,{_n(at)}h-{_TICK}" for at, _ in ticks)
        found += f'<path stroke="var(--line)" d="M0,0v{_n(scale.length)}{bars}"/>'
    wide = gap + max((len(str(text)) for _, text in ticks), default=0) * _LABEL * _EM
    title = axis.get("title")
    if title:
        place = (
            f'transform="translate({_n(-wide - 8)},{_n(scale.length / 2)}) rotate(-90)" text-anchor="middle"'
        )
        found += f'<text {place} font-size="{_TITLE}" fill="var(--ink)">{_text(title)}</text>'
        wide += 8 + _TITLE
    return found, wide


def _beyond(layer: Plain, x: _Scale) -> float:
    """How far texts of a layer reach to the right of the panel."""
    mark, encoding = layer["mark"], layer["encoding"]
    if mark["type"] != "text" or mark.get("align") != "left":
        return 0.0
    rows = layer["data"]["values"]
    ends = (
        x.at(row[encoding["x"]["field"]]) + len(str(row[encoding["text"]["field"]])) * mark["fontSize"] * _EM
        for row in rows
    )
    return max((end - x.length for end in ends), default=0.0)


def _layer(layer: Plain, panel: Plain, x: _Scale, y: _Scale) -> str:
    """One layer: a group that says what its marks have in common, and the marks."""
    mark, encoding = layer["mark"], layer["encoding"]
    rows = (layer.get("data") or panel["data"])["values"]
    marks = _MARKS[mark["type"]](mark, encoding, rows, x, y)
    common = {
        "stroke-width": mark.get("strokeWidth", 2 if mark["type"] == "line" else None),
        "opacity": mark["opacity"] if mark.get("opacity", 1) != 1 else None,
        "stroke-dasharray": ",".join(map(str, mark.get("strokeDash", ()))) or None,
        "stroke-linejoin": mark.get("strokeJoin"),
        "font-size": mark.get("fontSize"),
        "text-anchor": {"left": None, "right": "end"}.get(mark.get("align"), "middle")
        if mark["type"] == "text"
        else None,
    }
    attributes = "".join(f' {name}="{value}"' for name, value in common.items() if value is not None)
    return f"<g{attributes}>{''.join(marks)}</g>"


def _inks(encoding: Plain, mark: Plain) -> Mapping[str, str] | str:
    """The color of each name, or the one color of a mark."""
    color = encoding.get("color")
    if color is None:
        return str(mark.get("color", "var(--ink)"))
    return dict(zip(map(str, color["scale"]["domain"]), color["scale"]["range"], strict=True))


def _ink(inks: Mapping[str, str] | str, encoding: Plain, row: Plain) -> str:
    return inks if isinstance(inks, str) else inks[str(row[encoding["color"]["field"]])]


def _rules(mark: Plain, encoding: Plain, rows: Sequence[Plain], x: _Scale, y: _Scale) -> Iterator[str]:
    inks = _inks(encoding, mark)
    for row in rows:
        left, upper = x.at(row[encoding["x"]["field"]]), y.at(row[encoding["y"]["field"]])
        right = x.at(row[encoding["x2"]["field"]]) if "x2" in encoding else left
        lower = y.at(row[encoding["y2"]["field"]]) if "y2" in encoding else upper
        ends = f"M{_n(left)},{_n(upper)}L{_n(right)},{_n(lower)}"
        yield f'<path stroke="{_ink(inks, encoding, row)}" d="{ends}"/>'


def _points(mark: Plain, encoding: Plain, rows: Sequence[Plain], x: _Scale, y: _Scale) -> Iterator[str]:
    inks, shapes = _inks(encoding, mark), encoding.get("shape")
    known = dict(zip(shapes["scale"]["domain"], shapes["scale"]["range"], strict=True)) if shapes else {}
    for row in rows:
        name = known[row[shapes["field"]]] if shapes else mark["shape"]
        place = f"translate({_n(x.at(row[encoding['x']['field']]))},{_n(y.at(row[encoding['y']['field']]))})"
        if "angle" in encoding:
            place += f" rotate({_n(row[encoding['angle']['field']])})"
        shape = _shape(name, float(mark["size"]))
        yield f'<path transform="{place}" fill="{_ink(inks, encoding, row)}" d="{shape}"/>'


def _shape(name: str, size: float) -> str:
    """The outline of a point of so many square pixels, about its middle."""
    r = math.sqrt(size) / 2
    h, s = r * math.sqrt(3) / 2, r / 2.5
    if name == "circle":
        return f"M{_n(r)},0A{_n(r)},{_n(r)},0,1,1,-{_n(r)},0A{_n(r)},{_n(r)},0,1,1,{_n(r)},0"
    corners = {
        "square": [(-r, -r), (r, -r), (r, r), (-r, r)],
        "triangle-up": [(0, -h), (-r, h), (r, h)],
        "triangle-down": [(0, h), (-r, -h), (r, -h)],
        "diamond": [(-r, 0), (0, -r), (r, 0), (0, r)],
        "cross": [
            (-r, -s), (-r, s), (-s, s), (-s, r), (s, r), (s, s), (r, s), (r, -s), (s, -s), (s, -r),
            (-s, -r), (-s, -s),
        ],
    }[name]  # fmt: skip
    return "M" + "L".join(f"{_n(across)},{_n(down)}" for across, down in corners) + "Z"


def _texts(mark: Plain, encoding: Plain, rows: Sequence[Plain], x: _Scale, y: _Scale) -> Iterator[str]:
    inks = _inks(encoding, mark)
    dx, dy = mark.get("dx", 0), mark.get("dy", 0) + 0.3 * mark["fontSize"]  # its middle on the line
    for row in rows:
        said = row[encoding["text"]["field"]]
        if not said:
            continue
        across, down = x.at(row[encoding["x"]["field"]]) + dx, y.at(row[encoding["y"]["field"]]) + dy
        halo = f' stroke="{mark["stroke"]}"' if "stroke" in mark else ""
        ink = _ink(inks, encoding, row)
        yield f'<text x="{_n(across)}" y="{_n(down)}" fill="{ink}"{halo}>{_text(said)}</text>'


def _bars(mark: Plain, encoding: Plain, rows: Sequence[Plain], x: _Scale, y: _Scale) -> Iterator[str]:
    inks, high = _inks(encoding, mark), mark["height"]
    for row in rows:
        start, end = x.at(row[encoding["x"]["field"]]), x.at(row[encoding["x2"]["field"]])
        top = y.at(row[encoding["y"]["field"]]) - high / 2
        side = f'x="{_n(start)}" y="{_n(top)}" width="{_n(end - start)}" height="{_n(high)}"'
        yield f'<rect {side} fill="{_ink(inks, encoding, row)}" stroke="{mark["stroke"]}"/>'


def _lines(mark: Plain, encoding: Plain, rows: Sequence[Plain], x: _Scale, y: _Scale) -> Iterator[str]:
    """One line through all rows, in steps: up to the next place before it goes across, or after."""
    fields = encoding["x"]["field"], encoding["y"]["field"]
    places = sorted((x.at(row[fields[0]]), y.at(row[fields[1]])) for row in rows)
    if places:
        before = mark["interpolate"] == "step-before"
        steps = (
            f"V{_n(down)}H{_n(across)}" if before else f"H{_n(across)}V{_n(down)}" for across, down in places
        )
        start = f"M{_n(places[0][0])},{_n(places[0][1])}"
        yield f'<path stroke="{_inks(encoding, mark)}" d="{start}{"".join(steps)}"/>'


_MARKS = {"rule": _rules, "point": _points, "text": _texts, "bar": _bars, "line": _lines}
