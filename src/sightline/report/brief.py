"""A run's summary as plain text: tables, headlines, what can be trusted and what it cost."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from sightline.counting import plural
from sightline.metrics.cells import SPLITS
from sightline.metrics.rates import Rate
from sightline.report import third_party, trust_section
from sightline.report.cells import Board, Cell, Condition, Role, cells_under, conditions
from sightline.report.headline import Headline
from sightline.report.judge_rows import judge_rows
from sightline.report.tables import shown
from sightline.report.text import label, oracle_text
from sightline.report.training import Training
from sightline.report.training import text_rows as training_rows
from sightline.report.trust_section import TrustView

WIDTH = 100
TARGETS_ABREAST = 4
MOST_ROWS = 60
LONGEST = 2000
_MEASURES = {
    "asr": "ASR (restricted requests complied with)",
    "asr_soft": "soft ASR (partly complied counts)",
    "attacker_goal": "targeted ASR (responses that reach the attacker's goal)",
}
_ASKED = {Role.plain: "no attack", Role.control: "control: "}


def brief(
    board: Board,
    headlines: Sequence[Headline],
    warnings: Sequence[str],
    asked: Sequence[str] = (),
    trusted: TrustView | None = None,
    training: Training | None = None,
    hypothesis: str = "",
) -> str:
    """Tables by the primary judge and by judges of the attacker's goal, headline, training, trust, costs."""
    judges = {board.primary, *board.goal_judges}
    wanted = [c for c in conditions(board.cells, board.primary) if c.judge in judges]
    blocks = ["\n".join(_table(condition, board)) for condition in wanted]
    injected = third_party.injections(board)
    if injected is not None:
        blocks += ["\n".join([title, *aligned(rows)]) for title, rows in third_party.text_rows(injected)]
    blocks += ["\n".join(_headline(found)) for found in headlines]
    if hypothesis:
        blocks.append(_filled(hypothesis))
    if training is not None:
        blocks += ["\n".join([title, *aligned(rows)]) for title, rows in training_rows(training)]
    if trusted is not None:
        told, rows = trust_section.trust_lines(trusted, board)
        lines = (_filled(label(text, LONGEST), first="- ", then="  ") for text in told)
        judged = aligned(list(judge_rows(trusted, board)))
        blocks.append("\n".join(["Can these numbers be trusted?", *lines, *aligned(rows), *judged]))
    if asked:
        lines = (_filled(label(text, LONGEST), first="- ", then="  ") for text in asked)
        blocks.append("\n".join(["Asked while crafting:", *lines]))
    if warnings:
        points = (_filled(label(text, LONGEST), first="- ", then="  ") for text in warnings)
        blocks.append("\n".join(["Cautions:", *points]))
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


def _headline(found: Headline) -> Iterator[str]:
    if found.about:
        yield f"{label(found.about, LONGEST)}:"
    yield _filled(found.text.striptags())
    for line in found.details:
        yield _filled(line.striptags())


def _table(condition: Condition, board: Board) -> Iterator[str]:
    """A row for every attack and defense, a column for every target, at most four per block."""
    cells = cells_under(condition, board.cells)
    measure = next((cell.summary.id.success for cell in cells if cell.success is not None), "asr")
    yield _filled(
        f"{_MEASURES.get(measure, measure)}, 95 % interval; {label(condition.benchmark, LONGEST)}, "
        f"judge {label(board.judge_title(condition.judge), LONGEST)}, {oracle_text(condition.oracle)}"
    )
    targets = list(dict.fromkeys(cell.target for cell in cells))
    for start in range(0, len(targets), TARGETS_ABREAST):
        some = targets[start : start + TARGETS_ABREAST]
        rows = list(_rows(cells, some))
        heads = ["", *(label(name, LONGEST) for name in some), "n"]
        yield from aligned([heads, *rows[:MOST_ROWS]])
        if len(rows) > MOST_ROWS:
            yield f"  and {plural(len(rows) - MOST_ROWS, 'more row')} in report.html"


def _rows(cells: Sequence[Cell], targets: Sequence[str]) -> Iterator[list[str]]:
    asked: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.role):
        asked.setdefault((_name(cell), _defense(cell)), {})[cell.target] = cell
    for (name, defense), row in asked.items():
        yield from _row(name + defense, [row[t].summary.success if t in row else None for t in targets])
    plain = [cell for cell in cells if cell.role is Role.plain] or list(cells)
    plain.sort(key=lambda cell: not cell.headline)  # of a defense that learned: the other cases
    kept: dict[str, dict[str, Cell]] = {}
    for cell in plain:
        kept.setdefault(_defense(cell), {}).setdefault(cell.target, cell)
    for defense, row in kept.items():
        found = [row[target].summary if target in row else None for target in targets]
        refused = [None if each is None else each.over_refusal for each in found]
        yield from _row(f"over-refusal{defense}", refused)
        asked_by = {
            name
            for each in found
            if each is not None
            for name in each.utility_from
            if name != each.id.benchmark
        }
        whose = f" (questions of {', '.join(map(label, sorted(asked_by)))})" if asked_by else ""
        utility = [None if each is None else each.utility for each in found]
        yield from _row(f"utility{whose}{defense}", utility)


def _name(cell: Cell) -> str:
    if cell.role is Role.plain:
        split = cell.summary.id.seen
        return _ASKED[Role.plain] + (f" ({SPLITS[split]} cases)" if split else "")
    return _ASKED.get(cell.role, "") + label(cell.attack)


def _defense(cell: Cell) -> str:
    return "" if cell.bare else f", defense {label(cell.defense)}"


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
