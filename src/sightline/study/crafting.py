"""Stage craft: cases x attacks -> artifacts, each sealed and stored once, in this process or over Ray.

The grid is cut into shards of keys, and only what is not there yet is handed out. Artifacts are written where
they are made; here they are counted, and what could not be made is recorded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias

from sightline.errors import ContractError, UsageError
from sightline.plain import plain_artifact
from sightline.scale import Done, Failed, Opening, map_shards
from sightline.shards import Row
from sightline.study.artifact_builder import (
    STAGE,
    CaseStore,
    Crafting,
    WorkUnit,
    failed,
    is_error,
    length,
    made_of,
    open_crafting,
    unfinished,
)
from sightline.study.case_table import LostPictures
from sightline.study.context import RunContext
from sightline.study.conversing import ToConverse, converse_all
from sightline.study.grid import CHUNK, Column, chunks
from sightline.study.stages import Count, Stage, Todo, choose
from sightline.tables import Table
from sightline.waiting import wait

Place: TypeAlias = tuple[int, str]
"""Place of a case among those of a column, and its key."""


def craft(run: RunContext) -> Count:
    """Make every artifact of the grid that is not there yet, or whose picture is lost or damaged.

    A case on which an attack cannot work (an unreadable picture, an empty text) gets an artifact with
    `problem`; it becomes an `error` outcome later, never a smaller denominator. Over Ray, `records` lies in a
    run folder with a lock, and a case over which three workers died is an error too.

    Raises:
        ContractError: if an attack breaks its threat model's promise.
        UsageError: from an attack that can take no case at all.
    """
    lost = LostPictures(run.blobs)

    def opened() -> Stage[Any]:
        return Stage(
            run.records / STAGE,
            run.progress,
            is_error=is_error,
            unfit=lambda rows: map(lost.among, rows),
            retry_errors=run.retry_errors,
        )

    stage: Stage[Place] = opened()
    talks: Stage[ToConverse] = opened()
    talks.count = stage.count
    run.progress.start(STAGE, run.artifacts, 0)
    folders = [case_table.folder.resolve() for case_table in run.case_tables]
    opening: Opening[WorkUnit] = partial(
        open_crafting, folder=run.records.parent.resolve(), case_tables=folders
    )
    if run.resources.ray is None:
        opening = partial(
            Crafting, case_tables=folders, columns=run.columns, records=run.records, blobs=run.blobs
        )
    with Table(stage.folder) as table, closing(WorkQueue(run, stage, table)) as queue:
        left: list[WorkUnit] = []
        for end in map_shards(opening, queue.units(), run.resources, listener=run.progress):
            left += queue.ended(end)
        for end in map_shards(opening, left, run.resources, listener=run.progress):
            for _ in queue.ended(end):
                raise ContractError("a case by itself was divided again")
        if any(column.talkers is not None for column in run.columns):
            wait(converse_all(run, talks, table))
    stage.close()
    lost.tell(run.progress, "their artifacts were made again")
    return stage.count


@dataclass(slots=True)
class _Account:
    """One case table's column: shards sent and ended, artifacts made, cases that the attack cannot take."""

    sent: int = 0
    ended: int = 0
    whole: bool = False
    made: int = 0
    unfit: list[tuple[WorkUnit, Mapping[str, str]]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.whole and self.ended == self.sent


def _named(row: Row) -> Row:
    """Of a case, what the key of its artifact is made from."""
    return {"key": row["key"], "id": row["id"]}


class WorkQueue:
    """What is handed out of the grid, and what has come of it."""

    def __init__(self, run: RunContext, stage: Stage[Place], table: Table) -> None:
        self._run, self._stage, self._table = run, stage, table
        self._columns = run.columns
        self._accounts: dict[tuple[int, int], _Account] = {}
        self._case_store = CaseStore([case_table.folder for case_table in run.case_tables], run.columns)

    def units(self) -> Iterator[WorkUnit]:
        """What is to be done, column by column in the order of each case table."""
        for b in range(len(self._run.case_tables)):
            for c in range(len(self._columns)):
                account = self._accounts[b, c] = _Account()
                if self._columns[c].talkers is not None:
                    continue  # see `conversing`
                for unit in self._column(b, c):
                    account.sent += 1
                    yield unit
                account.whole = True
                self._settle(b, c)

    def _column(self, b: int, c: int) -> Iterator[WorkUnit]:
        """The shards of a column that lack something; of cases that depend on each other, all are named."""
        column = self._columns[c]
        most = length(column)
        if most is None:
            cases = [_named(row) for row in self._rows(b, c)]
            if todos := self._todos(column, cases):
                keys = tuple(case["key"] for case in cases)
                yield WorkUnit(b, c, keys, tuple(todo.key for todo in todos))
            return
        for rows in chunks(self._rows(b, c), most * max(1, CHUNK // most)):
            todos = self._todos(column, rows)
            for _, block in groupby(todos, lambda todo: todo.value[0] // most):
                part = list(block)
                yield WorkUnit(b, c, tuple(todo.value[1] for todo in part), tuple(todo.key for todo in part))

    def _todos(self, column: Column, cases: list[Row]) -> list[Todo[Place]]:
        """Artifacts that are not there yet, each with the place and the key of its case."""
        places = [(number, str(case["key"])) for number, case in enumerate(cases)]
        return list(self._stage.missing(self._table, column.keys(cases), choose(places)))

    def _rows(self, b: int, c: int) -> Iterator[Row]:
        for rows in self._run.case_rows(self._run.case_tables[b], self._columns[c]):
            yield from rows

    def ended(self, end: Done[WorkUnit] | Failed[WorkUnit]) -> Iterator[WorkUnit]:
        """Count a shard; of one that was given up comes back what is to be tried case by case."""
        unit = end.shard
        account = self._accounts[unit.case_table, unit.column]
        account.ended += 1
        if isinstance(end, Done):
            self._count(account, end.tally.rows, end.tally.errors)
            account.unfit += [(unit, end.tally.unfit)] if end.tally.unfit else []
        else:
            there = made_of(self._stage.folder, unit.keys)
            self._count(account, len(there), 0)
            left = [i for i, key in enumerate(unit.keys) if key not in there]
            if len(unit.keys) == 1 or length(self._columns[unit.column]) is None:
                self._record([(unit, {unit.keys[i]: end.reason for i in left})])
            else:
                account.sent += len(left)
                yield from (
                    WorkUnit(unit.case_table, unit.column, (unit.cases[i],), (unit.keys[i],)) for i in left
                )
        self._settle(unit.case_table, unit.column)

    def _count(self, account: _Account, rows: int, errors: int) -> None:
        account.made += rows - errors
        self._stage.count.written += rows
        self._stage.count.errors += errors

    def _settle(self, b: int, c: int) -> None:
        """Record what does not fit as soon as something does; forget the searches of a column that is over.

        Raises:
            UsageError: if the attack can take none of the cases: then they are not to blame.
        """
        account = self._accounts[b, c]
        if account.unfit and (account.made or (account.over and self._made_before(b, c))):
            self._record(account.unfit)
            account.unfit = []
        if account.over:
            for _, unfit in account.unfit:
                raise UsageError(next(iter(unfit.values())))
            shutil.rmtree(unfinished(self._run.records, b, self._columns[c]), ignore_errors=True)

    def _made_before(self, b: int, c: int) -> bool:
        """Whether an earlier run made an artifact of the column."""
        column = self._columns[c]
        return any(
            row is not None and not is_error(row)
            for rows in chunks(self._rows(b, c))
            for row in self._table.rows(column.keys(rows))
        )

    def _record(self, unfit: list[tuple[WorkUnit, Mapping[str, str]]]) -> None:
        """Write rows that say why there is no artifact."""
        for unit, reasons in unfit:
            cases = self._case_store.cases(unit)
            self._stage.append(
                (key, plain_artifact(failed(cases[key], key, why))) for key, why in reasons.items()
            )

    def close(self) -> None:
        """Release the case tables."""
        self._case_store.close()
