"""What raters did, one event per line of `answers/RATER.jsonl`; nothing is ever overwritten.

Of several answers of one rater to one item the last one counts; all are kept. A torn last line (the process
was killed while writing) was never confirmed to the rater, and is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from sightline.errors import DamageError, UsageError

ANSWERS = "answers"
VERSION = 1
Kind = Literal[
    "answer",
    "skip",
    "escalate",
    "undo",
    "pause",
    "resume",
    "consent",
    "optout",
    "lease",
    "stop",
    "adjudicate",
    "raw",
]
SKIPS = ("distress", "unclear", "broken", "language")
"""Why an item may be skipped."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that a rater did.

    Attributes:
        event: what it was; `raw` is an answer about what stood there before a guard changed the reply.
        item: about which item; '' for events about none.
        repeat: whether it was the second showing of an item, which asks for the rater's own agreement.
        rater: name.
        round: of the guideline.
        questions: answers by question id; values are names of choices.
        confidence: 1 to 3, or 0 where it was not given.
        reason: of a skip (`SKIPS`), or hazard codes of an opt-out, joined by commas.
        note: the rater's own words.
        shown_ms: how long the item was on the screen; unblurred_ms: its picture without blur.
        guideline: first 8 characters of its digest.
        request: id that the client made, so that a repeated request is known; '' for none.
        seq: number within the file, from 1.
        at: UTC, ISO 8601.
    """

    event: Kind
    rater: str
    item: str = ""
    repeat: bool = False
    round: int = 1
    questions: Mapping[str, str] = field(default_factory=dict)
    confidence: int = 0
    reason: str = ""
    note: str = ""
    shown_ms: int = 0
    unblurred_ms: int = 0
    guideline: str = ""
    request: str = ""
    seq: int = 0
    at: str = ""
    v: int = VERSION


def checked_name(rater: str) -> str:
    """A rater's name, which is also that of a file.

    Raises:
        UsageError: for one that is no plain name.
    """
    if _NAME.fullmatch(rater) is None:
        raise UsageError(
            f"rater {rater!r}: a name is 1 to 40 of A-Z a-z 0-9 _ . - and starts with a letter or digit"
        )
    return rater


def events_path(folder: Path, rater: str) -> Path:
    """The file of a rater's events in an annotation folder."""
    return folder / ANSWERS / f"{checked_name(rater)}.jsonl"


def read_events(path: Path) -> Iterator[Event]:
    """Events of a file in order; none if it does not exist.

    Raises:
        DamageError: naming the line, if one before the last cannot be read.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield _event(orjson.loads(line))
            except (ValueError, TypeError) as broken:
                if not line.endswith(b"\n"):
                    return
                cure = "delete that line; what it said is lost"
                raise DamageError(Path(f"{path}:{number}"), f"damaged ({broken})", cure) from None


def read_events_after(path: Path, start: int) -> tuple[list[Event], int]:
    """Events of whole lines behind an offset in bytes, and the offset behind them.

    Raises:
        DamageError: if such a line cannot be read.
    """
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    end = data.rfind(b"\n") + 1
    found = []
    for line in data[:end].splitlines(keepends=True):
        try:
            found.append(_event(orjson.loads(line)))
        except (ValueError, TypeError) as broken:
            where = f"damaged behind byte {start:,} ({broken})"
            raise DamageError(path, where, "delete that line; what it said is lost") from None
    return found, start + end


def _event(row: Any) -> Event:
    if not isinstance(row, dict) or row.get("v") != VERSION:
        raise ValueError("no event of this version")
    return Event(**row)


def answers_of(folder: Path, rater: str, *, round_: int | None = None) -> dict[tuple[str, bool], Event]:
    """A rater's last answer, skip or escalation by item and showing; undone ones are gone."""
    found: dict[tuple[str, bool], Event] = {}
    for event in read_events(events_path(folder, rater)):
        if round_ is not None and event.round != round_:
            continue
        if event.event in ("answer", "skip", "escalate"):
            found[event.item, event.repeat] = event
        elif event.event == "undo":
            found.pop((event.item, event.repeat), None)
    return found
