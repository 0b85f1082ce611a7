"""Micro-batching: concurrent requests of one model share forward passes.

A preparing thread turns requests into tensors, one worker thread runs batches. The worker waits for
companions while requests are being prepared or keep coming, at most `max_wait_ms`, or a tenth of what
the batch is likely to take if that is more (a model of 10^8 weights takes nearly twice as long for
batches of 4 and 12 as for one of 16); requests that arrive while a batch runs form the next one without
waiting. Rows share a batch only if their bucket
(pictures, decoding settings) is the same and roughly as many tokens are to be run; the fullest bucket
goes first, but none is passed over more than four times. A request that was answered before, word for
word and with the same seed, is not computed again: a study asks the same under several defenses and
controls. Its response, cost included, is the same as if it had been. When Python exits before all is
answered, as after an error, the worker ends at the next token: a thread that is killed within PyTorch would
take the process down, and its exit status with it.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from sightline.cases import Conversation
from sightline.clocks import Clocked, spare
from sightline.contracts import Decoding
from sightline.records import Cost, Response, Stop
from sightline.targets._asked import UnfitError
from sightline.targets.local.model import LoadedModel, Prepared, Reply
from sightline.targets.local.processors import ReadBlob
from sightline.targets.local.sampling import EndedError
from sightline.untrusted import sanitized

_QUIET_S = 0.002
_PATIENCE = 4
_WORTH_WAITING = 0.1
_REMEMBERED = 16_384
_Asked = tuple[Conversation, Decoding]
_log = logging.getLogger(__name__)
_working: weakref.WeakSet[Batcher] = weakref.WeakSet()


@dataclass(slots=True, eq=False)
class _Waiting:
    row: Prepared
    asked: _Asked
    answer: Future[Response]
    since: float
    fresh: int = 0
    passed_over: int = 0


class Batcher:
    """Queue, preparing thread and worker thread of one loaded model.

    `invariant` is asked once, before the first batch of several rows; if it says no, rows run alone
    and their responses carry the flag `batch1`. `batches` counts forward runs, `rows` answered rows.
    If the worker itself fails, every waiting request raises that failure and the batcher is `closed`.
    """

    def __init__(
        self, model: LoadedModel, *, max_batch: int, max_wait_ms: float, invariant: Callable[[], bool]
    ) -> None:
        self.model = model
        self.max_batch = max_batch
        self.batches = 0
        self.rows = 0
        self._wait_s = max_wait_ms / 1000
        self._step_s = 0.0
        self._invariant = invariant
        self._checked = False
        self._flags: tuple[str, ...] = ()
        self.closed = False
        self._open = True
        self._arrivals: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._pending: list[_Waiting] = []
        self._answered: OrderedDict[_Asked, Response] = OrderedDict()
        self._preparing = 0
        self._ended: Exception | None = None
        self._abandoned = False
        self._counting = threading.Lock()
        self._prepare = ThreadPoolExecutor(1, thread_name_prefix="sightline-prepare")
        self.worker = threading.Thread(target=self._work, name="sightline-batcher", daemon=True)
        self.worker.start()
        _working.add(self)

    def submit(self, conversation: Conversation, decoding: Decoding, read: ReadBlob) -> Future[Response]:
        """Queue a request; the future holds its response, or the exception that it raised.

        A closed batcher takes no requests: the future holds a RuntimeError, or what the worker failed with.
        """
        answer: Future[Response] = Future()
        known = self._answered.get((conversation, decoding))
        if known is not None:
            answer.set_result(known)
            spare(known.cost)
            return answer
        with self._counting:
            self._preparing += 1
        try:
            self._prepare.submit(self._prepare_one, conversation, decoding, read, answer, time.perf_counter())
        except RuntimeError as closed:  # shut down
            with self._counting:
                self._preparing -= 1
            answer.set_exception(self._ended or closed)
        return answer

    def _prepare_one(
        self,
        conversation: Conversation,
        decoding: Decoding,
        read: ReadBlob,
        answer: Future[Response],
        since: float,
    ) -> None:
        try:
            if not answer.cancelled():
                row = self.model.prepare(conversation, decoding, read)
                self._arrive(_Waiting(row, (conversation, decoding), answer, since))
        except UnfitError as unfit:
            if answer.set_running_or_notify_cancel():
                answer.set_result(Response(text="", stop="error", error=str(unfit)))
        except Exception as broken:  # handed to the caller, who waits for the future
            if answer.set_running_or_notify_cancel():
                answer.set_exception(broken)
        finally:
            with self._counting:
                self._preparing -= 1

    def _arrive(self, waiting: _Waiting) -> None:
        """Hand a prepared request to the worker. Raises what the worker ended with, if it has ended."""
        with self._counting:
            if self._ended is not None:
                raise self._ended
            self._arrivals.put(waiting)

    def forget(self) -> None:
        """Compute everything anew from now on (for measurements)."""
        self._answered.clear()
        self.model.forget()

    def close(self) -> None:
        """Let both threads end after what is queued, also what is still to be prepared."""
        self.closed = True
        with suppress(RuntimeError):  # closed before
            self._prepare.submit(self._arrivals.put, None)
        self._prepare.shutdown(wait=False)

    def abandon(self) -> None:
        """End the worker at its next token. Nobody waits for answers any more, and nobody gets one."""
        self.closed = self._abandoned = True
        self.model.ending.set()
        self._arrivals.put(None)
        self.worker.join()

    def _work(self) -> None:
        ended: Exception = RuntimeError("the queue of this model is closed")
        try:
            while (self._pending or self._open) and not self._abandoned:
                self._step()
        except Exception as broken:  # handed to every caller, who waits for a future
            ended = broken
            _log.exception("%s: the batching thread failed", self.model.where)
        finally:  # also if the message itself fails: else callers would wait forever
            if not self._abandoned:
                self._end(ended)

    def _step(self) -> None:
        """Wait for requests and answer one batch."""
        if not self._pending:
            if not self._take(None):  # closed
                return
            self._gather()
        while self._take(0):
            pass
        if not self._pending:
            return
        batch = self._choose()
        try:
            self._answer(batch)
        except EndedError:
            return
        except Exception as broken:  # handed to the callers of this batch, who wait for a future
            _fail(batch, broken)

    def _end(self, ended: Exception) -> None:
        """Fail whatever waits, and whatever arrives from now on."""
        self.closed = True
        with self._counting:
            self._ended = ended
            while not self._arrivals.empty():
                self._take(0)
        self._prepare.shutdown(wait=False)
        _fail(self._pending, ended)
        self._pending = []

    def _take(self, timeout: float | None) -> bool:
        """Move one arrival to the pending requests; False if none came in `timeout` seconds."""
        try:
            waiting = self._arrivals.get(timeout=timeout) if timeout != 0 else self._arrivals.get_nowait()
        except queue.Empty:
            return False
        if waiting is None:
            self._open = False
            return False
        self._pending.append(waiting)
        return True

    def _gather(self) -> None:
        """Wait for companions of the first request: until a batch is full or nobody else is coming."""
        since = time.monotonic()
        likely_s = self._step_s * self._pending[0].row.new_tokens
        longest_s = max(self._wait_s, _WORTH_WAITING * likely_s)
        while self._open and len(self._pending) < self.max_batch:
            left = since + (longest_s if self._preparing else self._wait_s) - time.monotonic()
            if left <= 0:
                return
            if not self._take(min(left, _QUIET_S)) and self._preparing == 0 and self._arrivals.empty():
                return

    def _choose(self) -> list[_Waiting]:
        """Take the next batch out of the pending requests."""
        buckets: dict[tuple[object, ...], list[_Waiting]] = defaultdict(list)
        for waiting in self._pending:
            cached = self.model.cached_tokens(waiting.row)
            waiting.fresh = waiting.row.length - cached
            buckets[cached > 0, *waiting.row.bucket].append(waiting)
        oldest = self._pending[0]
        chosen = max(buckets.values(), key=len)
        if oldest.passed_over >= _PATIENCE:
            chosen = next(bucket for bucket in buckets.values() if bucket[0] is oldest)
        first = chosen[0].fresh
        chosen = [waiting for waiting in chosen if _close(first, waiting.fresh)]
        chosen.sort(key=lambda waiting: abs(waiting.fresh - first))
        batch = chosen[: self.max_batch]
        taken = set(batch)
        self._pending = [waiting for waiting in self._pending if waiting not in taken]
        for waiting in self._pending:
            waiting.passed_over += 1
        return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        batch = [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
        if len(batch) > 1 and not self._checked:
            self._check()
        while batch:
            part, batch = batch[: self.max_batch], batch[self.max_batch :]
            started, processors = time.perf_counter(), time.process_time()
            replies = self._run([waiting.row for waiting in part])
            now = time.perf_counter()
            written = max((len(reply.ids) for reply in replies if isinstance(reply, Reply)), default=0)
            self._step_s = (now - started) / written if written else 0.0
            share, processors = (now - started) / len(part), time.process_time() - processors
            for waiting, reply in zip(part, replies, strict=True):
                response = self._response(waiting.row, reply, share)
                taken = Clocked(latency=now - waiting.since, cpu_seconds=processors / len(part))
                response = replace(response, cost=taken.of(response.cost))
                if response.stop != "error":
                    self._answered[waiting.asked] = response
                waiting.answer.set_result(response)
            while len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)

    def _check(self) -> None:
        if not self._invariant():
            self.max_batch = 1
            self._flags = ("batch1",)
        self._checked = True

    def _run(self, rows: list[Prepared]) -> list[Reply | str]:
        """Replies to one batch, or what went wrong, row by row.

        If the device's memory is too small, the batch is halved, for good. If the model fails on a
        batch, its rows run alone, so that one bad request cannot take others with it.
        """
        try:
            replies: list[Reply | str] = [_checked(reply) for reply in self.model.generate(rows)]
        except torch.OutOfMemoryError as full:
            if len(rows) == 1:
                return [f"out of memory for a single request of {rows[0].length} tokens: {full}"]
            self.max_batch = half = max(1, len(rows) // 2)
            _log.warning(
                "%s: out of memory with %d requests per batch; going on with %d",
                self.model.where,
                len(rows),
                half,
            )
            self.model.forget()
            torch.cuda.empty_cache()
            return [*self._run(rows[:half]), *self._run(rows[half:])]
        except (RuntimeError, ValueError, IndexError) as broken:
            if len(rows) == 1:
                return [f"{type(broken).__name__}: {broken}"]
            return [reply for row in rows for reply in self._run([row])]
        self.batches += 1
        self.rows += len(rows)
        return replies

    def _response(self, row: Prepared, reply: Reply | str, seconds: float) -> Response:
        """Flops by formula, 2 x parameters x tokens; seconds are the row's share of its batch."""
        flags = (*row.flags, *self._flags)
        if isinstance(reply, str):
            cost = Cost(calls_target=1, tokens_in=row.length, seconds=seconds)
            return Response(text="", stop="error", error=reply, flags=flags, cost=cost)
        tokens = row.length + len(reply.ids)
        cost = Cost(
            calls_target=1,
            tokens_in=row.length,
            tokens_out=len(reply.ids),
            flops=2.0 * self.model.parameters * tokens,
            seconds=seconds,
        )
        stop: Stop = "stop" if reply.finished else "length"
        said = Response(text=reply.text, stop=stop, flags=flags, cost=cost)
        return sanitized(said, thinking=row.thinking)


@atexit.register
def _abandon_all() -> None:
    for batcher in list(_working):
        batcher.abandon()


def _checked(reply: Reply) -> Reply | str:
    """A reply, or why it is none: what was written after scores that are no numbers means nothing."""
    if reply.finite:
        return reply
    return (
        "the model's scores are not finite (NaN or infinite): damaged weights, or a number format too small"
    )


def _fail(requests: list[_Waiting], broken: Exception) -> None:
    for waiting in requests:
        with suppress(InvalidStateError):  # answered or cancelled
            waiting.answer.set_exception(broken)


def _close(first: int, other: int) -> bool:
    """Whether two prompt lengths may share a batch: little of it would be padding."""
    short, long = sorted((first, other))
    return long - short <= 16 or long <= 1.5 * short
