"""The figure of one search: losses and greedy targets by step."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from sightline.report.figures import SERIES, Plain, render

MOST_POINTS = 100


def thinned(curve: Sequence[tuple[float, ...]], most: int = MOST_POINTS) -> list[tuple[float, ...]]:
    """At most `most` points of a curve, evenly among its own, first and last kept."""
    if len(curve) <= most:
        return list(curve)
    places = [round(number * (len(curve) - 1) / (most - 1)) for number in range(most)]
    return [curve[place] for place in places]


def search(
    trace: Sequence[tuple[int, float]], checks: Sequence[tuple[int, float, float]], description: str
) -> Markup:
    """The loss of one search by step: training (line) and the written file (dots); below, greedy targets.

    Args:
        trace: (step, training loss).
        checks: (step, validation loss, share of the targets that greedy decoding writes).
        description: text alternative of the figure.
    """
    width = 300
    trained = [{"step": step, "loss": loss} for step, loss in thinned(trace)]
    checked = [{"step": step, "loss": loss, "greedy": 100 * share} for step, loss, share in thinned(checks)]
    end = max((int(point["step"]) for point in (*trained, *checked)), default=0)
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
                "data": {"values": checked},
                "mark": {"type": "point", "filled": True, "size": 18, "color": SERIES[0], "opacity": 1},
                "encoding": {"x": steps(None), "y": axis("loss", "loss")},
            },
        ],
    }
    panels = [loss]
    if any(point["greedy"] for point in checked):
        panels.append(
            {
                "width": width,
                "height": 50,
                "data": {"values": checked},
                "mark": {"type": "line", "strokeWidth": 1.6, "color": SERIES[0]},
                "encoding": {"x": steps("step"), "y": axis("greedy", "greedy, %", domain=(0, 100))},
            }
        )
    else:
        loss["layer"][0]["encoding"]["x"] = steps("step")
    return render({"spacing": 8, "vconcat": panels}, description)
