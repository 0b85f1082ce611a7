"""Pictures of releases that users unpack in different folders, and which cells hold the same picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.cases import Image
from sightline.contracts import Release
from sightline.digests import sha256_bytes

SUFFIXES = (".jpg", ".png", ".jpeg", ".webp", ".gif")


def first_picture(release: Release, *names: str) -> Image:
    """The first of these pictures that is there, under any suffix; else the first, with its problem set."""
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        stem = stem if f"{dot}{suffix}".casefold() in SUFFIXES else name
        for each in (name, *(f"{stem}{other}" for other in SUFFIXES)):
            if release.exists(each):
                return release.image(each)
    return release.image(names[0])


def picture_in(release: Release, name: str, *folders: str) -> Image:
    """A picture from the first of these folders that has it ('' = the root); else with its problem set."""
    names = [f"{folder}/{name}" if folder else name for folder in folders]
    return release.image(next(filter(release.exists, names), names[0]))


def picture_key(cell: Any) -> str:
    """A short name of the picture in a cell of a Parquet table, the same for the same picture; '' if none."""
    data = cell.get("bytes") or cell.get("path") if isinstance(cell, Mapping) else cell
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    return sha256_bytes(data)[:16] if isinstance(data, bytes) else ""
