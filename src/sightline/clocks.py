"""How long a reply takes, and what it takes of this machine's processors.

Replies are made many at a time in one process, by threads that work for several of them at once (a model's
batch), so no clock reads the processor time of one reply. It is shared out: the time of all threads of this
process, evenly among the replies in the making. The shares of all replies add up to what the process used
while any was being made; a mean over replies that were asked together is right, a single one an estimate.
Other processes (a provider's) and accelerators are not in it; what is loaded at the first reply is.

What a queue remembers or a log holds takes no time: it counts as much as when it was made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from sightline.records import Cost


class Shares:
    """A clock that advances by processor time divided by the replies in the making.

    A reply's share is what the clock advances by meanwhile.

    Args:
        read: seconds of processor time, of all threads of this process.
    """

    def __init__(self, read: Callable[[], float] = time.process_time) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._making = 0
        self._clock = 0.0
        self._last = 0.0

    def change(self, begun: int) -> float:
        """The clock; from now on, `begun` replies more are in the making, or fewer if it is negative."""
        with self._lock:
            now = self._read()
            if self._making:
                self._clock += (now - self._last) / self._making
            self._last = now
            self._making += begun
            return self._clock


@dataclass(slots=True)
class Clocked:
    """Seconds that one reply took, once it is there: by the clock, and of processors."""

    latency: float = 0.0
    cpu_seconds: float = 0.0

    def of(self, cost: Cost) -> Cost:
        """A cost with these in place of its own."""
        return replace(cost, latency=self.latency, cpu_seconds=self.cpu_seconds)


_SHARES = Shares()
_CLOCKED: ContextVar[tuple[Clocked, ...]] = ContextVar("clocked", default=())
"""Of the replies that this task works for, the outermost first."""


@contextmanager
def clocked() -> Iterator[Clocked]:
    """Both clocks of one reply; of one within another reply, its part of the other's."""
    around = _CLOCKED.get()
    found = Clocked()
    token = _CLOCKED.set((*around, found))
    started, share = time.perf_counter(), _SHARES.change(0 if around else 1)
    try:
        yield found
    finally:
        _CLOCKED.reset(token)
        found.latency += time.perf_counter() - started
        found.cpu_seconds += _SHARES.change(0 if around else -1) - share


def spare(cost: Cost) -> None:
    """Count a call that is not made anew. Latencies of several add up, as if one came after another."""
    for each in _CLOCKED.get():
        each.latency += cost.latency
        each.cpu_seconds += cost.cpu_seconds
