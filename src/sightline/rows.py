"""Rows of foreign tables (CSV, TSV, JSON, JSONL, Parquet, Arrow): each knows its place and checks its cells.

A file that cannot be read at all is a `UsageError`. A row that cannot be read, or lacks what is asked of it,
is a `RowProblem`, so that all of them can be told in one list (see `sightline.readers`).
"""

from __future__ import annotations

import codecs
import copy
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeVar

import orjson

from sightline.encodings import broken_line, encoding_of, lines_within, not_text
from sightline.errors import EncodingError, UsageError, nearest

MAX_LINE_BYTES = 64_000_000
"""Of one line of JSONL or one cell of CSV: pictures may lie in it as base64."""
_YES = frozenset({"true", "yes", "1", "1.0", "y", "t"})
_NO = frozenset({"false", "no", "0", "0.0", "n", "f"})
_ABSENT = object()
_SEPARATOR_LINE = re.compile(r'"?sep=([,;|\t])"?\r?\n?\Z', re.IGNORECASE)
T = TypeVar("T")

csv.field_size_limit(MAX_LINE_BYTES)


class RowProblem(UsageError):  # noqa: N818 - what is wrong with one row
    """One row cannot be used: `where` names file and row, `what` says what is wrong with it."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class Row:
    """One row of a table: its cells, checked when they are asked for.

    Names are tried in order, first as they are, then in any letter case; several names are the spellings of
    one column. Accessors raise `RowProblem` unless a `default` is given.

    Attributes:
        file: the table, for messages.
        unit: what is counted in it: 'line', 'row', 'entry', or 'key'.
        number: line of a CSV or JSONL file from 1; row or entry from 1.
        key: name of an entry in a JSON mapping, else ''.
        fields: cells by column.
        fault: why the row cannot be read at all, or ''.
        stand_in: what `text` gives for a text that cannot be used; '' raises.
    """

    __slots__ = ("_folded", "fault", "fields", "file", "key", "number", "stand_in", "unit")

    def __init__(
        self,
        file: str,
        unit: str,
        number: int,
        fields: Mapping[str, Any],
        *,
        key: str = "",
        fault: str = "",
    ) -> None:
        self.file, self.unit, self.number, self.fields = file, unit, number, fields
        self.key, self.fault, self.stand_in = key, fault, ""
        self._folded: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Row({self.where}: {', '.join(self.fields)})"

    def also(self, **cells: Any) -> Row:
        """The row with further cells, which its table does not have."""
        fields = {**self.fields, **cells}
        return Row(self.file, self.unit, self.number, fields, key=self.key, fault=self.fault)

    def leniently(self, stand_in: str) -> Row:
        """The row, of which texts that cannot be used are `stand_in`: what else it says can still be read."""
        found = copy.copy(self)
        found.stand_in = stand_in
        return found

    @property
    def where(self) -> str:
        """File and row, as messages name them."""
        return f"{self.file}, {self.unit} {repr(self.key)[:80] if self.key else self.number}"

    def problem(self, what: str) -> RowProblem:
        """The error to raise for this row."""
        return RowProblem(self.where, what)

    def column(self, *names: str) -> str | None:
        """The first of these columns that the row has, as the table spells it."""
        for name in names:
            if name in self.fields:
                return name
        if self._folded is None:
            self._folded = {str(name).strip().casefold(): name for name in reversed([*self.fields])}
        return next(
            (self._folded[name.casefold()] for name in names if name.casefold() in self._folded), None
        )

    def value(self, *names: str, default: Any = _ABSENT) -> Any:
        """A cell as it is; None if it holds None."""
        if self.fault:
            raise self.problem(self.fault)
        fields = self.fields
        for name in names:
            if name in fields:
                return fields[name]
        column = self.column(*names)
        if column is not None:
            return fields[column]
        if default is _ABSENT:
            found = ", ".join(map(str, self.fields)) or "nothing"
            raise self.problem(f"no {' or '.join(map(repr, names))}; found {found[:300]}")
        return default

    def blank(self, *names: str) -> bool:
        """Whether a cell is absent or holds nothing: None, NaN, or a text of spaces."""
        return _nothing(self.value(*names, default=None)) != ""

    def text(self, *names: str, default: str | None = None) -> str:
        """A text, verbatim. `default` stands in for an absent or empty one, not for a NaN."""
        value = self.value(*names, default=_ABSENT if default is None else None)
        if isinstance(value, str) and value and not value.isspace():
            return value
        nothing = _nothing(value)
        if nothing and nothing != "NaN" and default is not None:
            return default
        if self.stand_in:
            return self.stand_in
        if nothing:
            raise self.problem(f"{names[0]!r} is {nothing}")
        if not isinstance(value, str):
            raise self.problem(f"{names[0]!r} is {_shown(value)}, not a text in quotes")
        return value

    def word(self, *names: str, default: str | None = None) -> str:
        """A short text without spaces around it, such as an id or a category; whole numbers are texts too."""
        value = self.value(*names, default=_ABSENT if default is None else None)
        if isinstance(value, str) and (word := value.strip()):
            return word
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return self.text(*names, default=default).strip()

    def integer(self, *names: str, default: int | None = None) -> int:
        """A whole number, also written as text."""
        text = self.word(*names, default=None if default is None else str(default))
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
            raise self.problem(f"{names[0]!r} is {text[:40]!r}, not a whole number")
        return int(text)

    def flag(self, *names: str, default: bool | None = None) -> bool:
        """True or False: also written true/false, yes/no, 1/0 in any letter case."""
        value = self.value(*names, default=_ABSENT if default is None else None)
        if isinstance(value, bool):
            return value
        if default is not None and _nothing(value):
            return default
        said = str(value).strip().casefold()
        if said not in _YES and said not in _NO:
            raise self.problem(f"{names[0]!r} is {_shown(value)}, neither true nor false")
        return said in _YES

    def one_of(self, options: Mapping[str, T], *names: str) -> T:
        """What `options` have for a word, in any letter case."""
        word = self.word(*names)
        if word in options:
            return options[word]
        for option, found in options.items():
            if option.casefold() == word.casefold():
                return found
        raise self.problem(nearest(word[:80], options, names[0]))

    def texts(self, *names: str) -> list[str]:
        """A list of texts; a single text is a list of one."""
        value = self.value(*names)
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, Sequence) or not all(isinstance(each, str) for each in found):
            raise self.problem(f"{names[0]!r} is {_shown(value)}, not a list of texts")
        if not found or not all(each.strip() for each in found):
            raise self.problem(f"{names[0]!r} holds an empty text, or none")
        return list(found)

    def rows(self, *names: str) -> list[Row]:
        """A list of mappings, each as a row whose place is within this one."""
        value = self.value(*names)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.problem(f"{names[0]!r} is {_shown(value)}, not a list of mappings")
        inside = f"{self.where}, {names[0]}"
        return [Row(inside, "entry", number, each) for number, each in enumerate(value, start=1)]

    def row(self, *names: str) -> Row:
        """A mapping, as a row whose place is this one's."""
        value = self.value(*names)
        if not isinstance(value, dict):
            raise self.problem(f"{names[0]!r} is {_shown(value)}, not a mapping")
        return Row(self.file, self.unit, self.number, value, key=self.key)


