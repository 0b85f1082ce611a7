"""Pools of shields, each with the request that it was made for: the nearest request's shield is taken."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sightline.defenses._likeness import likeness, trigrams
from sightline.digests import file_stamp, sha256_file
from sightline.errors import UsageError

MOST_BYTES = 20_000_000
_SHAPE = "write a list of `request: ...` with `shield: ...`"


class ShieldPool(NamedTuple):
    """Requests with their shields, in order, and the digest of the file."""

    entries: tuple[tuple[str, str], ...]
    digest: str

    def nearest(self, request: str) -> tuple[float, str]:
        """How alike the nearest request of the pool is, 0..1, and its shield; of equals the first."""
        asked = trigrams(request)
        alike = [likeness(asked, trigrams(known)) for known, _ in self.entries]
        best = max(range(len(alike)), key=alike.__getitem__)
        return alike[best], self.entries[best][1]


def shield_pool(name: str) -> ShieldPool:
    """The pool in a YAML file.

    Raises:
        UsageError: for a file that is absent or holds no pool, naming the entry.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(f"{path}: no such file; {_SHAPE}")
    return _read(path, file_stamp(path))


@lru_cache(maxsize=8)
def _read(path: Path, stamp: object) -> ShieldPool:
    del stamp
    if path.stat().st_size > MOST_BYTES:
        raise UsageError(f"{path}: more than {MOST_BYTES:,} bytes are no pool of shields")
    try:
        found: Any = yaml.safe_load(path.read_text("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as broken:
        raise UsageError(f"{path}: is no YAML ({type(broken).__name__}); {_SHAPE}") from None
    if not isinstance(found, list) or not found:
        raise UsageError(f"{path}: holds no shield; {_SHAPE}")
    entries: list[tuple[str, str]] = []
    for number, each in enumerate(found, start=1):
        texts: list[Any] = [each.get(key) for key in ("request", "shield")] if isinstance(each, dict) else []
        if len(texts) != 2 or not all(isinstance(text, str) and text.strip() for text in texts):
            raise UsageError(f"{path}: entry {number}: {_SHAPE}")
        entries.append((texts[0], texts[1]))
    return ShieldPool(tuple(entries), sha256_file(path))
