"""Files of a run that show damage: sealed when they are written, checked when they are read.

* A table (Parquet) carries the SHA-256 of all its other bytes in front of its footer, where no reader of
  Parquet looks, so that any flipped, lost or zeroed byte is seen and not only those in pages.
* A line of JSON (a record, a note of ours) ends with a field `crc`, the CRC-32 of all before it.
* A text (the lock) begins with a line that holds the SHA-256 of the rest.

Whatever is wrong with a file becomes one sentence here: which file, what is wrong, what to do. Only a table
and a lock may lack a seal: tables may be made by others, and a lock of an older version has to say so.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from sightline import documents
from sightline.digests import file_stamp
from sightline.documents import refuse_special
from sightline.errors import DamageError, SightlineError, UsageError

_MAGIC = b"sightline-sha256"
_SEAL_BYTES = len(_MAGIC) + 32
_FOOT_BYTES = 8
"""Length of Parquet's footer, and Parquet's own magic."""
_BLOCK = 1 << 20
ONE_ROW = "delete that line, and its row is made again (or the file, for all of its rows)"
_LINE_TAIL = re.compile(rb',"crc":"([0-9a-f]{8})"\}\n')
_LINE_TAIL_BYTES = len(b',"crc":"00000000"}\n')
_TEXT_HEAD = re.compile(r"# sealed by sightline: sha256 ([0-9a-f]{64})\n")
_LIBRARIES = {
    "duckdb": "Error",
    "pyarrow": "ArrowException",
    "safetensors": "SafetensorError",
}
_checked: dict[Path, tuple[int, ...]] = {}


def _broken() -> tuple[type[BaseException], ...]:
    """What libraries raise over damaged content, without loading any."""
    kinds: list[type[BaseException]] = [
        ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError,
        RecursionError, TypeError, ValueError,
    ]  # fmt: skip
    for library, name in _LIBRARIES.items():
        kind = getattr(sys.modules.get(library), name, None)
        if isinstance(kind, type):
            kinds.append(kind)
    return tuple(kinds)


@contextmanager
def damage_reported(path: Path, cure: str) -> Iterator[None]:
    """Around the reading of one file: what goes wrong with its content is told with the cure.

    Raises:
        DamageError: if the file is missing, is a pipe or device, cannot be read, or does not hold what it
            should.
    """
    refuse_special(path, cure)
    try:
        yield
    except SightlineError:
        raise
    except FileNotFoundError:
        raise DamageError(path, "is missing", cure) from None
    except _broken() as broken:
        raise DamageError(path, f"damaged ({_why(broken)})", cure) from None


def _why(broken: BaseException) -> str:
    """What is wrong with content, in words that do not speak of the program that reads it."""
    match broken:
        case KeyError():
            return f"it lacks {broken.args[0]!r}" if broken.args else "it lacks something"
        case UnicodeDecodeError():
            return f"not UTF-8 at byte {broken.start:,}"
        case OSError() if broken.strerror:
            return broken.strerror
        case AttributeError() | TypeError() | LookupError() | ArithmeticError() | MemoryError():
            return "it does not hold what is written there"
        case RecursionError():
            return "it is nested too deeply"
    return " ".join(str(broken).split())[:200] or "it cannot be read"


@contextmanager
def file_named(path: Path) -> Iterator[None]:
    """Around writing to one file: the system's refusal, such as a full disk, names it."""
    try:
        yield
    except OSError as refused:
        refused.filename = refused.filename or str(path)
        raise


def publish_table(fresh: Path, path: Path) -> None:
    """Seal a Parquet file that was written whole, force it to disk, and give it its name."""
    with file_named(path), fresh.open("r+b") as file:
        start = _footer_start(file)
        digest = _digest(file, start)
        file.seek(start)
        footer = file.read()
        digest.update(footer)
        file.seek(start)
        file.write(_MAGIC + digest.digest() + footer)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    if os.name == "posix":  # the name, too, has to be on disk before what the table replaces is deleted
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_table(path: Path, cure: str) -> None:
    """Make sure that a table holds what was written; read again only if the file has changed since.

    Raises:
        DamageError: if it is missing or damaged.
    """
    with damage_reported(path, cure):
        stamp = file_stamp(path)
        if _checked.get(path) == stamp:
            return
        with path.open("rb") as file:
            start = _footer_start(file)
            file.seek(max(0, start - _SEAL_BYTES))
            seal = file.read(_SEAL_BYTES)
            footer = file.read()
            if start >= _SEAL_BYTES and seal.startswith(_MAGIC):
                digest = _digest(file, start - _SEAL_BYTES)
                digest.update(footer)
                if digest.digest() != seal[len(_MAGIC) :]:
                    raise ValueError("its content is not what was written")
            elif start - _content_end(path) == _SEAL_BYTES:
                raise ValueError("its seal is lost")
        _checked[path] = stamp


