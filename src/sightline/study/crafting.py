"""Stage craft: cases x attacks -> artifacts, each sealed and stored once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sightline.cases import Case
from sightline.contracts import Craft
from sightline.errors import ContractError, UsageError
from sightline.plain import case_of, plain_artifact
from sightline.records import Artifact, Draft
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
                if column.named.attack.card.crafted == "alone":
                    stage.run_in_order(pending, partial(_artifact, column=column, blobs=blobs))
                elif todos := list(pending):
                    stage.append(_artifacts(_company(todos, book, column), todos, column, blobs))
    stage.close()
    return stage.count


def _pending(stage: Stage[Row], table: Table, book: Book, column: Column) -> Iterator[Todo[Row]]:
    for rows in chunks(book.rows()):
        cases = column.select(rows)
        yield from stage.missing(table, column.keys(cases), choose(cases))


def _artifact(todo: Todo[Row], column: Column, blobs: Blobs) -> Row:
    """One case, crafted with a seed of its own key: the result depends on no other case."""
    case = case_of(todo.value)
    try:
        ctx = Craft(images=blobs, seed=seed_of(todo.key), surrogates=column.surrogates)
        (drafted,) = _drafts(column, [case], ctx)
        artifact = _sealed(drafted, todo.key, column, blobs)
    except UsageError as problem:
        artifact = _failed(case, todo.key, str(problem))
    return plain_artifact(artifact)


def _company(todos: Sequence[Todo[Row]], book: Book, column: Column) -> dict[str, Case]:
    """The cases that one call sees, by key: those to do, or all of them if they make one thing together."""
    if column.named.attack.card.crafted == "apart":
        return {todo.key: case_of(todo.value) for todo in todos}
    rows = column.select(list(book.rows()))
    return dict(zip(column.keys(rows), map(case_of, rows), strict=True))


def _artifacts(
    cases: Mapping[str, Case], todos: Sequence[Todo[Row]], column: Column, blobs: Blobs
) -> Iterator[tuple[str, Row]]:
    """Many cases by one call, each written as soon as the attack gives it; unreadable pictures stay out.

    The seed is the column's: what is random for one case has to follow from the seed and the case alone.
    """
    wanted = {todo.key for todo in todos}
    problems = {
        key: next((image.problem for image in case.conversation.images if image.problem), None)
        for key, case in cases.items()
    }
    for key, problem in problems.items():
        if problem is not None and key in wanted:
            yield key, plain_artifact(_failed(cases[key], key, problem))
    good = {key: cases[key] for key, problem in problems.items() if problem is None}
    if wanted.isdisjoint(good):
        return
    seed = seed_of("column", column.identity, column.seed, column.crafted_on)
    ctx = Craft(images=blobs, seed=seed, surrogates=column.surrogates)
    together = column.named.attack.card.crafted == "together"
    made = _drafts(column, list(good.values()), ctx) if together else _each(column, list(good.values()), ctx)
    for (key, case), draft in zip(good.items(), made, strict=True):
        if key not in wanted:
            continue
        if isinstance(draft, UsageError):
            yield key, plain_artifact(_failed(case, key, str(draft)))
        else:
            yield key, plain_artifact(_sealed(draft, key, column, blobs))


def _each(column: Column, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft | UsageError]:
    """What the attack makes of cases that do not depend on each other; one that it cannot take is no end.

    If a call fails, what it has not given is asked for case by case.

    Raises:
        UsageError: if it can take none of them: then the cases are not to blame.
    """
    done, failure = 0, None
    try:
        for draft in _drafts(column, cases, ctx):
            yield draft
            done += 1
    except UsageError as wrong:
        if len(cases) == 1:
            raise
        failure = wrong
    held: list[UsageError] = []
    for case in cases[done:]:
        try:
            (draft,) = _drafts(column, [case], ctx)
        except UsageError as wrong:
            held.append(wrong)
            continue
        yield from held
        yield draft
        held, done = [], done + 1
    if failure is not None and not done:
        raise failure
    yield from held


def _drafts(column: Column, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
    """What the attack makes of cases: one draft for each, in order.

    Raises:
        ContractError: for another number of drafts, or a draft of another case.
    """
    attack = column.named.attack
    made = 0
    for draft in attack.craft(cases, ctx):
        if made == len(cases) or draft.case.id != cases[made].id:
            raise ContractError(f"attack {attack.card.name!r} made a draft that no case asked for")
        made += 1
        yield draft
    if made < len(cases):
        raise ContractError(f"attack {attack.card.name!r} made {made} drafts for {len(cases)} cases")


def _sealed(draft: Draft, key: str, column: Column, blobs: Blobs) -> Artifact:
    card = column.named.attack.card
    if card.threat is None:
        raise ContractError(f"attack {card.name!r} declares no threat model")
    return replace(seal(draft, blobs, key=key, threat=card.threat), crafted_on=column.crafted_on)


def _failed(case: Case, key: str, problem: str) -> Artifact:
    return Artifact(key=key, case_id=case.id, conversation=case.conversation, problem=problem)
