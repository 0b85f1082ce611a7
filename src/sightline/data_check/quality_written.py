"""What runs say about the items of a benchmark, as text, as a table and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sightline.data_check.published import Board, publish
from sightline.data_check.quality import LOW, Quality
from sightline.metrics.items import LEAST_TAU, clopper_pearson
from sightline.report.figures import Plain, render

SHOWN = 10


def text(found: Sequence[Quality]) -> str:
    """Sentences on each benchmark, and its most doubtful items."""
    return "\n\n".join("\n".join([heading(each), *(f"  {line}" for line in lines(each))]) for each in found)


def heading(found: Quality) -> str:
    """One line."""
    return (
        f"{found.benchmark}, {found.measure}: {len(found.items)} items in {found.groups} groups, "
        f"{len(found.systems)} systems, judge {found.judge}"
    )


def lines(found: Quality) -> Iterator[str]:
    """What was found, in sentences."""
    yield size_line(found)
    told = [each for each in found.items if each.item_rest is not None]
    if told:
        middle = sorted(each.item_rest or 0.0 for each in told)[len(told) // 2]
        below = f"below 0 in {len(found.reversed)} of {len(told)} items"
        yield f"item-rest correlation: median {middle:.2f}, {below}"
    for each in found.reversed[:SHOWN]:
        right = f"right in {100 * each.right:.0f} %"
        yield f"  read for a wrong label: {each.case} ({each.item_rest:.2f}, {right})"
    fitted = [each for each in found.items if each.discrimination is not None]
    if fitted:
        low = sum((each.discrimination or 0.0) < LOW for each in fitted)
        negative = sum((each.discrimination or 0.0) < 0 for each in fitted)
        where = f"{low} of {len(fitted)} items discriminate below {LOW}, {negative} below 0"
        yield f"two-parameter model: {where}"
    if found.near is not None:
        yield f"near-duplicates: {found.near:,} pairs, {found.near_across:,} of them between two groups"
    for leak in found.leaks:
        where = f" ({leak.category})" if leak.category else ""
        share = leak.right
        yield (
            f"leak: {leak.target} is right without the picture in {100 * (share.point or 0):.0f} % "
            f"[{100 * share.low:.0f}, {100 * share.high:.0f}] of {leak.items} items{where}"
        )
    for note in found.notes:
        yield f"note: {note}"


def size_line(found: Quality) -> str:
    """How many groups rank the systems as all do."""
    size = found.size
    if len({share for _, share in found.systems}) < 2:
        return "size: all systems are equal, so there is no ranking"
    if size.needed is None:
        return f"size: no number of its groups ranks the systems with tau {LEAST_TAU} in 95 % of draws"
    bound = "; above half of the groups: a lower bound" if 2 * size.needed > found.groups else ""
    ranked = f"rank the systems with tau {LEAST_TAU} in 95 % of draws"
    return f"size: {size.needed} of {found.groups} groups {ranked}{bound}"


def noise_line(wrong: int, checked: int) -> str:
    """What people who checked labels say about the share of wrong ones.

    Raises:
        UsageError: for counts that cannot be.
    """
    low, high = clopper_pearson(wrong, checked)
    return (
        f"label noise: {wrong} of {checked} checked labels are wrong, {100 * wrong / checked:.1f} % "
        f"[{100 * low:.1f}, {100 * high:.1f}] (Clopper-Pearson), if they were drawn at random"
    )


def rows_of(found: Sequence[Quality]) -> list[dict[str, Any]]:
    """A row for each item."""
    return [
        {
            "benchmark": each.benchmark,
            "release": each.release,
            "measure": each.measure,
            "case": item.case,
            "group": item.group,
            "category": item.category,
            "systems": len(each.systems),
            "right": item.right,
            "item_rest": item.item_rest,
            "discrimination": item.discrimination,
            "difficulty": item.difficulty,
            "near": " ".join(item.near),
        }
        for each in found
        for item in each.items
    ]


def figure(found: Quality) -> Any:
    """Kendall's tau that 95 % of draws reach, by the number of groups."""
    pairs = zip(found.size.sizes, found.size.tau, strict=True)
    values = [{"groups": size, "tau": tau} for size, tau in pairs]
    x: Plain = {"field": "groups", "type": "quantitative", "title": "groups drawn"}
    y: Plain = {"field": "tau", "type": "quantitative", "title": "tau reached in 95 % of draws"}
    y["scale"] = {"domain": [min(0.0, *found.size.tau), 1]}
    line: Plain = {"type": "line", "color": "var(--series-1)", "point": True}
    rule: Plain = {"type": "rule", "color": "var(--soft)"}
    layers: list[Plain] = [
        {
            "data": {"values": [{"least": LEAST_TAU}]},
            "mark": rule,
            "encoding": {"y": {**y, "field": "least"}},
        },
        {"mark": line, "encoding": {"x": x, "y": y}},
    ]
    return render(
        {"width": 460, "height": 220, "data": {"values": values}, "layer": layers}, size_line(found)
    )


def write(found: Sequence[Quality], path: Path) -> None:
    """Write a .csv of the items, or an .html page that opens from disk.

    Raises:
        UsageError: for another ending.
    """

    def boards() -> list[Board]:
        return [
            {"heading": heading(each), "lines": list(lines(each)), "figure": figure(each)} for each in found
        ]

    publish(path, "quality", "Is the benchmark itself good?", boards, rows_of(found))