def _content_end(path: Path) -> int:
    """Where the last column of a Parquet file ends; others' files have their footer or an index there."""
    import pyarrow.parquet as pq

    found = pq.read_metadata(path)
    end = 4
    for group in (found.row_group(number) for number in range(found.num_row_groups)):
        for column in (group.column(number) for number in range(group.num_columns)):
            start = column.dictionary_page_offset or column.data_page_offset
            end = max(end, start + column.total_compressed_size)
    return end


def _footer_start(file: BinaryIO) -> int:
    """Where the footer of a Parquet file begins."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _FOOT_BYTES))
    foot = file.read()
    start = size - _FOOT_BYTES - int.from_bytes(foot[:4], "little")
    if foot[4:] != b"PAR1" or start < 4:
        raise ValueError("it does not end as a Parquet file does")
    return start


def _digest(file: BinaryIO, length: int) -> Any:
    """SHA-256 of the first bytes of a file, to be gone on with."""
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0:
        block = file.read(min(_BLOCK, length))
        if not block:
            raise ValueError("it is shorter than it was")
        digest.update(block)
        length -= len(block)
    return digest


def sealed_line(row: Any) -> bytes:
    """A row (a dataclass or mapping with at least one field) as a line of JSON with its check at the end."""
    body = orjson.dumps(row)[:-1]
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def checked_line(line: bytes) -> bytes:
    """The JSON of a line without its check.

    Raises:
        ValueError: if it is not what was written.
    """
    found = _LINE_TAIL.fullmatch(line[-_LINE_TAIL_BYTES:])
    if found is None:
        raise ValueError("its check is lost")
    body = line[:-_LINE_TAIL_BYTES]
    if zlib.crc32(body) != int(found[1], 16):
        raise ValueError("it is not what was written")
    return body + b"}"


def damaged_line(path: Path, number: int, broken: ValueError) -> DamageError:
    """What to say of a line of a shard that is damaged."""
    return DamageError(Path(f"{path}:{number}"), f"damaged ({broken})", ONE_ROW)


def read_note(path: Path, cure: str) -> dict[str, Any]:
    """The mapping of a file that holds one line; see `checked_line`.

    Raises:
        DamageError: if it is missing or damaged.
    """
    with damage_reported(path, cure):
        return _mapping(orjson.loads(checked_line(path.read_bytes())))


def read_yaml(path: Path, cure: str) -> dict[str, Any]:
    """The mapping of a YAML file, sealed or not.

    Raises:
        DamageError: if it is missing or damaged.
    """
    with damage_reported(path, cure):
        return _mapping(yaml_of(checked_text(path.read_bytes().decode()), path.name))


def _mapping(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError("it holds no mapping")
    return found


def yaml_of(text: str, name: str) -> Any:
    """The values of a YAML text, within the bounds of `documents`; for use inside `damage_reported`.

    Raises:
        ValueError: with `name`, line and cause, for what is no YAML or out of bounds.
    """
    try:
        return documents.read_yaml(text, name)
    except UsageError as broken:
        raise ValueError(str(broken)) from None


def sealed_text(text: str) -> str:
    """A YAML text behind a comment that holds its digest."""
    return f"# sealed by sightline: sha256 {hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def checked_text(text: str) -> str:
    """The text without its first line; a text that begins with no comment has no seal.

    Raises:
        ValueError: if it is not what was written.
    """
    if not text.startswith("#"):
        return text
    head, body = _TEXT_HEAD.match(text), text.partition("\n")[2]
    if head is None or hashlib.sha256(body.encode()).hexdigest() != head[1]:
        raise ValueError("its content is not what was written")
    return body
