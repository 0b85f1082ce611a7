"""A stage's rows by key: an index over JSONL shards and the compacted Parquet file, in flat memory.

One row costs 24 bytes of memory here (a 128-bit key and where the row lies), so that 10^6 rows are
looked up without holding them. Rows come back in the order in which they were first written.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from sightline.digests import sha256_file
from sightline.errors import DamageError
from sightline.sealed import (
    ONE_ROW,
    check_table,
    checked_line,
    damage_reported,
    damaged_line,
    file_named,
    publish_table,
)
from sightline.shards import Row, shards_in

GROUP_ROWS = 16_384
GROUP_BYTES = 64_000_000
"""A row group ends where either is reached; Arrow itself holds at most 2 GiB of text in one."""
OPEN_SHARDS = 16
"""Shards that are open at a time, however many there are."""
ROWS_AGAIN = "delete it, and its rows are made again by `sightline run`"
RESULTS_AGAIN = "`sightline run`, or `sightline judge` on the run's folder, writes it anew from the records"
T = TypeVar("T", bound=np.generic)
_TABLE = b"sightline.table"
_KEY_PREFIX = b'{"key":"'
_KEY_AT = slice(len(_KEY_PREFIX), len(_KEY_PREFIX) + 32)
_SHARD_BITS = 44
# A place is where a row lies, and grows in the order of writing: a row number of the Parquet file, or
# (number of the shard + 1) << _SHARD_BITS | offset in bytes.


def key_array(keys: Sequence[str]) -> NDArray[np.uint64]:
    """Hexadecimal keys (32 characters each) as an (n, 2) array of unsigned 64-bit halves."""
    return np.frombuffer(bytes.fromhex("".join(keys)), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def _key(line: bytes) -> bytes:
    """The key of a row's JSON, 16 bytes.

    Raises:
        ValueError: if it does not begin with one.
    """
    key = bytes.fromhex(line[_KEY_AT].decode()) if line.startswith(_KEY_PREFIX) else b""
    if len(key) != 16:
        raise ValueError("it does not begin with a key")
    return key


def _joined(parts: list[NDArray[T]]) -> NDArray[T]:
    """All parts in one array; the list is emptied, so that nothing is held twice for long."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def parquet_of(folder: Path) -> Path:
    """The compacted file of a folder of shards."""
    return folder.with_name(f"{folder.name}.parquet")


def _table_of(folder: Path) -> bytes:
    """What a compacted file says it holds: cases, or the rows of one stage."""
    return b"cases" if folder.name.startswith("cases-") else folder.name.encode()


