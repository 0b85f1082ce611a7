"""The report in brief, as plain text for a terminal: result tables, the headline, what to read with care."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from sightline.metrics.rates import Rate
from sightline.report.board import Board, Cell, Condition, cells_under, conditions
from sightline.report.roles import Role
from sightline.report.story import Story
from sightline.report.tables import shown
from sightline.report.text import label

WIDTH = 100
TARGETS_ABREAST = 4
MOST_ROWS = 60
LONGEST = 2000
_MEASURES = {
    "asr": "restricted requests obeyed",
    "asr_soft": "restricted requests obeyed, in part counted in",
    "steered": "replies that say what the attacker wants",
}
_ASKED = {Role.plain: "asked plainly", Role.control: "control: "}


def brief(board: Board, stories: Sequence[Story], warnings: Sequence[str]) -> str:
    """Tables by the primary judge and by those that read what an attacker wants, headline and cautions."""
    steering = {cell.condition.judge for cell in board.cells if cell.summary.id.success == "steered"}
    wanted = [c for c in conditions(board.cells, board.primary) if c.judge in {board.primary, *steering}]
    blocks = ["\n".join(_table(condition, cells_under(condition, board.cells))) for condition in wanted]
    blocks += ["\n".join(_story(story)) for story in stories]
    if warnings:
        points = (_filled(label(text, LONGEST), first="- ", then="  ") for text in warnings)
        blocks.append("\n".join(["Read with care:", *points]))
    return "\n\n".join(block for block in blocks if block)


def _filled(text: str, first: str = "", then: str = "") -> str:
    """Lines of `WIDTH`; a word that is longer, such as a path, is never cut."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _story(story: Story) -> Iterator[str]:
    if story.about:
        yield f"{label(story.about, LONGEST)}:"
    yield _filled(story.lede.striptags())
    for line in story.more:
        yield _filled(line.striptags())


def _table(condition: Condition, cells: Sequence[Cell]) -> Iterator[str]:
    """A row for every attack and defense, a column for every target; four targets abreast."""
    measure = next((cell.summary.id.success for cell in cells if cell.success is not None), "asr")
    yield _filled(
        f"{_MEASURES.get(measure, measure)}, 95 % interval; {label(condition.benchmark, LONGEST)}, "
        f"judged by {label(condition.judge, LONGEST)}, oracle {label(condition.oracle)}"
    )
    targets = list(dict.fromkeys(cell.target for cell in cells))
    for start in range(0, len(targets), TARGETS_ABREAST):
        some = targets[start : start + TARGETS_ABREAST]
        rows = list(_rows(cells, some))
        heads = ["", *(label(name, LONGEST) for name in some), "n"]
        yield from aligned([heads, *rows[:MOST_ROWS]])
        if len(rows) > MOST_ROWS:
            yield f"  and {len(rows) - MOST_ROWS:,} more rows in report.html"


def _rows(cells: Sequence[Cell], targets: Sequence[str]) -> Iterator[list[str]]:
    asked: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.role):
        asked.setdefault((_name(cell), _behind(cell)), {})[cell.target] = cell
    for (name, behind), row in asked.items():
        yield from _row(name + behind, [row[t].summary.success if t in row else None for t in targets])
    plain = [cell for cell in cells if cell.role is Role.plain] or list(cells)
    kept: dict[str, dict[str, Cell]] = {}
    for cell in plain:
        kept.setdefault(_behind(cell), {}).setdefault(cell.target, cell)
    for behind, row in kept.items():
        found = [row[target].summary if target in row else None for target in targets]
        refused = [None if each is None else each.over_refusal for each in found]
        yield from _row(f"benign requests refused{behind}", refused)
        yield from _row(
            f"questions right{behind}", [None if each is None else each.utility for each in found]
        )


def _name(cell: Cell) -> str:
    if cell.role is Role.plain:
        return _ASKED[Role.plain]
    return _ASKED.get(cell.role, "") + label(cell.attack)


def _behind(cell: Cell) -> str:
    return "" if cell.bare else f" behind {label(cell.defense)}"


def _row(name: str, rates: Sequence[Rate | None]) -> Iterator[list[str]]:
    """A row if anything of its kind was asked."""
    found = [(rate, shown(rate)) for rate in rates]
    if all(each is None for _, each in found):
        return
    values, counts = [], []
    for rate, each in found:
        if rate is None or each is None:
            values.append("-")
            continue
        lost = f" ({rate.unscored:,} unscored)" if rate.unscored else ""
        values.append((f"{each.text} {each.interval}" if each.point is not None else "none scored") + lost)
        counts.append(rate.n)
    spread = dict.fromkeys((min(counts), max(counts)))
    yield [name, *values, " to ".join(f"{count:,}" for count in spread)]


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns, the first to the left and the others to the right."""
    plain = [[cell.replace("\u00a0", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*plain, fillvalue="")]
    for first, *rest in plain:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        yield "  ".join([f"  {first:<{widths[0]}}", *cells]).rstrip()
