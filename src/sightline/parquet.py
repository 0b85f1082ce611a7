"""Rows of a foreign Parquet file, read in small batches; whatever is wrong with the file is one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sightline.errors import UsageError, nearest

MAX_ROWS = 10_000_000
MAX_GROUP_BYTES = 4_000_000_000
"""Of a row group when it is unpacked, as its own metadata say; more is a bomb or a mistake."""
BATCH_ROWS = 16
"""Rows in memory at a time: a picture may take megabytes."""


def rows_of(data: bytes | Path, where: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file in order, as plain Python values.

    The file's metadata and columns are checked before the first row is asked for.

    Args:
        data: the file's content, or its path: then no more than a few rows are in memory.
        where: its name, for messages.
        columns: the columns to read; all if None.

    Raises:
        UsageError: if it is no whole Parquet file, too large when unpacked, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(data if isinstance(data, Path) else pa.BufferReader(data))
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    except Exception as broken:  # a damaged file makes Arrow raise almost anything
        raise UsageError(f"{where}: not a readable Parquet file ({first_line(broken)})") from None
    for name in columns or ():
        if name not in file.schema_arrow.names:
            raise UsageError(f"{where}: {nearest(name, file.schema_arrow.names, 'column')}")
    unpacked = max((group.total_byte_size for group in groups), default=0)
    if file.metadata.num_rows > MAX_ROWS or unpacked > MAX_GROUP_BYTES:
        raise UsageError(
            f"{where}: {file.metadata.num_rows:,} rows, {unpacked:,} bytes when a row group is unpacked; no "
            f"more than {MAX_ROWS:,} rows and {MAX_GROUP_BYTES:,} bytes are read"
        )
    chosen = None if columns is None else list(columns)
    return _rows(file.iter_batches(batch_size=BATCH_ROWS, columns=chosen, use_threads=False), where)


def rows_of_arrow(
    data: bytes | Path, where: str, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow stream or file, as Hugging Face `datasets` writes them; as `rows_of`."""
    import pyarrow as pa

    try:
        source = pa.memory_map(str(data)) if isinstance(data, Path) else pa.BufferReader(data)
        if source.read(6) == b"ARROW1":
            file = pa.ipc.open_file(source)
            schema = file.schema
            batches = (file.get_batch(number) for number in range(file.num_record_batches))
        else:
            source.seek(0)
            file = pa.ipc.open_stream(source)
            schema, batches = file.schema, iter(file)
    except Exception as broken:  # as above
        raise UsageError(f"{where}: not a readable Arrow file ({first_line(broken)})") from None
    for name in columns or ():
        if name not in schema.names:
            raise UsageError(f"{where}: {nearest(name, schema.names, 'column')}")
    return _rows(_small(batches, columns), where)


def class_names(data: bytes | Path, where: str, *, arrow: bool) -> dict[str, list[str]]:
    """Names of the numbers in columns that `datasets` has noted as class labels, by column.

    Raises:
        UsageError: if it is no readable file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pa.memory_map(str(data)) if isinstance(data, Path) else pa.BufferReader(data)
        if not arrow:
            schema = pq.read_schema(source)
        elif source.read(6) == b"ARROW1":
            schema = pa.ipc.open_file(source).schema
        else:
            source.seek(0)
            schema = pa.ipc.open_stream(source).schema
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except Exception as broken:  # as above
        raise UsageError(f"{where}: not a readable table ({first_line(broken)})") from None
    found: Any = noted
    for key in ("info", "features"):
        found = found.get(key) if isinstance(found, dict) else None
    features = found if isinstance(found, dict) else {}
    names = {name: each.get("names") for name, each in features.items() if isinstance(each, dict)}
    return {name: each for name, each in names.items() if isinstance(each, list) and all(map(_is_text, each))}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _small(batches: Iterable[Any], columns: Sequence[str] | None) -> Iterator[Any]:
    """Batches of a few rows with these columns: a file may be one batch of thousands of pictures."""
    for batch in batches:
        chosen = batch if columns is None else batch.select(list(columns))
        for start in range(0, chosen.num_rows, BATCH_ROWS):
            yield chosen.slice(start, BATCH_ROWS)


def _rows(batches: Iterable[Any], where: str) -> Iterator[dict[str, Any]]:
    row = 0
    try:
        for batch in batches:
            for found in batch.to_pylist():
                row += 1
                yield found
    except UsageError:
        raise
    except Exception as broken:  # as above: pages are only read now
        raise UsageError(f"{where}: cannot be read after row {row:,} ({first_line(broken)})") from None


def first_line(error: Exception) -> str:
    """First line of an error's message, its type if there is none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