def _nothing(value: object) -> str:
    """How a cell that holds nothing is called; '' if it holds something."""
    if value is None:
        return "missing (null)"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, str) and not value.strip():
        return "empty"
    return ""


def _shown(value: object) -> str:
    return repr(value)[:60]


def rows_of_csv(
    opened: Callable[[], BinaryIO],
    where: str,
    *,
    encoding: str = "",
    header: Sequence[str] | None = None,
    required: Sequence[str] | None = None,
) -> Iterator[Row]:
    """Rows of a table with a header line and commas, tabs or semicolons between its cells.

    Args:
        opened: opens the file.
        where: its name, for messages; one that ends in `.tsv` has tabs.
        encoding: see `decoded`.
        header: names of the columns of a table that has no header line.
        required: columns that it must have, in any letter case.

    Raises:
        UsageError: if it is no such table or lacks a column, naming the line.
    """
    with opened() as file:
        coding = encoding_of(file.read(4), where, encoding)
    line = 0
    try:
        with opened() as file, io.TextIOWrapper(file, encoding=coding, newline="") as text:
            first = next(lines_within(text, MAX_LINE_BYTES), "")
            separator = _separator(where, first)
        with opened() as file, io.TextIOWrapper(file, encoding=coding, newline="") as text:
            reader = csv.reader(lines_within(text, MAX_LINE_BYTES), delimiter=separator, strict=True)
            if _SEPARATOR_LINE.match(first):
                next(reader, [])
            columns = list(header) if header else _columns(next(reader, []), where, required)
            line = reader.line_num
            for cells in reader:
                begun, line = line + 1, reader.line_num  # a cell may hold line breaks
                if cells:
                    yield _csv_row(where, begun, columns, cells)
    except csv.Error as broken:
        raise UsageError(f"{where}, line {line + 1}: not a table ({broken})") from None
    except UnicodeDecodeError as broken:
        with opened() as file:
            line = broken_line(file, broken.encoding) or line + 1
        raise EncodingError(f"{where}, line {line}: {not_text(broken.encoding)}") from None


