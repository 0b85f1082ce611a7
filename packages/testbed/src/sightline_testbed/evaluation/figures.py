"""Draw the figures of the testbed's documents from cards and risk-3 points; no browser is needed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

from sightline.errors import UsageError
from sightline_testbed.evaluation.chart_style import CONFIG, Plain
from sightline_testbed.evaluation.charts import Card, forced, ladder, modality, rows
from sightline_testbed.evaluation.curves import Point
from sightline_testbed.evaluation.wear_charts import gates, wear

_SVG = "http://www.w3.org/2000/svg"


def svg(spec: Plain, description: str) -> str:
    """Render a figure; `description` is what a reader who does not see it is told."""
    import vl_convert

    drawing = vl_convert.vegalite_to_svg({**spec, "config": CONFIG}, allowed_base_urls=[])
    root = ET.fromstring(drawing)  # noqa: S314  (our own drawing)
    ET.register_namespace("", _SVG)
    root.attrib.update({"role": "img", "aria-label": description})
    return ET.tostring(root, encoding="unicode") + "\n"


def draw(cards: Sequence[Card], points: Sequence[Point], folder: Path) -> list[Path]:
    """Write every figure there are data for, as SVG.

    Args:
        cards: records of `card.read_record`, one per model.
        points: of the risk-3 experiment, all families together.
        folder: where to.

    Returns:
        The files written.

    Raises:
        UsageError: if there are data for no figure.
    """
    attacked = [c for c in cards if any("goal" in row for row in rows(c))]
    crossed = [p for p in points if p.family == "cross_attention"]
    sizes = [c for c in cards if c["family"] == "linear"]
    wanted: dict[str, tuple[bool, Callable[[], Plain], str]] = {
        "risk3": (bool(points), lambda: wear(points),
                  "Share of written requests refused and obeyed along visual tuning, per family."),
        "gates": (bool(crossed), lambda: gates(points),
                  "Refusals of the cross-attention family with feed-forward gates open and closed."),
        "pgd": (bool(attacked), lambda: forced(attacked),
                "Share of answers forced by PGD against eps, per family, with noise for comparison."),
        "ladder": (len(sizes) > 1, lambda: ladder(cards), "Skills and risks against number of parameters."),
        "modality": (bool(cards), lambda: modality(cards),
                     "Share of restricted requests refused when written and when drawn, per variant."),
    }  # fmt: skip
    if not any(there for there, _, _ in wanted.values()):
        raise UsageError("no figure can be drawn: measure a model by `sightline testbed check MODEL --card`")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (there, make, description) in wanted.items():
        if there:
            path = folder / f"{name}.svg"
            path.write_text(svg(make(), description), "utf-8")
            written.append(path)
    return written
