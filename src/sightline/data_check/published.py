"""What `quality` and `coverage` found, as a table or as a page that opens from disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline import __version__
from sightline.errors import UsageError
from sightline.exports.tables import csv_of
from sightline.report.page import render
from sightline.store import write_atomically

Board = dict[str, Any]
"""A `heading`, `lines` of sentences and a `figure`."""


def publish(
    path: Path,
    kind: str,
    title: str,
    boards: Callable[[], Sequence[Board]],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write rows as .csv, or an .html page: sentences and a figure per board, and the rows as one table.

    Raises:
        UsageError: for another ending.
    """
    if path.suffix == ".csv":
        write_atomically(path, csv_of(rows))
        return
    if path.suffix != ".html":
        raise UsageError(f"{path}: the file ends in .csv (a table) or .html (a page with its chart)")
    values = {
        "title": title,
        "kind": kind,
        "version": __version__,
        "boards": boards(),
        "columns": list(rows[0]) if rows else [],
        "rows": [["" if value is None else _short(value) for value in row.values()] for row in rows],
    }
    write_atomically(path, render(values, "items.html.j2").encode("utf-8", "replace"))


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