def _open_parquet(folder: Path) -> Any:
    """The compacted file of a folder, open; for use inside `damage_reported`.

    Raises:
        ValueError: if it holds the rows of another stage.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(parquet_of(folder))
    held = (file.schema_arrow.metadata or {}).get(_TABLE, _table_of(folder))
    if held != _table_of(folder):
        raise ValueError(f"it holds the rows of {held.decode(errors='replace')}")
    return file


def compacted_rows(folder: Path) -> Iterator[Row]:
    """Rows of a compacted folder in order, streamed without an index.

    Raises:
        DamageError: if the file is missing or damaged.
    """
    path = parquet_of(folder)
    if not path.exists():
        raise DamageError(path, "is missing", "`sightline run` makes its rows again")
    check_table(path, ROWS_AGAIN)
    with damage_reported(path, ROWS_AGAIN), _open_parquet(folder) as file:
        for batch in file.iter_batches(1024, columns=["record"]):
            for record in batch.column("record").to_pylist():
                yield orjson.loads(record)


class Table:
    """Read access to `folder` (shards) and `folder.parquet` (compacted); call `close` or use `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parquet = parquet_of(folder)
        self._shards = shards_in(folder)
        self._open: OrderedDict[int, IO[bytes]] = OrderedDict()
        self._groups: OrderedDict[int, tuple[list[int], memoryview]] = OrderedDict()
        self._starts: list[int] = []
        self._file: Any = None
        keys: list[NDArray[np.uint64]] = []
        places: list[NDArray[np.int64]] = []
        if self.parquet.exists():
            check_table(self.parquet, ROWS_AGAIN)
            with damage_reported(self.parquet, ROWS_AGAIN):
                self._index_parquet(keys, places)
        for number, path in enumerate(self._shards):
            self._index_shard(number, path, keys, places)
        self._high = self._low = np.empty(0, np.uint64)
        self._places = self._first = np.empty(0, np.int64)
        if keys:
            self._build(_joined(keys), _joined(places))

    def _index_parquet(self, keys: list[NDArray[np.uint64]], places: list[NDArray[np.int64]]) -> None:
        self._file = _open_parquet(self.folder)
        start = 0
        for group in range(self._file.num_row_groups):
            column = self._file.read_row_group(group, columns=["key"]).column("key").combine_chunks()
            raw = np.frombuffer(column.buffers()[1], dtype=">u8")
            keys.append(raw.astype(np.uint64).reshape(-1, 2)[: len(column)])
            places.append(np.arange(start, start + len(column), dtype=np.int64))
            self._starts.append(start)
            start += len(column)

    def _index_shard(
        self, number: int, path: Path, keys: list[NDArray[np.uint64]], places: list[NDArray[np.int64]]
    ) -> None:
        found, offsets = bytearray(), array("q")
        offset = 0
        with path.open("rb") as file:
            for line_number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break  # torn by a kill: the row is not done
                try:
                    found += _key(checked_line(line))
                except ValueError as broken:
                    raise damaged_line(path, line_number, broken) from None
                offsets.append(offset)
                offset += len(line)
        if found:
            keys.append(np.frombuffer(found, dtype=">u8").astype(np.uint64).reshape(-1, 2))
            places.append(np.frombuffer(offsets, dtype=np.int64) | (number + 1 << _SHARD_BITS))

    def _build(self, keys: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
        """Sort by key; of rows with the same key the last written counts, at the first one's position."""
        order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: equal keys stay in order of writing
        self._high = keys[order, 0]
        self._low = keys[order, 1]
        self._places = self._first = places[order]
        again = np.flatnonzero((self._high[1:] == self._high[:-1]) & (self._low[1:] == self._low[:-1])) + 1
        if len(again):
            first = np.delete(np.arange(len(order)), again)
            last = np.append(first[1:], len(order)) - 1
            self._high, self._low = self._high[first], self._low[first]
            self._first, self._places = self._first[first], self._places[last]

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Row numbers in the order in which their keys were first written."""
        return np.argsort(self._first, kind="stable")

    def __len__(self) -> int:
        return len(self._high)

    def find(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Row numbers of `keys`, -1 where a key is absent."""
        if not keys or not len(self):
            return np.full(len(keys), -1, dtype=np.int64)
        wanted = key_array(keys)
        at = np.minimum(np.searchsorted(self._high, wanted[:, 0]), len(self) - 1)
        hit = (self._high[at] == wanted[:, 0]) & (self._low[at] == wanted[:, 1])
        return np.where(hit, at, -1)

    def missing(self, keys: Sequence[str]) -> list[int]:
        """Positions in `keys` whose rows are not there."""
        return [int(i) for i in np.flatnonzero(self.find(keys) < 0)]

    def _line(self, row: int) -> bytes:
        """The JSON of a row."""
        place = int(self._places[row])
        shard = (place >> _SHARD_BITS) - 1
        if shard < 0:
            group = bisect_right(self._starts, place) - 1
            if group not in self._groups:
                with damage_reported(self.parquet, ROWS_AGAIN):
                    self._groups[group] = self._records(group)
                if len(self._groups) > 2:
                    self._groups.popitem(last=False)
            ends, text = self._groups[group]
            at = place - self._starts[group]
            return bytes(text[ends[at] : ends[at + 1]])
        file = self._opened(shard)
        file.seek(place & ((1 << _SHARD_BITS) - 1))
        return checked_line(file.readline())

    def _opened(self, shard: int) -> IO[bytes]:
        """A shard, open; the one that was used longest ago is closed for it."""
        if shard not in self._open:
            if len(self._open) == OPEN_SHARDS:
                self._open.popitem(last=False)[1].close()
            self._open[shard] = self._shards[shard].open("rb")
        self._open.move_to_end(shard)
        return self._open[shard]

    def _records(self, group: int) -> tuple[list[int], memoryview]:
        """Where each record of a row group begins and ends, and their text, as Arrow holds it."""
        column = self._file.read_row_group(group, columns=["record"]).column("record").combine_chunks()
        _, offsets, text = column.buffers()
        ends = np.frombuffer(offsets, dtype=np.int32)[: len(column) + 1].tolist()
        return ends, memoryview(text)

    def _row(self, row: int) -> Row:
        try:
            found: Row = orjson.loads(self._line(row))
        except (OSError, ValueError):
            with damage_reported(self.folder, ONE_ROW):
                raise
        return found

    def rows(self, keys: Sequence[str]) -> list[Row | None]:
        """Rows of `keys` in that order, None where absent."""
        return [self._row(int(row)) if row >= 0 else None for row in self.find(keys)]

    def __iter__(self) -> Iterator[Row]:
        """All rows, streamed in the order in which their keys were first written."""
        for row in self._order:
            yield self._row(int(row))

    def compact(self) -> None:
        """Write all rows to one Parquet file (`key` 16 bytes, `record` JSON), then drop the shards.

        The file appears whole or not at all; a crash in between leaves rows twice, which the index
        resolves by key.
        """
        if not self._shards:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            [("key", pa.binary(16)), ("record", pa.string())], metadata={_TABLE: _table_of(self.folder)}
        )
        fresh = self.parquet.with_name(f"{self.parquet.name}.new")
        with (
            file_named(self.parquet),
            pq.ParquetWriter(
                fresh, schema, compression="zstd", compression_level=1, use_dictionary=False
            ) as writer,
        ):
            for rows, lines in self._in_groups():
                halves = np.stack([self._high[rows], self._low[rows]], axis=1).astype(">u8")
                ends = np.cumsum([0, *map(len, lines)], dtype=np.int32)
                # from buffers: building from Python objects would copy, and load pandas where it is installed
                keys = pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(16), len(lines), [None, pa.py_buffer(halves.tobytes())]
                )
                records = pa.StringArray.from_buffers(
                    len(lines), pa.py_buffer(ends), pa.py_buffer(b"".join(lines))
                )
                batch = pa.record_batch([keys, records], schema=schema)
                writer.write_batch(batch, row_group_size=GROUP_ROWS)
        publish_table(fresh, self.parquet)
        self._close_shards()
        for shard in self._shards:  # the oldest first: should this be cut short, the newest rows are left
            shard.unlink()
        self._shards = []

    def _in_groups(self) -> Iterator[tuple[NDArray[np.int64], list[bytes]]]:
        """Rows in order with their JSON, in groups that Parquet can hold."""
        first, size, lines = 0, 0, list[bytes]()
        with damage_reported(self.folder, ONE_ROW):
            for at, row in enumerate(self._order):
                line = self._line(int(row))
                if lines and (len(lines) == GROUP_ROWS or size + len(line) > GROUP_BYTES):
                    yield self._order[first:at], lines
                    first, size, lines = at, 0, []
                lines.append(line)
                size += len(line)
            if lines:
                yield self._order[first:], lines

    def _close_shards(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()

    def close(self) -> None:
        """Release the files."""
        self._close_shards()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refuse_other_records(records: Path, finished: Mapping[str, str], *, all_there: bool = False) -> None:
    """Make sure that the tables of a run's stages are those that it finished with.

    Args:
        records: folder of the stages' rows.
        finished: SHA-256 by file name, as the run's note of its end has them.
        all_there: whether one that is lost counts as another.

    Raises:
        DamageError: for the first that is another.
    """
    for name, sha256 in finished.items():
        path = records / name
        if path.exists():
            check_table(path, ROWS_AGAIN)
        if sha256_file(path) != sha256 if path.exists() else all_there:
            raise DamageError(path, "is not the table that this run finished with", ROWS_AGAIN)


@contextmanager
def open_tables(records: Path, *stages: str) -> Iterator[list[Table]]:
    """The rows of several stages, open for reading."""
    with ExitStack() as stack:
        yield [stack.enter_context(Table(records / stage)) for stage in stages]
