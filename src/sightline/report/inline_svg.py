"""A drawing of Vega-Lite as markup of the page: known elements and attributes only, in few characters.

A figure holds no script, no link and no style sheet: the drawing is parsed and every element and
attribute that is not on a short list is dropped, so that a name in a study cannot reach the page as
markup.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from markupsafe import Markup

from sightline.characters import printable

_SVG = "http://www.w3.org/2000/svg"
_ELEMENTS = {"svg", "g", "path", "rect", "line", "text", "tspan", "title", "circle", "defs", "clipPath"}
_ATTRIBUTES = {
    "viewBox", "width", "height", "transform", "d", "x", "y", "x1", "y1", "x2", "y2", "dx", "dy", "r", "cx",
    "cy", "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-dashoffset", "stroke-linecap",
    "stroke-linejoin", "stroke-miterlimit", "stroke-opacity", "fill-opacity", "opacity", "text-anchor",
    "font-size", "font-weight", "font-family", "font-style", "display",
}  # fmt: skip
FONT = "system-ui, sans-serif"
_INHERITED = frozenset({("font-family", FONT), ("opacity", "1")})
_GEOMETRY = frozenset({"d", "transform", "x", "y", "x1", "y1", "x2", "y2", "width", "height"})
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")


def _clean(element: ET.Element) -> ET.Element | None:
    """The same drawing, of known elements and attributes only, to a hundredth of a pixel.

    Its type is that of the drawing's root, which is said there once.
    """
    tag = element.tag.removeprefix(f"{{{_SVG}}}")
    if tag not in _ELEMENTS:
        return None
    kept = {
        key: _LONG_NUMBER.sub(_shorter, value) if key in _GEOMETRY else value
        for key, value in element.attrib.items()
        if key in _ATTRIBUTES
        and (key, value) not in _INHERITED
        and "url(" not in value.lower()
        and "script" not in value.lower()
    }
    fresh = ET.Element(tag, kept)
    fresh.text, fresh.tail = element.text, element.tail
    fresh.extend(child for child in map(_clean, element) if child is not None)
    return fresh


def _shorter(found: re.Match[str]) -> str:
    """A number with two decimals, zeros at its end left out."""
    text = f"{float(found.group()):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def root_attributes(width: float, description: str, css_class: str = "figure") -> dict[str, str]:
    """What the root of a drawing so many pixels wide says."""
    return {
        "xmlns": _SVG,
        "font-family": FONT,
        "role": "img",
        "aria-label": description,
        "class": css_class,
        "style": f"min-width:{0.8 * width:.0f}px;max-width:{width:.0f}px",
    }


def inline_svg(drawing: str, description: str, css_class: str = "figure") -> Markup:
    """A drawing as markup for the page, with an accessible name.

    Args:
        drawing: SVG text as Vega-Lite writes it.
        description: text alternative of the figure.
        css_class: class of the root element.
    """
    description = printable(description)
    root = _clean(ET.fromstring(printable(drawing)))  # noqa: S314  (our own drawing; entities are not expanded by Vega)
    if root is None:
        raise AssertionError("a drawing starts with <svg>")
    root.attrib.update(root_attributes(float(root.attrib.get("width", "600")), description, css_class))
    del root.attrib["width"], root.attrib["height"]
    return Markup(printable(ET.tostring(root, encoding="unicode")))  # noqa: S704  (serialized from a cleaned tree)
