"""Stage craft: cases x attacks -> artifacts, each sealed and stored once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from sightline.contracts import Craft
from sightline.errors import ContractError, UsageError
from sightline.plain import case_of, plain_artifact
from sightline.records import Artifact
from sightline.rng import seed_of
from sightline.store import Blobs, Row
from sightline.study.casebook import Book, artifacts_in
from sightline.study.grid import Column, chunks
from sightline.study.progress import Progress
from sightline.study.seal import seal
from sightline.study.stages import Count, Stage, Todo, choose
from sightline.tables import Table

STAGE = "craft"


def craft(
    books: Sequence[Book],
    columns: Sequence[Column],
    records: Path,
    blobs: Blobs,
    progress: Progress,
    *,
    retry_errors: bool = False,
) -> Count:
    """Make every artifact of the grid that is not there yet.

    A case on which an attack cannot work (an unreadable picture, an empty text) gets an artifact with
    `problem`; it becomes an `error` outcome later, never a smaller denominator.

    Raises:
        ContractError: if an attack breaks its threat model's promise.
    """
    stage: Stage[Row] = Stage(
        records / STAGE, progress, is_error=lambda row: "problem" in row, retry_errors=retry_errors
    )
    total = artifacts_in(books, columns)
    progress.start(STAGE, total, 0)
    with Table(stage.folder) as table:
        for book in books:
            for column in columns:
                pending = _pending(stage, table, book, column)
                stage.run_in_order(pending, partial(_artifact, column=column, blobs=blobs))
    stage.close()
    return stage.count


def _pending(stage: Stage[Row], table: Table, book: Book, column: Column) -> Iterator[Todo[Row]]:
    for rows in chunks(book.rows()):
        cases = column.select(rows)
        yield from stage.missing(table, column.keys(cases), choose(cases))


def _artifact(todo: Todo[Row], column: Column, blobs: Blobs) -> Row:
    """One case, crafted with a seed of its own key: the result depends on no other case."""
    attack = column.named.attack
    if attack.card.threat is None:
        raise ContractError(f"attack {attack.card.name!r} declares no threat model")
    case = case_of(todo.value)
    try:
        drafts = list(attack.craft([case], Craft(images=blobs, seed=seed_of(todo.key))))
        if len(drafts) != 1:
            raise ContractError(f"attack {attack.card.name!r} made {len(drafts)} drafts for one case")
        artifact = seal(drafts[0], blobs, key=todo.key, threat=attack.card.threat)
    except UsageError as problem:
        artifact = Artifact(
            key=todo.key, case_id=case.id, conversation=case.conversation, problem=str(problem)
        )
    return plain_artifact(artifact)
