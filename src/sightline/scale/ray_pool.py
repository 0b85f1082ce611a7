"""Shards over Ray: one actor per GPU or CPU; an actor that dies is replaced.

Results are files that the workers write; what travels is keys on the way there, counts on the way back. The
run folder, releases and model folders therefore lie on a file system that all machines of the cluster share,
under the same paths.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic

from sightline.errors import UsageError
from sightline.scale.cluster import Cluster, connected
from sightline.scale.shards import Done, Failed, Listener, Opening, Resources, S, Tally
from sightline.scale.worker import ProgressUpdate, Raised, Worker

#: times that a shard is handed out again after a worker died over it
RETRIES = 2
#: workers in a row that may die before one has started
FAILED_STARTS = 3
#: seconds until the user is told that no worker has started
START_TIMEOUT = 60.0
#: times of that after which the user hears that none will
MAX_WAITS = 30
#: seconds that a worker gets to close its files
CLOSE_TIMEOUT = 30.0


@dataclass(slots=True)
class _Assignment(Generic[S]):
    """A shard that a worker has: how often it was assigned, and the rows and errors reported so far."""

    shard: S
    times: int = 0
    rows: int = 0
    errors: int = 0


def map_over_ray(
    open_work: Opening[S], shards: Iterable[S], resources: Resources, listener: Listener
) -> Iterator[Done[S] | Failed[S]]:
    """See `map_shards`; a cluster is joined when there is a first shard."""
    feed = iter(shards)
    for first in islice(feed, 1):
        with connected(resources) as cluster:
            ray_pool: RayPool[S] = RayPool(cluster, open_work, chain([first], feed), listener)
            try:
                yield from ray_pool.work()
            finally:
                ray_pool.shut_down()


class RayPool(Generic[S]):
    """Workers, and what each is waited for: to start, or to report on its shard."""

    def __init__(
        self, cluster: Cluster, open_work: Opening[S], feed: Iterator[S], listener: Listener
    ) -> None:
        self._cluster = cluster
        self._ray = cluster.ray
        self._open = open_work
        self._feed = feed
        self._listener = listener
        self._actor = cluster.ray.remote(max_restarts=0, max_task_retries=0, **cluster.needs)(Worker)
        self._queue: deque[_Assignment[S]] = deque()
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, _Assignment[S]]] = {}
        self._failed_starts = 0

    def work(self) -> Iterator[Done[S] | Failed[S]]:
        """Every shard's end, as it comes."""
        waits = 0
        while self._assign():
            patience = None if self._busy else START_TIMEOUT
            ready, _ = self._ray.wait([*self._starting, *self._busy], num_returns=1, timeout=patience)
            waits = 0 if ready else waits + 1
            self._check_start(waits)
            for event in ready:
                if event in self._starting:
                    self._started(event)
                else:
                    yield from self._received(event)
        closing = [worker.close.remote() for worker in self._idle]
        with suppress(self._ray.exceptions.RayError):  # of one that dies now, all rows are written
            self._ray.get(closing, timeout=CLOSE_TIMEOUT)

    def _check_start(self, waits: int) -> None:
        """Tell when no worker begins, and give up in the end: a cluster that lacks a part never starts one.

        Raises:
            UsageError: if it has lasted too long.
        """
        if waits == 1:
            self._listener.note(f"no worker has begun for {START_TIMEOUT:g} s: is the cluster at other work?")
        if waits == MAX_WAITS:
            raise UsageError(
                f"no worker has begun for {MAX_WAITS * START_TIMEOUT / 60:g} minutes: the cluster is at "
                "other work or a part of it has died (`ray status` tells). Restart it, then run the same "
                "command again"
            )

    def shut_down(self) -> None:
        """End all workers."""
        busy = (worker for worker, _ in self._busy.values())
        for worker in (*self._idle, *self._starting.values(), *busy):
            self._ray.kill(worker)

    def _assign(self) -> bool:
        """Assign shards to idle workers and start workers for the rest; False if nothing is left."""
        self._queue.extend(
            map(_Assignment, islice(self._feed, max(0, self._cluster.workers - len(self._queue))))
        )
        while self._idle and self._queue:
            worker, assignment = self._idle.pop(), self._queue.popleft()
            assignment.times += 1
            updates = worker.run.options(num_returns="streaming").remote(
                assignment.shard, assignment.times > 1
            )
            self._busy[updates] = (worker, assignment)
        places = self._cluster.workers - len(self._busy) - len(self._idle)
        for _ in range(min(places, len(self._queue)) - len(self._starting)):
            worker = self._actor.remote(self._open, str(Path.cwd()))
            self._starting[worker.begin.remote()] = worker
        return bool(self._busy or self._queue)

    def _started(self, event: Any) -> None:
        worker = self._starting.pop(event)
        try:
            self._ray.get(event)
        except self._ray.exceptions.RayError as died:
            self._failed_starts += 1
            if self._failed_starts == FAILED_STARTS:
                raise UsageError(f"workers die before they have begun: {_why(died)}") from None
        else:
            self._failed_starts = 0
            self._idle.append(worker)

    def _received(self, event: Any) -> Iterator[Done[S] | Failed[S]]:
        """Handle a report of a worker on its shard: more rows, its end, an error, or its death."""
        worker, assignment = self._busy[event]
        try:
            now: ProgressUpdate | Tally | Raised = self._ray.get(next(event))
        except self._ray.exceptions.RayError as died:
            del self._busy[event]
            self._ray.kill(worker)  # of one that is only out of reach, nothing more is to come
            if assignment.times <= RETRIES:
                self._queue.appendleft(assignment)
            else:
                yield Failed(assignment.shard, f"{assignment.times} workers died over it: {_why(died)}")
            return
        match now:
            case ProgressUpdate():
                self._forward(assignment, now)
            case Raised():
                raise now.error()
            case Tally():
                del self._busy[event]
                self._idle.append(worker)
                yield Done(assignment.shard, now)

    def _forward(self, assignment: _Assignment[S], update: ProgressUpdate) -> None:
        """Pass progress on to the listener, less what another worker reported of the same shard."""
        rows, errors = max(0, update.rows - assignment.rows), max(0, update.errors - assignment.errors)
        assignment.rows, assignment.errors = assignment.rows + rows, assignment.errors + errors
        if rows:
            self._listener.advance(rows, errors=errors)
        if update.within:
            self._listener.within(update.within)
        for note in update.notes:
            self._listener.note(note)


def _why(died: Exception) -> str:
    """The sentence of Ray's report that says what became of a worker."""
    return str(died).strip().splitlines()[-1][:300]
