"""A comparison of runs as text, Markdown, plain values and a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sightline import __version__
from sightline.comparing.compare import Comparison, difference_row
from sightline.counting import plural, verb
from sightline.metrics.cells import method_of
from sightline.metrics.contrast import Contrast
from sightline.report.differences import interval_text, p_text
from sightline.report.figures import Dot, Plain, intervals
from sightline.report.page import render as render_page
from sightline.report.shown_names import ShownNames
from sightline.report.text import MEASURE_NAMES, as_percent, few, label, markdown_cell, points
from sightline.store import write_atomically

MOST_DRAWN = 60


def what(contrast: Contrast, shown: ShownNames, leave_out: frozenset[str] = frozenset()) -> str:
    """`ASR, figstep, defense none, target testbed/linear`: a cell, and what it is compared with."""
    cell, base = contrast.cell, contrast.base
    named = [MEASURE_NAMES.get(contrast.measure, contrast.measure.replace("_", "-")), cell.shown]
    for name in (each for each in ("defense", "target") if each not in leave_out):
        one, other = (shown.within(getattr(each, name)) for each in (base, cell))
        named.append(f"{name} {other}" if one == other else f"{name} {one} → {other}")
    return ", ".join(named)


def place(contrast: Contrast) -> str:
    """Benchmark and judge."""
    return f"{contrast.cell.benchmark}, judge {method_of(contrast.cell.judge)}"


def figures(contrast: Contrast) -> str:
    """`97 % → 12 %, −85 [−95, −70] points, p <0.001, 72 pairs`."""
    if not contrast.pairs:
        return f"no pair was scored in both runs ({contrast.unscored_pairs:,} unscored)"
    lost = f", {contrast.unscored_pairs:,} unscored" if contrast.unscored_pairs else ""
    p = p_text(contrast)
    return (
        f"{as_percent(contrast.base_share)} → {as_percent(contrast.cell_share)}, {points(contrast.point)} "
        f"{interval_text(contrast)} points, {f'p {p}' if p.startswith(('<', '0', '1')) else p}, "
        f"{plural(contrast.pairs, 'pair')}{lost}"
    )


def heading(found: Comparison) -> str:
    """One sentence."""
    clear, pairs = len(found.clear), plural(len(found.contrasts), "rate")
    differ = f"{clear} of {pairs} {verb(clear, 'differ')} clearly"
    return f"{found.former} → {found.later}: {differ} on the samples of both"


def notes(found: Comparison) -> Iterator[tuple[str, str]]:
    """(kind, sentence) of what is compared, what to be careful about, and what was left out."""
    for name, string in _strings(found):
        yield "target", f"{name}: {string}"
    for line in found.matched:
        yield "compared", found.shown.within(line)
    for line in found.agreement.changed:
        yield "changed", line
    for line in found.agreement.cautions:
        yield "caution", line
    for line in found.left_out:
        yield "left out", found.shown.within(line)


def _strings(found: Comparison) -> Iterator[tuple[str, str]]:
    """The names of trained targets that are compared, with their strings."""
    met = {cell.target for each in found.contrasts for cell in (each.cell, each.base)}
    for string, name in found.shown.of_string.items():
        if string in met and name != string:
            yield name, string


def text(found: Comparison, *, everything: bool = False) -> str:
    """The clear differences, the largest first; with `everything`, also the others."""
    lines = [heading(found), *(f"{kind}: {line}" for kind, line in notes(found))]
    shown = _sorted(found) if everything else found.clear
    for where in dict.fromkeys(map(place, shown)):
        lines += ["", where]
        lines += [f"  {what(each, found.shown)}: {figures(each)}" for each in shown if place(each) == where]
    left = len(found.contrasts) - len(shown)
    if left:
        lines += ["", f"{plural(left, 'rate')} without a clear difference (--all shows them)"]
    return "\n".join(lines)


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Tables for a pull request: clear differences first."""
    lines: list[str] = []
    for found in comparisons:
        lines += [f"### {markdown_cell(heading(found))}", ""]
        lines += [f"- {kind}: {markdown_cell(line)}" for kind, line in notes(found)]
        lines += ["", "| rate | where | former → later, difference [95 %] | clear |", "|---|---|---|---|"]
        for each in _sorted(found):
            cells = (what(each, found.shown), place(each), figures(each), "yes" if each.is_clear else "")
            lines.append(f"| {' | '.join(map(markdown_cell, cells))} |")
        lines.append("")
    return "\n".join(lines)


def plain(found: Comparison) -> dict[str, Any]:
    """Values for JSON."""
    return {
        "former": str(found.former),
        "later": str(found.later),
        "studies": list(found.names),
        "compared": list(found.matched),
        "changed": list(found.agreement.changed),
        "cautions": list(found.agreement.cautions),
        "left_out": list(found.left_out),
        "differences": [difference_row(each) for each in found.contrasts],
    }


def write_page(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a page that opens from disk."""
    boards = []
    for found in comparisons:
        ordered = _sorted(found)
        drawn = [each for each in ordered if each.pairs]
        boards.append(
            {
                "heading": heading(found),
                "notes": list(notes(found)),
                "figure": _drawing(found, drawn[:MOST_DRAWN]),
                "undrawn": max(0, len(drawn) - MOST_DRAWN),
                "lines": [
                    (what(each, found.shown), place(each), *_numbers(each), each.is_clear) for each in ordered
                ],
            }
        )
    names = few([found.later.name for found in comparisons])
    values = {"title": f"{comparisons[0].former.name} → {names}", "version": __version__, "boards": boards}
    write_atomically(path, render_page(values, "compare.html.j2").encode("utf-8", "replace"))


def _numbers(each: Contrast) -> tuple[str, str, str, str, str]:
    if not each.pairs:
        return ("", "", "", "no scored pair", f"0 ({each.unscored_pairs:,} unscored)")
    lost = f" ({each.unscored_pairs:,} unscored)" if each.unscored_pairs else ""
    return (
        as_percent(each.base_share),
        as_percent(each.cell_share),
        f"{points(each.point)} {interval_text(each)}",
        p_text(each),
        f"{each.pairs:,}{lost}",
    )


def _sorted(found: Comparison) -> list[Contrast]:
    return [*found.clear, *(each for each in found.contrasts if not each.is_clear)]


def _drawing(found: Comparison, drawn: Sequence[Contrast]) -> Any:
    """Differences (x, percentage points) with their 95 % intervals, one to a row; zero is marked."""
    if not drawn:
        return None
    several = len({place(each) for each in drawn}) > 1
    alike = frozenset(
        name
        for name in ("defense", "target")
        if len({(getattr(each.base, name), getattr(each.cell, name)) for each in drawn}) == 1
    )
    told = [what(each, found.shown, alike) + (f", {place(each)}" if several else "") for each in drawn]
    dots = [
        Dot(label(f"{number}. {name}", 56), 100 * each.point, 100 * each.low, 100 * each.high)
        for number, (name, each) in enumerate(zip(told, drawn, strict=True), 1)
    ]
    title = "later run minus former run, percentage points"
    x: Plain = {"field": "at", "type": "quantitative", "title": title, "scale": {"domain": [-100, 100]}}
    what_is_drawn = f"Differences of {plural(len(drawn), 'rate')} with 95 % intervals. {heading(found)}"
    return intervals(dots, x, what_is_drawn, zero=True)