def _columns(cells: list[str], where: str, required: Sequence[str] | None) -> list[str]:
    """Names of columns in a header line."""
    columns = [cell.strip() for cell in cells]
    if not any(columns):
        raise UsageError(f"{where}: it has no header line")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise UsageError(f"{where}, line 1: two columns are called {twice[0]!r}")
    there = {name.casefold() for name in columns}
    missing = [name for name in required or () if name.casefold() not in there]
    if missing:
        raise UsageError(f"{where}, line 1: no column {', '.join(missing)}; found {', '.join(columns)}")
    return columns


def _csv_row(where: str, line: int, columns: list[str], cells: list[str]) -> Row:
    fault = ""
    if len(cells) == len(columns) and all(map(_same_name, cells, columns)):
        fault = "is the header line again; take it out (were two files joined?)"
    elif len(cells) > len(columns):
        fault = f"{len(cells)} cells in {len(columns)} columns; is a text with a comma not in quotes?"
    return Row(where, "line", line, dict(zip(columns, cells, strict=False)), fault=fault)


def _same_name(cell: str, column: str) -> bool:
    return cell.strip().removeprefix("\ufeff") == column


def _separator(where: str, header: str) -> str:
    """What stands between cells, by the header line, or as Excel says it in front of that (`sep=;`)."""
    said = _SEPARATOR_LINE.match(header)
    if said:
        return said[1]
    if where.casefold().endswith(".tsv"):
        return "\t"
    return max((",", "\t", ";"), key=header.count)


def rows_of_jsonl(lines: Iterable[bytes], where: str) -> Iterator[Row]:
    """Rows of a file with one JSON mapping a line; empty lines are skipped and counted."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            found = _as_json(line)
        if isinstance(found, dict):
            yield Row(where, "line", number, found)
        else:
            what = found if isinstance(found, _Broken) else f"{_shown(found)} is not a mapping"
            yield Row(where, "line", number, {}, fault=str(what))


class _Broken(str):
    """Why a line is no JSON."""

    __slots__ = ()


def _as_json(line: bytes) -> Any:
    """Python's own reader takes NaN and half of a surrogate pair, which programs write."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as broken:
        return _Broken(f"not JSON ({broken})")


def json_of(text: str, where: str) -> Any:
    """The value of a JSON text. A key that stands twice in a mapping would hide a row: it is an error.

    Raises:
        UsageError: naming the file.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise UsageError(f"{where}: {twice!r} is there twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as broken:
        raise UsageError(f"{where}: not JSON ({broken})") from None


def rows_of_json(value: Any, where: str) -> Iterator[Row]:
    """Rows of a JSON list of mappings, or of a mapping of mappings (whose keys are kept).

    Raises:
        UsageError: if it is neither.
    """
    if isinstance(value, Mapping):
        entries: Iterable[tuple[str, Any]] = value.items()
        unit = "key"
    elif isinstance(value, list):
        entries, unit = (("", each) for each in value), "entry"
    else:
        raise UsageError(f"{where}: expected a list of rows, found {_shown(value)}")
    for number, (key, each) in enumerate(entries, start=1):
        fault = "" if isinstance(each, dict) else f"{_shown(each)} is not a mapping"
        yield Row(where, unit, number, {} if fault else each, key=str(key), fault=fault)


def rows_of_mappings(found: Iterable[Mapping[str, Any]], where: str) -> Iterator[Row]:
    """Rows of a table that has been read as mappings."""
    for number, fields in enumerate(found, start=1):
        yield Row(where, "row", number, fields)


def lines_of(file: BinaryIO, where: str) -> Iterator[bytes]:
    """The lines of a file.

    Raises:
        UsageError: for a line above `MAX_LINE_BYTES`.
    """
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise UsageError(f"{where}, line {number}: longer than the {MAX_LINE_BYTES} bytes allowed")
        yield line
