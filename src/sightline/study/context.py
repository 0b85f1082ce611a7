"""What a run is made of; every stage gets it whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sightline.contracts import Judge, Target
from sightline.keys import answer_key
from sightline.scale import Resources
from sightline.shards import Row
from sightline.store import Blobs
from sightline.study.case_table import CaseTable
from sightline.study.config import NamedDefense, Study
from sightline.study.grid import Column, chunks
from sightline.study.progress import Progress, Silent


class StudyTarget(NamedTuple):
    """A target of a study under one of its defenses: the names in tables, and the model that answers."""

    name: str
    defense: NamedDefense
    target: Target

    def answers(self, column: Column) -> bool:
        """Whether it is asked what a column shows; recorded responses are those of one target and defense.

        What an attack made in talking to a target is shown to that one, behind one defense or any.
        """
        only = column.named.answered_by
        return only is None or (only[0] == self.name and only[1] in (None, self.defense.label))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """A study with everything that it names opened, and the folder of its rows.

    Attributes:
        study: decoding, epochs, concurrency, retries.
        records: folder of the stages' rows.
        blobs: pictures by hash.
        case_tables: the cases of each benchmark.
        columns: the attacks.
        targets: every target under every defense; those of one name stand together.
        judges: bound to their graders.
        progress: is told how far each stage is.
        retry_errors: make rows that are error outcomes again.
        resources: where artifacts are crafted.
    """

    study: Study
    records: Path
    blobs: Blobs
    case_tables: Sequence[CaseTable]
    columns: Sequence[Column]
    targets: Sequence[StudyTarget] = ()
    judges: Sequence[Judge] = ()
    progress: Progress = field(default_factory=Silent)
    retry_errors: bool = False
    resources: Resources = field(default_factory=Resources)

    @property
    def artifacts(self) -> int:
        """Number of artifacts: every case with every attack that applies to it."""
        return sum(column.size(table.expected) for column in self.columns for table in self.case_tables)

    @property
    def answers(self) -> int:
        """Number of answers."""
        asked = (
            column.size(table.expected) for target in self.targets for table, column in self.cells(target)
        )
        return sum(asked) * self.study.epochs

    def cells(self, target: StudyTarget | None = None) -> Iterator[tuple[CaseTable, Column]]:
        """Benchmark by benchmark, attack by attack: all columns, or those that a target is asked."""
        for case_table in self.case_tables:
            for column in self.columns:
                if target is None or target.answers(column):
                    yield case_table, column

    def artifact_keys(self, target: StudyTarget | None = None) -> Iterator[list[str]]:
        """Keys of all artifacts, or of those that a target is shown, cell by cell, in batches."""
        for case_table, column in self.cells(target):
            yield from map(column.keys, self.case_rows(case_table, column))

    def answer_keys(self, artifacts: Sequence[str], target: Target, epoch: int) -> list[str]:
        """Keys of a target's answers to artifacts."""
        return [answer_key(artifact, target.id, self.study.decoding, epoch) for artifact in artifacts]

    def case_rows(self, case_table: CaseTable, column: Column) -> Iterator[list[Row]]:
        """The cases of a cell, in batches."""
        return map(column.select, chunks(case_table.rows()))
