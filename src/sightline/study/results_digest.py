"""A digest of what a run found: equal for two runs that found the same, however fast and wherever."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

NOT_RESULTS = frozenset({"sample", "artifact", "target_hash", "seconds", "craft_seconds", "error"})
"""Columns that are left out: keys, which name inputs (the lock has them), the clock, and the wording of
errors, which may hold a path, a time or a request's number (`outcome` says that there was one)."""
_WORD_BYTES = 16


def results_digest(path: Path) -> str:
    """Digest of a result table by content, 32 hexadecimal characters; how it is stored does not count.

    Rows count in their order, with every column but `NOT_RESULTS`. Of a row with an error the hash of the
    response is left out: it covers the error's wording.
    """
    with pq.ParquetFile(path) as file:
        names = sorted(name for name in file.schema_arrow.names if name not in NOT_RESULTS)
        found = {name: (_hash(), _hash()) for name in names}
        for batch in file.iter_batches(columns=[*names, "error"]):
            for name in names:
                column = batch.column(name)
                if name == "response_hash":
                    column = pc.if_else(batch.column("error").is_null(), column, None)
                for hashed, data in zip(found[name], _bytes(column), strict=True):
                    hashed.update(data)
    whole = _hash()
    for name in names:
        whole.update(b"\0".join([name.encode(), *(each.digest() for each in found[name])]))
    return str(whole.hexdigest())


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


def _bytes(column: Any) -> tuple[bytes, bytes]:
    """Lengths (or which values are there) and contents; joined, they do not show where a batch ended."""
    if pa.types.is_dictionary(column.type):
        words = column.dictionary.to_pylist()
        digests = [hashlib.blake2b(word.encode(), digest_size=_WORD_BYTES).digest() for word in words]
        table = np.frombuffer(b"".join([*digests, bytes(_WORD_BYTES)]), np.uint8).reshape(-1, _WORD_BYTES)
        places = column.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        return b"", table[places].tobytes()
    if pa.types.is_string(column.type) or pa.types.is_fixed_size_binary(column.type):
        values = column.cast(pa.binary())
        lengths = pc.binary_length(values).fill_null(-1)
        return _plain(lengths), b"".join(value for value in values.to_pylist() if value)
    present = column.is_valid().cast(pa.uint8())
    if pa.types.is_boolean(column.type):
        return _plain(present), _plain(column.fill_null(False).cast(pa.uint8()))
    return _plain(present), _plain(column.fill_null(0))


def _plain(numbers: Any) -> bytes:
    """Numbers without gaps as bytes, little-endian."""
    found = numbers.to_numpy(zero_copy_only=False)
    return bytes(found.astype(found.dtype.newbyteorder("<")).tobytes())
