"""The files of a study's responses: which they are, what lies in them, and by which format it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.responses.answers import MARKERS
from sightline.rows import rows_of_json

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".eval")


class Placed(NamedTuple):
    """A row of a table, where it stands, and why it cannot be read at all."""

    place: str
    row: Mapping[str, Any]
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a study says of its responses.

    Attributes:
        files: paths, patterns or folders.
        format: of the files; '' to find out.
        columns: what is to be read as what: `{"response": "utterance"}`; None for no column.
        labels: what the values of the column `expected` mean, in lower case: `{"hateful": "refuse"}`.
        model: of files that do not name one.
        attack: the same.
        defense: the same.
        expected: of cases of which no row says what is expected.
        plain: names that stand for no attack.
        controls: names of attacks that are controls.
        error_markers: texts that stand for no response, besides the known ones.
        behaviors: a table of behaviors by id, for HarmBench.
        images: the folder of the pictures that rows name; '' is that of each file.
        encoding: of tables that are not in UTF-8 and have no byte-order mark.
        keep_bad: whether a row that cannot be used becomes an error outcome.
    """

    files: tuple[str, ...]
    format: str = ""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    attack: str = ""
    defense: str = ""
    expected: str = ""
    plain: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    error_markers: tuple[str, ...] = ()
    behaviors: str = ""
    images: str = ""
    encoding: str = ""
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


def open_file(path: Path, root: Path, release: OfficialRelease, encoding: str = "") -> File:
    """A file with its rows, or its JSON object.

    Raises:
        UsageError: naming file and row.
    """
    name = path.relative_to(root).as_posix()
    suffix = path.suffix.lower()
    if suffix == ".eval":
        return File(name=name, path=path)
    if suffix == ".json":
        whole = release.json(name)
        if isinstance(whole, Mapping):
            return File(name=name, path=path, whole=whole)
        rows = rows_of_json(whole, name)
    else:
        rows = release.rows(name, encoding=encoding)
    placed = (Placed(f"{name}, {row.unit} {row.number}", row.fields, row.fault) for row in rows)
    first = list(islice(placed, 1))
    return File(
        name=name,
        path=path,
        rows=chain(first, placed),
        peeked=[each.row for each in first],
        is_text=suffix in (".csv", ".tsv"),
    )
