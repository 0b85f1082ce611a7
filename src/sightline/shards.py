"""Append-only shards of records: JSON lines that show damage, one file per writing process."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from sightline.errors import UsageError
from sightline.sealed import checked_line, damaged_line, file_named, sealed_line

_DIGITS = 10
"""Of the number that the name of a shard begins with."""
Row = dict[str, Any]


class ShardWriter:
    """Appends rows to one JSONL shard; whole lines only, flushed to the system per batch.

    One writer owns one file: its name holds a number, the process id and a random part, so that workers never
    share a shard. The number is larger than those of all shards that were there before, so that rows are in
    the order of writing whatever the clock says. After a crash the next run writes a new shard.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        taken = (path.name[:_DIGITS] for path in folder.glob("*.jsonl"))
        number = max((int(digits) for digits in taken if digits.isdigit()), default=0) + 1
        self.path = folder / f"{number:0{_DIGITS}d}-{os.getpid()}-{secrets.token_hex(8)}.jsonl"
        self._file = self.path.open("xb", buffering=0)
        self._length = 0

    def append(self, rows: Iterable[Any]) -> None:
        """Write rows (dataclasses or mappings) in one system call; they survive `kill -9` afterwards."""
        lines = b"".join(map(sealed_line, rows))
        with file_named(self.path):
            written = self._file.write(lines) if lines else 0
        if written != len(lines):
            self._file.truncate(self._length)
            raise UsageError(f"{self.path}: the disk is full; make room and run the same command again")
        self._length += len(lines)

    def close(self) -> None:
        """Force the rows to disk; an empty shard is removed."""
        if self._file.closed:
            return
        empty = self._file.tell() == 0
        with file_named(self.path):
            os.fsync(self._file.fileno())
            self._file.close()
        if empty:
            self.path.unlink()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def shards_in(folder: Path) -> list[Path]:
    """The shards of a stage in order of writing, which their names follow."""
    return sorted(folder.glob("*.jsonl"))


def read_shards(folder: Path) -> Iterator[Row]:
    """Rows of all shards of a stage, oldest shard first, streamed.

    A torn last line (the process was killed while writing) is skipped: its row is simply not done.

    Raises:
        DamageError: naming file and line, if a line before the last is damaged.
    """
    for path in shards_in(folder):
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    row = orjson.loads(checked_line(line))
                except ValueError as broken:
                    raise damaged_line(path, number, broken) from None
                yield row
