"""The judges as a table of report.txt, where no rate of the headline's judge is printed three ways."""

from __future__ import annotations

from collections.abc import Iterator

from sightline.report.cells import Board
from sightline.report.text import label, percent
from sightline.report.trust_section import TrustView

HEADS = ("Judge", "verdicts", "unscored", "complied", "Se", "Sp", "known by")
_STANDING = 40


def judge_rows(view: TrustView, board: Board) -> Iterator[list[str]]:
    """Heads and a row for each judge; nothing if rates say the same.

    Se and Sp are as in the section's table of judges: `unknown` where nothing tells them.
    """
    if view.main or not view.judges:
        return
    yield list(HEADS)
    for line in view.judges:
        mine = [cell for cell in board.cells if cell.summary.id.judge == line.judge]
        n, lost = sum(cell.n for cell in mine), sum(cell.unscored for cell in mine)
        hits = sum(cell.summary.counts.get("complied", 0) for cell in mine)
        share = f"{hits:,} ({percent(hits, n - lost)})" if n > lost else "none scored"
        said = [label(text, _STANDING) for text in (line.sensitivity, line.specificity, line.standing)]
        yield [label(board.judge_name(line.judge), _STANDING), f"{n:,}", f"{lost:,}", share, *said]
