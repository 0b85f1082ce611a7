"""The files of a study's responses: which they are, what lies in them, and by which format it is read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.responses.answers import MARKERS

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".eval")
CELL = 32_000_000
"""Characters of one cell of a CSV file, at most."""


class Placed(NamedTuple):
    """A row of a table, and where it stands."""

    place: str
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a study says of its responses.

    Attributes:
        files: paths, patterns or folders.
        format: of the files; '' to find out.
        columns: what is to be read as what: `{"response": "utterance"}`.
        model: of files that do not name one.
        attack: the same.
        defense: the same.
        expected: of cases of which no row says what is expected.
        plain: names that stand for no attack.
        controls: names of attacks that are controls.
        error_markers: texts that stand for no response, besides the known ones.
        behaviors: a table of behaviors by id, for HarmBench.
        keep_bad: whether a row that cannot be used becomes an error outcome.
    """

    files: tuple[str, ...]
    format: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    attack: str = ""
    defense: str = ""
    expected: str = ""
    plain: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    error_markers: tuple[str, ...] = ()
    behaviors: str = ""
    keep_bad: bool = False

    @property
    def markers(self) -> frozenset[str]:
        """Texts that stand for no response."""
        return frozenset((*MARKERS, *self.error_markers))


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file: its name below the root, and what lies in it: rows, or one JSON object (`whole`).

    `peeked` are its first rows; `is_text` says that cells are texts, in which nothing is told from empty.
    """

    name: str
    path: Path
    rows: Iterator[Placed] = field(default_factory=lambda: iter(()))
    whole: Mapping[str, Any] | None = None
    peeked: Sequence[Mapping[str, Any]] = ()
    is_text: bool = False

    @property
    def keys(self) -> frozenset[str]:
        """Names of the first row's cells."""
        return frozenset(self.peeked[0]) if self.peeked else frozenset()


def found_files(wanted: Sequence[str], folder: Path) -> list[Path]:
    """The files that paths, patterns and folders name, relative ones from `folder`.

    Raises:
        UsageError: for one that names nothing.
    """
    found: dict[Path, None] = {}
    for name in wanted:
        path = folder / Path(name).expanduser()
        here = [path] if path.is_file() else []
        if path.is_dir():
            here = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
        elif not here and any(sign in name for sign in "*?["):
            start = Path(path.anchor)
            here = sorted(each for each in start.glob(str(path.relative_to(start))) if each.is_file())
        if not here:
            raise UsageError(f"{path}: no file of responses there ({', '.join(SUFFIXES)})")
        found |= dict.fromkeys(each.resolve() for each in here)
    return list(found)


def open_file(path: Path, root: Path, release: OfficialRelease) -> File:
    """A file with its rows, or its JSON object.

    Raises:
        UsageError: naming file and row.
    """
    name = path.relative_to(root).as_posix()
    suffix = path.suffix.lower()
    if suffix == ".eval":
        return File(name=name, path=path)
    if suffix == ".parquet":
        rows = (Placed(f"{name}, row {n}", row) for n, row in enumerate(release.table(name), start=1))
        return _peeked(name, path, rows)
    text = release.text(name)
    if suffix in (".csv", ".tsv"):
        return _peeked(name, path, _csv_rows(text, name, "\t" if suffix == ".tsv" else ","), is_text=True)
    if suffix in (".jsonl", ".ndjson"):
        return _peeked(name, path, _json_lines(text, name))
    whole = _json(text, name)
    if isinstance(whole, Mapping):
        return File(name=name, path=path, whole=whole)
    if not isinstance(whole, list):
        raise UsageError(f"{name}: a JSON file of responses is a list of rows or an object")
    return _peeked(name, path, (Placed(f"{name}, row {n}", row) for n, row in enumerate(whole, start=1)))


def _peeked(name: str, path: Path, rows: Iterator[Placed], *, is_text: bool = False) -> File:
    checked = (placed for placed in rows if _is_row(placed))
    first = list(islice(checked, 1))
    peeked = [placed.row for placed in first]
    return File(name=name, path=path, rows=chain(first, checked), peeked=peeked, is_text=is_text)


def _is_row(placed: Placed) -> bool:
    if not isinstance(placed.row, Mapping):
        raise UsageError(f"{placed.place}: a row is an object with names and values, got {placed.row!r:.60}")
    return True


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise UsageError(f"{where}: not JSON: {broken}") from None


def _json_lines(text: str, name: str) -> Iterator[Placed]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{name}, line {number}"
            yield Placed(place, _json(line, place))


def _csv_rows(text: str, name: str, separator: str) -> Iterator[Placed]:
    csv.field_size_limit(CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            place = f"{name}, line {reader.line_num}"
            if None in row or None in row.values():
                raise UsageError(
                    f"{place}: {len(row)} cells, not as many as columns; is a text not in quotes?"
                )
            yield Placed(place, row)
    except csv.Error as broken:
        raise UsageError(f"{name}, line {reader.line_num + 1}: not a CSV table ({broken})") from None
