"""In a chart of defenses: one name for points on each other, and arrows from the undefended target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

BARE = "undefended"
NEAR = 2.5
"""Points closer than this on both axes, in percent, share a name."""
_SHORTEST = 22.0
_GAP = 8.0


class Point(NamedTuple):
    """A named point of a series, in percent of both axes."""

    name: str
    series: str
    x: float
    y: float


def shared_names(points: Sequence[Point]) -> list[str]:
    """The name to print at each point: of points on each other the first bears all names, others none."""
    found = [""] * len(points)
    for number, point in enumerate(points):
        near = [
            other for other, at in enumerate(points) if max(abs(at.x - point.x), abs(at.y - point.y)) < NEAR
        ]
        if any(found[other] for other in near):
            continue
        free = [other for other in near if other >= number]
        names = list(dict.fromkeys(points[other].name for other in free))
        found[number] = ", ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"
    return found


def arrows(points: Sequence[Point], width: int, height: int) -> list[dict[str, Any]]:
    """Layers: a line from the undefended point of a series to each other one, and its head.

    Args:
        points: of one panel.
        width: of the panel in pixels.
        height: of the panel in pixels.
    """
    values = []
    for start in (point for point in points if point.name == BARE):
        for end in (point for point in points if point.series == start.series and point.name != BARE):
            right, up = (end.x - start.x) * width / 100, (end.y - start.y) * height / 100
            length = math.hypot(right, up)
            if length < _SHORTEST:
                continue
            short = 1 - _GAP / length
            values.append(
                {
                    "series": start.series,
                    "from_x": start.x,
                    "from_y": start.y,
                    "to_x": start.x + short * (end.x - start.x),
                    "to_y": start.y + short * (end.y - start.y),
                    "turn": math.degrees(math.atan2(right, up)),
                }
            )
    if not values:
        return []
    kind = {"type": "quantitative"}
    data = {"values": values}
    line = {
        "data": data,
        "mark": {"type": "rule", "color": "var(--soft)", "strokeWidth": 1, "opacity": 0.7},
        "encoding": {
            "x": {"field": "from_x", **kind},
            "x2": {"field": "to_x"},
            "y": {"field": "from_y", **kind},
            "y2": {"field": "to_y"},
        },
    }
    head = {
        "data": data,
        "mark": {"type": "point", "shape": "triangle-up", "filled": True, "size": 42, "color": "var(--soft)"},
        "encoding": {
            "x": {"field": "to_x", **kind},
            "y": {"field": "to_y", **kind},
            "angle": {"field": "turn", "type": "quantitative", "scale": None},
        },
    }
    return [line, head]
