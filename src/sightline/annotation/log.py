"""The file of one rater's events: append-only, on disk before anything is confirmed, once per request.

A process that is killed leaves at most one torn last line, which nobody was told of. It is cut off when the
file is opened again (or completed, if only its line end is missing), and the client sends that event again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sightline.annotation.events import Event, events_path, read_events
from sightline.annotation.refusals import RefusedError
from sightline.errors import UsageError

try:
    import fcntl
except ImportError:  # no such lock on Windows: one server per folder is the user's care there
    fcntl = None  # type: ignore[assignment]

Clock = Callable[[], datetime]


def now() -> datetime:
    """The time in the zone of this machine: a rater's day is a day of theirs."""
    return datetime.now().astimezone()


def stamp(at: datetime) -> str:
    """UTC in ISO 8601, in seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Saved(NamedTuple):
    """An event as it is on disk, and whether this request had been made before."""

    event: Event
    again: bool


class EventLog:
    """One rater's events, written by this process alone until `close`."""

    def __init__(self, folder: Path, rater: str, *, clock: Clock = now) -> None:
        """Open the file, or make it.

        Raises:
            UsageError: if another process writes it.
            DamageError: if a line before the last cannot be read.
        """
        self.rater = rater
        self.path = events_path(folder, rater)
        self._clock = clock
        self._lock = threading.Lock()
        self._made: dict[str, Event] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.open(self.path, flags, 0o600)
        try:
            self._claim()
            _mend(self._file)
            self.events = list(read_events(self.path))
        except BaseException:
            os.close(self._file)
            raise
        if fresh:
            _sync_folder(self.path.parent)
        self._bytes = os.fstat(self._file).st_size
        self._seq = max((event.seq for event in self.events), default=0)
        self._made = {event.request: event for event in self.events if event.request}

    @property
    def end(self) -> int:
        """Size of the file."""
        return self._bytes

    def _claim(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            cure = "end the other `sightline annotate ... serve` (Ctrl-C) first"
            raise UsageError(f"{self.path}: another process writes it; {cure}") from None

    def knows(self, request: str) -> bool:
        """Whether an event of this request is on disk."""
        return request in self._made

    def append(self, event: Event) -> Saved:
        """Write an event and force it to disk; a request that was made before is only recognized.

        Raises:
            RefusedError: if that request was made before with another content.
            OSError: if it could not be written; then nothing of it is in the file.
        """
        with self._lock:
            before = self._made.get(event.request) if event.request else None
            if before is not None:
                if _content(before) != _content(event):
                    raise RefusedError(409, "this request id was used before for something else")
                return Saved(before, again=True)
            made = replace(event, rater=self.rater, seq=self._seq + 1, at=stamp(self._clock()))
            self._write(orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE))
            self._seq += 1
            self.events.append(made)
            if made.request:
                self._made[made.request] = made
            return Saved(made, again=False)

    def _write(self, line: bytes) -> None:
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._bytes)  # half a line would damage the file for good
            raise
        self._bytes += len(line)

    def close(self) -> None:
        """Let another process write the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def _content(event: Event) -> Any:
    """What makes two requests the same: what the rater said about what, not when and how long it took."""
    return replace(event, rater="", round=1, guideline="", seq=0, at="", shown_ms=0, unblurred_ms=0)


def _mend(file: int) -> None:
    """Complete a last line that only lacks its end; cut off one that is torn."""
    size = os.fstat(file).st_size
    tail, start = b"", size
    while start > 0 and b"\n" not in tail:
        start = max(0, start - (1 << 16))
        tail = os.pread(file, size - start, start)
    end = tail.rfind(b"\n") + 1
    if end == len(tail):
        return
    try:
        Event(**orjson.loads(tail[end:]))
    except (ValueError, TypeError):
        os.ftruncate(file, start + end)
    else:
        os.write(file, b"\n")
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # the name of a new file has to be on disk, too
        number = os.open(folder, os.O_RDONLY)
        os.fsync(number)
        os.close(number)


@contextmanager
def opened(folder: Path, rater: str, *, clock: Clock = now) -> Iterator[EventLog]:
    """An `EventLog` that is closed at the end."""
    log = EventLog(folder, rater, clock=clock)
    try:
        yield log
    finally:
        log.close()
