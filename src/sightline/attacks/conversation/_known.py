"""Sentences of adaptive attacks as data: ours beside the modules, or a file of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.attacks.text_files import document
from sightline.digests import sha256_bytes
from sightline.documents import MOST_BYTES, read_text, read_yaml
from sightline.errors import UsageError

Bank = Mapping[str, tuple[str, ...]]
"""Lists of texts by what they are for."""


def bank(name: str, file: str) -> Mapping[str, Bank]:
    """All entries of `texts/NAME.yaml`, or of the user's file if one is named.

    Raises:
        UsageError: for a file that cannot be read, or another shape; the entry is named.
    """
    read: Any = document("sightline.attacks.conversation", name) if not file else read_yaml(_text(file), file)
    where = file or f"{name}.yaml"
    if not isinstance(read, Mapping) or not read:
        raise UsageError(f"{where}: expected entries by name, each with lists of texts")
    return {str(key): _entry(value, f"{where}: {key!r}") for key, value in read.items()}


def bank_digest(file: str) -> Mapping[str, str]:
    """The digest of the user's file, for the identity; {} if none is named."""
    return {"file": sha256_bytes(_text(file).encode())} if file else {}


def _entry(value: Any, where: str) -> Bank:
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f"{where}: expected lists of texts by name")
    for name, texts in value.items():
        whole = isinstance(texts, list) and texts and all(isinstance(each, str) for each in texts)
        if not whole:
            raise UsageError(f"{where}: {name!r} is no list of texts: write each as an item, in quotes")
    return {str(name): tuple(texts) for name, texts in value.items()}


def _text(file: str) -> str:
    try:
        return read_text(Path(file), MOST_BYTES)
    except OSError as broken:
        raise UsageError(f"file {file!r} cannot be read ({broken})") from None
