"""One stage: rows whose key is not there yet are worked on and appended, each as soon as it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sightline.errors import ContractError
from sightline.shards import Row, ShardWriter
from sightline.study.progress import Progress
from sightline.tables import Table

V = TypeVar("V")


def choose(values: Sequence[V]) -> Callable[[list[int]], list[V]]:
    """A function that takes the values at the wanted positions."""
    return lambda wanted: [values[index] for index in wanted]


@dataclass(frozen=True, slots=True)
class Todo(Generic[V]):
    """A row to make: its key (digest of all its inputs) and what it is made from."""

    key: str
    value: V


@dataclass(slots=True)
class Count:
    """What a stage did. `expected` rows, of which `present` were there and `written` were made now."""

    expected: int = 0
    present: int = 0
    written: int = 0
    errors: int = 0


class Stage(Generic[V]):
    """A stage over the shards in `folder`: anti-join by key, then work, then append.

    Rows that are error outcomes (`is_error`) count as present, unless `retry_errors` asks to make them again
    (the later row replaces the earlier). `unfit` says which rows are made again in any case, for what they
    were made from, or what they name, is lost.
    """

    def __init__(
        self,
        folder: Path,
        progress: Progress,
        *,
        is_error: Callable[[Row], bool],
        unfit: Callable[[list[Row]], Iterable[bool]] | None = None,
        retry_errors: bool = False,
    ) -> None:
        self.folder = folder
        self.progress = progress
        self.count = Count()
        self._is_error = is_error
        self._unfit = unfit
        self._retry_errors = retry_errors

    def missing(
        self, table: Table, keys: Sequence[str], values: Callable[[list[int]], Iterable[V]]
    ) -> Iterator[Todo[V]]:
        """Todos for those `keys` whose rows are not in `table`; `values` makes their inputs, in order."""
        self.count.expected += len(keys)
        wanted = table.missing(keys)
        if (self._unfit or self._retry_errors) and len(wanted) < len(keys):
            wanted = sorted({*wanted, *self._to_repeat(table.rows(keys))})
        self.count.present += len(keys) - len(wanted)
        self.progress.advance(len(keys) - len(wanted))
        if wanted:
            for index, value in zip(wanted, values(wanted), strict=True):
                yield Todo(keys[index], value)

    def _to_repeat(self, found: Sequence[Row | None]) -> list[int]:
        """Positions of the rows that are there and are to be made again."""
        present = {i: row for i, row in enumerate(found) if row is not None}
        again = [i for i, row in present.items() if self._retry_errors and self._is_error(row)]
        if self._unfit is not None:
            unfit = self._unfit(list(present.values()))
            again += [i for i, bad in zip(present, unfit, strict=True) if bad]
        return again

    async def run(
        self, pending: Iterator[Todo[V]], work: Callable[[V], Awaitable[dict[str, Any]]], concurrency: int
    ) -> None:
        """Work on `pending` with at most `concurrency` rows in flight; each row is appended when it is done.

        A row once appended survives `kill -9`; only rows in flight are repeated by the next run.
        """
        with ShardWriter(self.folder) as writer:

            async def worker() -> None:
                for todo in pending:
                    self._write(writer, todo.key, await work(todo.value))

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(concurrency):
                        group.create_task(worker())
            except ExceptionGroup as several:
                raise several.exceptions[0] from None  # the others were cancelled because of it

    def run_in_order(self, pending: Iterator[Todo[V]], work: Callable[[Todo[V]], dict[str, Any]]) -> None:
        """The same for work that does not wait for anything."""
        with ShardWriter(self.folder) as writer:
            for todo in pending:
                self._write(writer, todo.key, work(todo))

    def append(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Append rows with their keys as they come."""
        with ShardWriter(self.folder) as writer:
            for key, row in rows:
                self._write(writer, key, row)

    def _write(self, writer: ShardWriter, key: str, row: dict[str, Any]) -> None:
        writer.append(({"key": key, **row},))
        failed = self._is_error(row)
        self.count.written += 1
        self.count.errors += failed
        self.progress.advance(1, errors=int(failed))

    def close(self) -> None:
        """Check that no row is unaccounted for.

        Raises:
            ContractError: if expected rows are neither present nor written.
        """
        self.progress.finish()
        if self.count.present + self.count.written != self.count.expected:
            raise ContractError(
                f"{self.folder.name}: {self.count.expected} rows expected, {self.count.present} present, "
                f"{self.count.written} written"
            )
