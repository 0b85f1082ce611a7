"""The actor in a worker process: works on one shard after another and reports progress meanwhile."""

from __future__ import annotations

import os
import platform
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillAtWork
from dataclasses import dataclass
from typing import Any

from sightline.errors import ContractError, SightlineError, UsageError
from sightline.scale.shards import Opening, Shard, Tally, Work

#: seconds between two reports of one worker
INTERVAL = 0.5


@dataclass(frozen=True, slots=True)
class Raised:
    """An error of the work, as data: not every exception survives the journey."""

    kind: type[SightlineError] | None
    text: str

    @classmethod
    def of(cls, wrong: Exception) -> Raised:
        """What is left of an exception; of our own kinds, their kind."""
        for kind in (UsageError, ContractError, SightlineError):
            if isinstance(wrong, kind):
                return cls(kind, str(wrong))
        return cls(None, "".join(traceback.format_exception(wrong)))

    def error(self) -> Exception:
        """The exception again; a bug's has the traceback of the worker as its text."""
        return RuntimeError(f"in a worker:\n{self.text}") if self.kind is None else self.kind(self.text)


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """Rows and errors since the shard began; `within` and `notes` since the last report."""

    rows: int
    errors: int
    within: str
    notes: tuple[str, ...]


class ProgressBuffer:
    """The listener in a worker process: buffers progress until `take`."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A new shard."""
        self._rows = self._errors = 0
        self._within = ""
        self._notes: list[str] = []

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        """See `Listener.advance`."""
        self._rows += rows
        self._errors += errors

    def within(self, text: str) -> None:
        """See `Listener.within`."""
        self._within = text

    def note(self, text: str) -> None:
        """See `Listener.note`."""
        self._notes.append(text)

    def take(self) -> ProgressUpdate:
        """Progress so far; notes are given once."""
        notes, self._notes = self._notes, []
        return ProgressUpdate(self._rows, self._errors, self._within, tuple(notes))


class Worker:
    """The actor. Its work is opened when it is first needed, in the folder that the command runs in."""

    def __init__(self, open_work: Opening[Any], folder: str) -> None:
        self._open = open_work
        self._folder = folder
        self._buffer = ProgressBuffer()
        self._thread = ThreadPoolExecutor(1)
        self._work: Work[Any] | None = None

    def begin(self) -> int:
        """The process is there; returns its id."""
        return os.getpid()

    def run(self, shard: Shard, again: bool) -> Iterator[ProgressUpdate | Tally | Raised]:
        """Do a shard in a thread; yields progress meanwhile, then its tally or its error."""
        self._buffer.begin()
        doing = self._thread.submit(self._do, shard, again)
        update = self._buffer.take()
        while not _ended(doing):
            before, update = update, self._buffer.take()
            if update != before:
                yield update
        yield self._buffer.take()
        wrong = doing.exception()
        if wrong is None:
            yield doing.result()
        elif isinstance(wrong, Exception):
            yield Raised.of(wrong)
        else:
            raise wrong

    def _do(self, shard: Shard, again: bool) -> Tally:
        if self._work is None:
            try:
                os.chdir(self._folder)
            except OSError as unseen:
                raise UsageError(
                    f"machine {platform.node()} of the cluster has no {self._folder} ({unseen.strerror}): "
                    "study, run folder and models have to lie on a file system that all machines share"
                ) from None
            self._work = self._open(self._buffer)
        return self._work(shard, again=again)

    def close(self) -> None:
        """Close what the work has open."""
        if self._work is not None:
            self._work.close()


def _ended(doing: Future[Tally]) -> bool:
    """Whether it has ended, within the time between two reports."""
    try:
        doing.exception(timeout=INTERVAL)
    except StillAtWork:
        return False
    return True
