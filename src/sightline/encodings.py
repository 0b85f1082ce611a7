"""How the bytes of a foreign text are read: by its mark, by what a setting says, else as UTF-8."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from typing import BinaryIO, TextIO

from sightline.errors import EncodingError, UsageError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def not_text(encoding: str) -> str:
    """What is wrong with a text that is not in the encoding in which it is read, and the cure."""
    return (
        f"not {encoding.upper()} text; save the file as UTF-8, or name its encoding if the benchmark has the "
        "setting: `encoding: cp1252` is what Excel writes where it does not say UTF-8"
    )


def broken_line(file: BinaryIO, encoding: str) -> int:
    """The first line of a file that is not in its encoding; 0 if lines cannot be told by their bytes."""
    if codecs.lookup(encoding).name != "utf-8":
        return 0
    for number, line in enumerate(file, start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return number
    return 0


def lines_within(text: TextIO, most: int) -> Iterator[str]:
    """The lines of a table; what is no table may have one that does not end within the memory.

    Raises:
        csv.Error: for a line above `most` characters.
    """
    for line in iter(lambda: text.readline(most + 1), ""):
        if len(line) > most:
            raise csv.Error(f"longer than the {most} characters allowed")
        yield line


def decoded(data: bytes, where: str, encoding: str = "") -> str:
    """Text of a file. UTF-8, UTF-16 and UTF-32 are told by their mark; else it is in `encoding`, or UTF-8.

    Raises:
        UsageError: naming the byte that is none, or an unknown encoding.
    """
    chosen = encoding_of(data, where, encoding)
    try:
        return data.decode(chosen)
    except UnicodeDecodeError as broken:
        line = 1 + data[: broken.start].count(b"\n")
        raise EncodingError(f"{where}, line {line}: {not_text(chosen)}") from None


def encoding_of(start: bytes, where: str, encoding: str = "") -> str:
    """Python's name of the encoding of a file that begins with these bytes, four or more."""
    for mark, name in _BOMS:
        if start.startswith(mark):
            return name
    if not encoding and len(start) >= 4:
        unmarked = {(1, 3): "utf-16-le", (0, 2): "utf-16-be"}
        zeros = tuple(place for place, byte in enumerate(start[:4]) if not byte)
        if zeros in unmarked:  # no text in UTF-8 has bytes that are 0
            return unmarked[zeros]
    try:
        return codecs.lookup(encoding or "utf-8").name
    except LookupError:
        raise UsageError(f"{where}: unknown encoding {encoding!r}; try utf-8, latin-1 or utf-16") from None
