"""What a check of data finds, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ColumnFound:
    """A column of a table.

    Attributes:
        role: what it is taken for; '' if it is not used, or if its benchmark knows its columns.
        empty: rows where the cell is an empty text; `null` where it is null, `nan` where it is a NaN,
            `absent` where the row has no such cell.
    """

    name: str
    role: str = ""
    empty: int = 0
    null: int = 0
    nan: int = 0
    absent: int = 0


@dataclass(frozen=True, slots=True)
class TableFound:
    """A table: its file, its encoding ('' for binary ones), its rows and columns."""

    file: str
    encoding: str
    rows: int
    columns: tuple[ColumnFound, ...]


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A case as the model will see it: each message with its role and its parts, pictures described."""

    where: str
    id: str
    expected: str
    category: str
    messages: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesFound:
    """The pictures of all cases.

    Attributes:
        shown: how often one is shown.
        files: different contents that were read.
        without: cases without one.
        unreadable: those that are there and cannot be read.
        missing: those that are not there, or are named by what is no path in the data.
        same: places of pictures of the same content at different places.
        alike: places of pictures that look the same, such as one saved again in another size.
        shared: cases that show a picture which another case shows too.
    """

    shown: int = 0
    files: int = 0
    without: int = 0
    unreadable: int = 0
    missing: int = 0
    same: tuple[tuple[str, ...], ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()
    shared: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCheck:
    """Everything that a check of data found.

    Attributes:
        benchmark: with its settings, as a study writes it.
        root: where the data lie.
        tables: those whose rows were read, in order.
        rows: of all tables.
        cases: that they make.
        bad: every row and picture that cannot be used, as `sightline run` would tell it; or why the data
            cannot be read at all.
        notes: what need not be mended.
        expected: cases by what a safe model does.
        categories: cases by the benchmark's own category.
        languages: rows by language, if there is such a column.
        groups: clusters of the intervals.
        repeated: cases whose text was there before, and some of them.
        identical: ids of cases that ask the same with the same pictures.
        pictures: see `PicturesFound`.
        measures: what each measure lacks, by its name; '' if nothing.
        official: cases by category as the official release has them (expected, found); empty if not known.
        known: files that are known from an official release, with what they are.
        samples: the first cases as the model will see them.
    """

    benchmark: str
    root: str
    tables: tuple[TableFound, ...] = ()
    rows: int = 0
    cases: int = 0
    bad: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    expected: Mapping[str, int] = field(default_factory=dict)
    categories: Mapping[str, int] = field(default_factory=dict)
    languages: Mapping[str, int] = field(default_factory=dict)
    groups: int = 0
    repeated: int = 0
    identical: tuple[tuple[str, ...], ...] = ()
    pictures: PicturesFound = field(default_factory=PicturesFound)
    measures: Mapping[str, str] = field(default_factory=dict)
    official: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    samples: tuple[SampleRow, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether a study would run with the data as they are."""
        return not self.bad

    def plain(self) -> dict[str, Any]:
        """All of it as plain (JSON-ready) values."""
        return {**dataclasses.asdict(self), "ok": self.ok}

    def text(self, most: int = 100) -> str:
        """All of it to read; of a long list only the first entries."""
        from sightline.data_check.text import text_of

        return text_of(self, most)

    def __str__(self) -> str:
        return self.text()
