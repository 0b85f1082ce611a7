"""Canonical form and digest of plain values: the key of a stage row.

Two values have the same digest when they are equal as data: the order of dictionary keys and the
difference between a tuple and a list do not count, the type of a number (1 or 1.0) does.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import orjson

DIGEST_BYTES = 16


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no canonical form for {type(value).__name__}")


def canonical(value: Any) -> bytes:
    """JSON bytes with sorted keys of dataclasses, enums, mappings, sequences and scalars.

    Raises:
        TypeError: for a value without a canonical form (functions, arrays, NaN-bearing objects...).
    """
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def digest(*values: Any) -> str:
    """32 hexadecimal characters (128 bits of BLAKE2b) of the canonical form of `values`."""
    return hashlib.blake2b(canonical(values), digest_size=DIGEST_BYTES).hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`: the name of a blob."""
    return hashlib.sha256(data).hexdigest()


def file_stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file's content may have changed: size, times of change (ns), number of the file.

    The time of modification can be set back; that of the last change to the file's entry (ctime) cannot.

    Raises:
        OSError: if there is no such file.
    """
    return stamp_of(path.stat())


def stamp_of(found: os.stat_result) -> tuple[int, ...]:
    """As `file_stamp`, of what the system has said of a file."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content, read in blocks.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
