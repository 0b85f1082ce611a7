"""A stage's rows by key: an index over JSONL shards and the compacted Parquet file, in flat memory.

One row costs 24 bytes of memory here (a 128-bit key and where the row lies), so that 10^6 rows are
looked up without holding them. Rows come back in the order in which they were first written.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from sightline.errors import UsageError
from sightline.store import Row

GROUP_ROWS = 16_384
T = TypeVar("T", bound=np.generic)
_KEY_PREFIX = b'{"key":"'
_KEY_AT = slice(len(_KEY_PREFIX), len(_KEY_PREFIX) + 32)
_SHARD_BITS = 44
# A place is where a row lies, and grows in the order of writing: a row number of the Parquet file, or
# (number of the shard + 1) << _SHARD_BITS | offset in bytes.


def key_array(keys: Sequence[str]) -> NDArray[np.uint64]:
    """Hexadecimal keys (32 characters each) as an (n, 2) array of unsigned 64-bit halves."""
    return np.frombuffer(bytes.fromhex("".join(keys)), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def _joined(parts: list[NDArray[T]]) -> NDArray[T]:
    """All parts in one array; the list is emptied, so that nothing is held twice for long."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def compacted_rows(folder: Path) -> Iterator[Row]:
    """Rows of a compacted folder in order, streamed without an index."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(folder.with_name(f"{folder.name}.parquet")) as file:
        for batch in file.iter_batches(1024, columns=["record"]):
            for record in batch.column("record").to_pylist():
                yield orjson.loads(record)


class Table:
    """Read access to `folder` (shards) and `folder.parquet` (compacted); call `close` or use `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parquet = folder.with_name(f"{folder.name}.parquet")
        self._shards: list[Any] = []
        self._groups: OrderedDict[int, tuple[list[int], memoryview]] = OrderedDict()
        self._file: Any = None
        keys: list[NDArray[np.uint64]] = []
        places: list[NDArray[np.int64]] = []
        if self.parquet.exists():
            self._index_parquet(keys, places)
        shards = sorted(folder.glob("*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        for number, path in enumerate(shards):
            self._index_shard(number, path, keys, places)
        self._high = self._low = np.empty(0, np.uint64)
        self._places = self._first = np.empty(0, np.int64)
        if keys:
            self._build(_joined(keys), _joined(places))

    def _index_parquet(self, keys: list[NDArray[np.uint64]], places: list[NDArray[np.int64]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(self.parquet)
        except pa.ArrowInvalid as broken:
            cure = "delete it and run again to do its rows again"
            raise UsageError(f"{self.parquet}: damaged ({broken}); {cure}") from None
        start = 0
        for group in range(self._file.num_row_groups):
            column = self._file.read_row_group(group, columns=["key"]).column("key").combine_chunks()
            raw = np.frombuffer(column.buffers()[1], dtype=">u8")
            keys.append(raw.astype(np.uint64).reshape(-1, 2)[: len(column)])
            places.append(np.arange(start, start + len(column), dtype=np.int64))
            start += len(column)

    def _index_shard(
        self, number: int, path: Path, keys: list[NDArray[np.uint64]], places: list[NDArray[np.int64]]
    ) -> None:
        file = path.open("rb")
        self._shards.append(file)
        offset = 0
        while True:
            found: list[bytes] = []
            offsets: list[int] = []
            for line in islice(file, GROUP_ROWS):
                if not line.endswith(b"\n"):
                    break  # torn by a kill: the row is not done
                if not line.startswith(_KEY_PREFIX):
                    cure = "Delete the line to do its row again."
                    raise UsageError(f"{path}: damaged record at byte {offset}. {cure}")
                found.append(line[_KEY_AT])
                offsets.append(offset)
                offset += len(line)
            if not found:
                return
            try:
                keys.append(key_array([b"".join(found).decode()]))
            except ValueError:
                cure = "Delete the file to do its rows again."
                raise UsageError(f"{path}: a record's key is damaged. {cure}") from None
            places.append(np.array(offsets, dtype=np.int64) | (number + 1 << _SHARD_BITS))

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
        place = int(self._places[row])
        if place >> _SHARD_BITS == 0:
            group = place // GROUP_ROWS
            if group not in self._groups:
                self._groups[group] = self._records(group)
                if len(self._groups) > 2:
                    self._groups.popitem(last=False)
            ends, text = self._groups[group]
            at = place % GROUP_ROWS
            return bytes(text[ends[at] : ends[at + 1]])
        file = self._shards[(place >> _SHARD_BITS) - 1]
        file.seek(place & ((1 << _SHARD_BITS) - 1))
        return bytes(file.readline())

    def _records(self, group: int) -> tuple[list[int], memoryview]:
        """Where each record of a row group begins and ends, and their text, as Arrow holds it."""
        column = self._file.read_row_group(group, columns=["record"]).column("record").combine_chunks()
        _, offsets, text = column.buffers()
        ends = np.frombuffer(offsets, dtype=np.int32)[: len(column) + 1].tolist()
        return ends, memoryview(text)

    def _row(self, row: int) -> Row:
        try:
            found: Row = orjson.loads(self._line(row))
        except orjson.JSONDecodeError as broken:
            cure = "Delete its line to do the row again."
            raise UsageError(f"{self.folder}: a record is damaged ({broken}). {cure}") from None
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

        schema = pa.schema([("key", pa.binary(16)), ("record", pa.string())])
        fresh = self.parquet.with_name(f"{self.parquet.name}.new")
        with pq.ParquetWriter(
            fresh, schema, compression="zstd", compression_level=1, use_dictionary=False
        ) as writer:
            for start in range(0, len(self), GROUP_ROWS):
                chosen = self._order[start : start + GROUP_ROWS]
                halves = np.stack([self._high[chosen], self._low[chosen]], axis=1).astype(">u8")
                lines = [self._line(int(row)).rstrip(b"\n") for row in chosen]
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
        with fresh.open("rb") as written:
            os.fsync(written.fileno())  # before the shards go: they may be all that is on disk
        fresh.replace(self.parquet)
        for shard in self._shards:
            shard.close()
            Path(shard.name).unlink()
        self._shards = []

    def close(self) -> None:
        """Release the files."""
        for shard in self._shards:
            shard.close()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
