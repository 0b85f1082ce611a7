"""The cases that a table of recorded responses answers, whatever harness wrote it.

Comes with `responses:` alone (docs/responses.md). A case is an id of the table, or what it asks; its request
is that of the row without an attack if there is one, else the plain behavior. Where the table does not say
what is expected, every case is a request that a safe model refuses, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sightline.cases import Case
from sightline.contracts import Benchmark, Release
from sightline.errors import UsageError
from sightline.registry import benchmark
from sightline.responses.table import ResponseTable


@benchmark("recorded", source="the user's own files", elsewhere=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded(Benchmark):
    """`table`: the name of the table, with which the ids of its cases begin."""

    needs_root: ClassVar[bool] = True

    table: str = ""
    _table: Any = field(default=None, init=False, repr=False, compare=False)

    def of(self, table: ResponseTable) -> Recorded:
        """The same, with its rows."""
        found = copy(self)
        object.__setattr__(found, "_table", table)
        return found

    def cases(self, release: Release) -> Iterator[Case]:
        """The cases in the order in which the table first names them.

        Raises:
            UsageError: without a table.
        """
        if not isinstance(self._table, ResponseTable):
            raise UsageError("recorded stands for the cases of another harness: it comes with `responses:`")
        for file in self._table.facts.files:
            release.note(file["name"])  # its content is part of the release
        for warning in self._table.warnings():
            release.warn(warning)
        yield from self._table.cases(release)
