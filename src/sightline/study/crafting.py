"""Stage craft: cases x attacks -> artifacts, each sealed and stored once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sightline.cases import Case
from sightline.contracts import Craft, Searching
from sightline.digests import digest
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


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where one column is crafted: its pictures' store, and the folder of searches that are under way."""

    column: Column
    blobs: Blobs
    unfinished: Path
    progress: Progress

    @classmethod
    def of(cls, column: Column, records: Path, blobs: Blobs, progress: Progress) -> Workshop:
        """The column's place in a run folder."""
        name = digest(column.identity, column.seed, column.crafted_on, str(column.named.budget))[:16]
        return cls(column, blobs, records / f"{STAGE}.unfinished" / name, progress)

    def world(self, seed: int) -> Craft:
        """What the attack sees."""
        return Craft(
            images=self.blobs,
            seed=seed,
            surrogates=self.column.surrogates,
            budget=self.column.named.budget,
            bench=self.bench,
            report=self.report,
        )

    def report(self, searching: Searching) -> None:
        """Show how far a search is, and what it says."""
        label = self.column.named.label
        if searching.message:
            self.progress.note(f"{label}: {searching.message}")
        else:
            self.progress.within(
                f"{label}: step {searching.step:,} of {searching.steps:,}, loss {searching.loss:.3f}"
            )

    def bench(self, name: str) -> Path:
        """The file of a search."""
        self.unfinished.mkdir(parents=True, exist_ok=True)
        return self.unfinished / digest(name)[:32]

    def clear(self) -> None:
        """Everything is sealed: forget the searches."""
        shutil.rmtree(self.unfinished, ignore_errors=True)


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
                workshop = Workshop.of(column, records, blobs, progress)
                if column.named.attack.card.crafted == "alone":
                    stage.run_in_order(pending, partial(_artifact, workshop=workshop))
                elif todos := list(pending):
                    stage.append(_artifacts(_company(todos, book, column), todos, workshop))
                workshop.clear()
    stage.close()
    return stage.count


def _pending(stage: Stage[Row], table: Table, book: Book, column: Column) -> Iterator[Todo[Row]]:
    for rows in chunks(book.rows()):
        cases = column.select(rows)
        yield from stage.missing(table, column.keys(cases), choose(cases))


def _artifact(todo: Todo[Row], workshop: Workshop) -> Row:
    """One case, crafted with a seed of its own key: the result depends on no other case."""
    case = case_of(todo.value)
    try:
        (drafted,) = _drafts(workshop.column, [case], workshop.world(seed_of(todo.key)))
        artifact = _sealed(drafted, todo.key, workshop)
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
    cases: Mapping[str, Case], todos: Sequence[Todo[Row]], workshop: Workshop
) -> Iterator[tuple[str, Row]]:
    """Many cases by one call, each written as soon as the attack gives it; unreadable pictures stay out.

    The seed is the column's: what is random for one case has to follow from the seed and the case alone.
    """
    column = workshop.column
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
    ctx = workshop.world(seed_of("column", column.identity, column.seed, column.crafted_on))
    together = column.named.attack.card.crafted == "together"
    made = _drafts(column, list(good.values()), ctx) if together else _each(column, list(good.values()), ctx)
    for (key, case), draft in zip(good.items(), made, strict=True):
        if key not in wanted:
            continue
        if isinstance(draft, UsageError):
            yield key, plain_artifact(_failed(case, key, str(draft)))
        else:
            yield key, plain_artifact(_sealed(draft, key, workshop))


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


def _sealed(draft: Draft, key: str, workshop: Workshop) -> Artifact:
    column = workshop.column
    card = column.named.attack.card
    if card.threat is None:
        raise ContractError(f"attack {card.name!r} declares no threat model")
    spent = column.named.budget.exceeded(replace(draft.cost, seconds=0.0))
    if spent is not None:
        raise ContractError(
            f"case {draft.case.id}: attack {card.name!r} spent more {spent} than its budget allows "
            f"({column.named.budget})"
        )
    sealed = seal(draft, workshop.blobs, key=key, threat=card.threat)
    return replace(sealed, crafted_on=column.crafted_on)


def _failed(case: Case, key: str, problem: str) -> Artifact:
    return Artifact(key=key, case_id=case.id, conversation=case.conversation, problem=problem)
