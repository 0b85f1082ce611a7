"""A coverage map as text, as a table and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline import taxonomy
from sightline.data_check.coverage_map import CHANNELS, NO_CODE, CoverageMap
from sightline.data_check.published import Board, publish
from sightline.metrics.intervals import FEW_GROUPS
from sightline.report.figures import Plain, render

UNCODED = "(no code of the taxonomy)"


def name_of(hazard: str) -> str:
    """A hazard in words."""
    return UNCODED if hazard == NO_CODE else f"{hazard} {taxonomy.hazards()[hazard].name}"


def text(found: CoverageMap) -> str:
    """The map of all benchmarks together, hazards with cases alone, and what is empty."""
    hazards = [hazard for hazard in found.hazards if any(found.groups(hazard, each) for each in CHANNELS)]
    width = max([len(name_of(hazard)) for hazard in hazards], default=0)
    rows = [f"{'distinct groups':{width}}  " + "  ".join(f"{channel:>16}" for channel in CHANNELS)]
    for hazard in hazards:
        counts = [found.groups(hazard, channel) for channel in CHANNELS]
        rows.append(f"{name_of(hazard):{width}}  " + "  ".join(f"{number or '-':>16}" for number in counts))
    return "\n".join([*rows, "", *lines(found)])


def lines(found: CoverageMap) -> Iterator[str]:
    """Sentences about the whole map."""
    cells = len(found.hazards) * len(CHANNELS)
    yield (
        f"{found.measured} of {cells} cells (hazard x channel) have {FEW_GROUPS} distinct groups or more; "
        f"{100 * found.empty:.0f} % are empty: not measured"
    )
    for label in found.benchmarks:
        own = [cell for cell in found.cells if cell.benchmark == label]
        before, after = sum(cell.groups for cell in own), sum(cell.distinct for cell in own)
        near = found.near[label]
        alike = "too many texts for near-duplicates" if near is None else f"{near:,} pairs nearly the same"
        yield (
            f"{label}: {sum(cell.cases for cell in own):,} cases that ask for harm, {before:,} groups over "
            f"its cells, {after:,} distinct; {alike}; {found.harmless[label]:,} cases ask for none"
        )
    for label, why in found.unread.items():
        yield f"{label}: not read ({why})"
    yield "where the harm is (text, picture, only both together) is not in releases: it takes people's coding"


def rows_of(found: CoverageMap) -> list[dict[str, Any]]:
    """A row for each cell with cases."""
    names = ("benchmark", "hazard", "channel", "cases", "groups", "distinct")
    return [{name: getattr(cell, name) for name in names} for cell in found.cells]


def figure(found: CoverageMap) -> Any:
    """The map: hazards x channels, darker from 30 distinct groups on; empty cells say so."""
    values = [
        {
            "hazard": name_of(hazard),
            "channel": channel,
            "shown": str(number) if number else "not measured",
            "fill": 0.75 if number >= FEW_GROUPS else 0.25 if number else 0.0,
        }
        for hazard in found.hazards
        for channel in CHANNELS
        for number in [found.groups(hazard, channel)]
    ]
    x: Plain = {"field": "channel", "type": "nominal", "sort": list(CHANNELS), "title": None}
    x["axis"] = {"labelAngle": 0, "labelLimit": 120}
    y: Plain = {"field": "hazard", "type": "nominal", "sort": [name_of(each) for each in found.hazards]}
    y |= {"title": None, "axis": {"labelLimit": 380}}
    opacity: Plain = {"field": "fill", "type": "quantitative", "scale": None}
    layers: list[Plain] = [
        {
            "mark": {"type": "rect", "color": "var(--series-1)"},
            "encoding": {"x": x, "y": y, "opacity": opacity},
        },
        {
            "mark": {"type": "text", "color": "var(--ink)", "fontSize": 10},
            "encoding": {"x": x, "y": y, "text": {"field": "shown"}},
        },
    ]
    size: Plain = {"width": 520, "height": 22 * len(found.hazards)}
    return render({**size, "data": {"values": values}, "layer": layers}, next(lines(found)))


def write(found: CoverageMap, path: Path) -> None:
    """Write a .csv of the cells, or an .html page that opens from disk.

    Raises:
        UsageError: for another ending.
    """

    def boards() -> list[Board]:
        return [{"heading": "All benchmarks together", "lines": list(lines(found)), "figure": figure(found)}]

    publish(path, "coverage", "What the benchmarks cover, by hazard and channel", boards, rows_of(found))
