"""Corpora of attacks: prompts and replies, from a file or by a registered name.

A setting `corpus` names a file or `GROUP/NAME`. Files: `.txt`, one reply (or prompt) per line; `.jsonl`,
objects with `prompt`, `reply` and `system`; `.csv` with columns of these names. Groups are entry points of
`sightline.corpora` whose module has `CORPORA`, a mapping from names to functions that return rows; `testbed`
is one. The contents are in the key of what is made from them.
"""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sightline.digests import digest
from sightline.errors import UsageError, nearest

SUFFIXES = (".txt", ".jsonl", ".csv")


class Dialogue(NamedTuple):
    """A prompt, the reply that is made likely, and the system text behind which it is given; '' for none."""

    prompt: str = ""
    reply: str = ""
    system: str = ""


def read_corpus(name: str) -> tuple[Dialogue, ...]:
    """The rows of a file, or of a registered corpus.

    Raises:
        UsageError: for an unknown name, a file that is not there, or a row of it that cannot be read.
    """
    if not name.endswith(SUFFIXES):
        return _registered(name)
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as broken:
        raise UsageError(f"corpus {name!r} cannot be read ({broken})") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if path.suffix == ".txt":
        return tuple(Dialogue(reply=line.strip()) for line in lines)
    if path.suffix == ".csv":
        return tuple(_row(name, n, row) for n, row in enumerate(csv.DictReader(lines), start=2))
    return tuple(_row(name, n, _object(name, n, line)) for n, line in enumerate(lines, start=1))


def resolved(name: str) -> Mapping[str, str]:
    """What decides what is made from a corpus: its contents. Empty for ''."""
    return {"corpus": digest([tuple(row) for row in read_corpus(name)])} if name else {}


def former(name: str) -> str:
    """How a setting `corpus` was written before corpora had names."""
    return "testbed" if name.startswith("testbed/") else name


def texts(rows: Iterable[Dialogue]) -> tuple[str, ...]:
    """The prompts of a corpus; where it has none, as a text file, its lines."""
    return tuple(row.prompt or row.reply for row in rows)


@cache
def _registered(name: str) -> tuple[Dialogue, ...]:
    groups: dict[str, Callable[[], Any]] = {
        point.name: point.load for point in importlib.metadata.entry_points(group="sightline.corpora")
    }
    groups["testbed"] = lambda: importlib.import_module("sightline.testbed.corpora")
    group, _, inside = name.partition("/")
    known = groups[group]().CORPORA if group in groups else {}
    if inside not in known:
        every = [f"{group}/{each}" for each in known] or sorted(groups)
        raise UsageError(
            f"{nearest(name, every, 'corpus')} A file ends in {', '.join(SUFFIXES)}; its path is relative to "
            "the folder in which the command is run."
        )
    return tuple(Dialogue(*row) for row in known[inside]())


def _object(name: str, number: int, line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as broken:
        raise UsageError(f"corpus {name}:{number}: no JSON ({broken})") from None
    if not isinstance(found, dict):
        raise UsageError(f"corpus {name}:{number}: expected an object with prompt, reply and system")
    return found


def _row(name: str, number: int, row: Mapping[Any, Any]) -> Dialogue:
    if not set(row) <= set(Dialogue._fields) or not all(isinstance(text, str) for text in row.values()):
        raise UsageError(
            f"corpus {name}:{number}: expected texts called {', '.join(Dialogue._fields)}, got "
            f"{', '.join(map(str, row)) or 'none'}"
        )
    return Dialogue(**row)
