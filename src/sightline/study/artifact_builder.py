"""Where artifacts are made: a shard of one column's cases, crafted, sealed and written, in whatever process.

Cases that an attack crafts apart are cut into shards by the order of the case table, as many as the attack
takes at once (its setting `batch`, else one), and its rows are written together: neither the number
of workers nor a crash decides which pictures share a batch. That matters: alone or in a batch of four,
pictures of most attacks on the testbed are equal bit for bit, but `cropa` ended in one other pixel value of
12,288.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from sightline import registry, targets
from sightline.cases import Case
from sightline.contracts import Craft, Images, Surrogate, Target
from sightline.digests import digest
from sightline.errors import ContractError, MethodError, UsageError
from sightline.keys import case_key
from sightline.plain import case_of, plain_artifact, plain_case
from sightline.records import Artifact, Draft, Pixels, SearchProgress
from sightline.scale import Listener, Tally
from sightline.shards import Row, ShardWriter
from sightline.store import Blobs
from sightline.study import lock
from sightline.study.called import drafts_of, with_traceback
from sightline.study.config import NamedAttack, Study
from sightline.study.grid import Column
from sightline.study.progress import Silent
from sightline.study.roles import open_talkers
from sightline.study.seal import seal
from sightline.study.surrogates import open_surrogate
from sightline.study.training import with_trained
from sightline.tables import Table

STAGE = "craft"
Made: TypeAlias = tuple[str, Artifact | UsageError]
"""The key of an artifact, and the artifact or why the attack cannot take its case."""
#: cases of a shard, for attacks that craft each by itself
ALONE = 16


@runtime_checkable
class Batched(Protocol):
    """An attack that crafts several cases at once."""

    @property
    def batch(self) -> int:
        """How many, at most."""
        ...


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """A shard: some cases of a case table, in its order, that one call of a column's attack gets.

    Attributes:
        case_table: place of the case table in the study.
        column: place of the column.
        cases: keys of the cases.
        keys: of the artifacts to make.
    """

    case_table: int
    column: int
    cases: tuple[str, ...]
    keys: tuple[str, ...]


def length(column: Column) -> int | None:
    """Cases of a shard of the column; None is all of a case table."""
    attack = column.named.attack
    match attack.card.scope:
        case "per_case":
            return ALONE
        case "batched":
            return attack.batch if isinstance(attack, Batched) else 1
    return None


def columns_of(study: Study, target: Callable[[str], Target], images: Images) -> list[Column]:
    """Columns of a study, with the models that they are crafted on and that they ask.

    Args:
        study: the study.
        target: opens a target of the study by name.
        images: where pictures are kept.

    Raises:
        UsageError: for a surrogate that gives no gradients, or a role that cannot be filled, naming the
            attack.
    """
    opened: dict[str, Surrogate] = {}  # many columns are crafted on the same model: it is loaded once

    def of(named: NamedAttack) -> Column:
        try:
            for name in (name for name in named.surrogates if name not in opened):
                opened[name] = open_surrogate(name, target)
        except UsageError as wrong:
            raise UsageError(f"surrogate of attack {named.label!r}: {wrong}") from None
        on = tuple(opened[name] for name in named.surrogates)
        return Column.of(named, study, on, open_talkers(named, target, images, study.decoding))

    return [of(named) for named in study.attacks]


def open_crafting(listener: Listener, folder: Path, case_tables: Sequence[Path]) -> Crafting:
    """The crafting of a run folder, opened in another process than the one that holds the folder.

    Raises:
        UsageError: if this process does not run what the folder's lock names.
    """
    locked, here = lock.read(folder)["versions"], lock.versions()
    if locked != here:
        names = sorted({*locked, *here})
        other = ", ".join(f"{name} {here.get(name)}" for name in names if locked.get(name) != here.get(name))
        raise UsageError(
            f"machine {platform.node()} of the cluster has {other}, other than the command that hands out "
            "the work: install the same versions on all machines"
        )
    blobs = Blobs(folder / "blobs")
    study = with_trained(lock.study_of(folder), blobs, Silent(), train=False)

    def opened(name: str) -> Target:
        return targets.open_target(
            name, blobs, retries=study.retries, timeout=study.timeout, folder=study.folder
        )

    columns = columns_of(study, opened, blobs)
    return Crafting(listener, case_tables, columns, folder / "records", blobs)


class CaseStore:
    """The case tables of a study, open by key."""

    def __init__(self, case_tables: Sequence[Path], columns: Sequence[Column]) -> None:
        self._case_tables = case_tables
        self._columns = columns
        self._open: dict[int, Table] = {}

    def cases(self, unit: WorkUnit) -> dict[str, Case]:
        """The cases of a shard, by the key of their artifact.

        Raises:
            UsageError: if a key differs from the one that it was asked by: code or weights are not the same.
        """
        if unit.case_table not in self._open:
            self._open[unit.case_table] = Table(self._case_tables[unit.case_table])
        rows = [row for row in self._open[unit.case_table].rows(unit.cases) if row is not None]
        found = dict(zip(self._columns[unit.column].keys(rows), map(case_of, rows), strict=True))
        if not found.keys() >= set(unit.keys):
            raise UsageError(
                "a worker has other code, fonts, cases or weights than the command that hands out the work: "
                "install the same version of Sightline on all machines, and share the models' folders"
            )
        return found

    def close(self) -> None:
        """Release the files."""
        for table in self._open.values():
            table.close()
        self._open.clear()


class Crafting:
    """Work on shards of the grid. Satisfies `scale.Work`."""

    def __init__(
        self,
        listener: Listener,
        case_tables: Sequence[Path],
        columns: Sequence[Column],
        records: Path,
        blobs: Blobs,
    ) -> None:
        self._listener = listener
        self._case_store = CaseStore(case_tables, columns)
        self._columns = columns
        self._records = records
        self._blobs = blobs
        self._writer = ShardWriter(records / STAGE)

    def __call__(self, unit: WorkUnit, *, again: bool) -> Tally:
        """Craft what a shard lacks.

        Artifacts are written as soon as the attack gives them; those of cases that it crafts apart all at
        once, so that a crash leaves no part of a batch.

        Raises:
            ContractError: if the attack breaks its threat model's promise.
            MethodError: for an exception of the attack's own code.
            UsageError: from an attack that makes one thing for all.
        """
        column = self._columns[unit.column]
        there = made_of(self._records / STAGE, unit.keys) if again else frozenset()
        if there:
            self._listener.advance(len(there))
        cases, wanted = self._case_store.cases(unit), set(unit.keys) - there
        folder = unfinished(self._records, unit.case_table, column)
        held: list[tuple[str, Artifact]] = []
        errors, unfit = 0, {}
        builder = ArtifactBuilder(column, self._blobs, folder, self._listener)
        for key, made in self._told(builder.make(cases, wanted)):
            if isinstance(made, UsageError):
                unfit[key] = str(made)
                continue
            held.append((key, made))
            errors += made.problem is not None
            if column.named.attack.card.scope != "batched":
                self._write(held)
        self._write(held)
        return Tally(rows=len(unit.keys) - len(unfit), errors=errors, unfit=unfit)

    def _told(self, made: Iterator[Made]) -> Iterator[Made]:
        """What is made; the traceback of an exception of the attack's own is kept in the run folder."""
        try:
            yield from made
        except MethodError as wrong:
            raise with_traceback(wrong, self._records.parent) from wrong.__cause__

    def _write(self, held: list[tuple[str, Artifact]]) -> None:
        """Write what is held, in one system call, and tell of it."""
        self._writer.append({"key": key, **plain_artifact(made)} for key, made in held)
        for _, made in held:
            self._listener.advance(1, errors=int(made.problem is not None))
        held.clear()

    def close(self) -> None:
        """Close the records and the case tables."""
        self._writer.close()
        self._case_store.close()


def is_error(row: Row) -> bool:
    """Whether a row of this stage says why there is no artifact."""
    return "problem" in row


def made_of(folder: Path, keys: Sequence[str]) -> frozenset[str]:
    """Those keys whose artifacts are on disk by now."""
    with Table(folder) as table:
        rows = zip(keys, table.rows(keys), strict=True)
        return frozenset(key for key, row in rows if row is not None and not is_error(row))


@dataclass(frozen=True, slots=True)
class ArtifactBuilder:
    """Where one column is crafted: its pictures' store, and the folder of searches that are under way.

    `picture` is what an attack on all cases perturbs; None lets it draw one, as in a study.
    """

    column: Column
    blobs: Blobs
    unfinished: Path
    listener: Listener
    picture: Pixels | None = None

    def make(self, cases: Mapping[str, Case], wanted: set[str]) -> Iterator[Made]:
        """Artifacts of the wanted keys, or why the attack cannot take a case that can be read."""
        scope = self.column.named.attack.card.scope
        if scope == "per_case":
            yield from ((key, self._alone(case, key)) for key, case in cases.items() if key in wanted)
            return
        if scope == "batched":
            cases = {key: case for key, case in cases.items() if key in wanted}
        problems = {key: case.problem or case.conversation.problem for key, case in cases.items()}
        for key, problem in problems.items():
            if problem is not None and key in wanted:
                yield key, failed(cases[key], key, problem)
        good = {key: cases[key] for key, problem in problems.items() if problem is None}
        if not wanted.isdisjoint(good):
            yield from self._company(good, wanted)

    def _alone(self, case: Case, key: str) -> Artifact:
        """One case, crafted with a seed of its own: the result depends on no other case."""
        if case.problem is not None:
            return failed(case, key, case.problem)
        try:
            ctx = self.world(self.column.seed_for(case_key(plain_case(case))))
            (drafted,) = self._drafts([case], ctx)
            return self.sealed(drafted, key)
        except UsageError as problem:
            return failed(case, key, str(problem))

    def _company(self, cases: Mapping[str, Case], wanted: set[str]) -> Iterator[Made]:
        """Many cases by one call.

        The seed is the column's: what is random for one case has to follow from the seed and the case alone.
        """
        column, universal = self.column, self.column.named.attack.card.scope == "universal"
        ctx = self.world(column.seed_for())
        seen = list(cases.values())
        made = self._drafts(seen, ctx) if universal else self._each(seen, ctx)
        for key, draft in zip(cases, made, strict=True):
            if key in wanted:
                yield key, draft if isinstance(draft, UsageError) else self.sealed(draft, key)

    def _each(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft | UsageError]:
        """What the attack makes of cases that do not depend on each other; one that it cannot take is no end.

        If a call fails, what it has not given is asked for case by case.
        """
        done = 0
        try:
            for draft in self._drafts(cases, ctx):
                yield draft
                done += 1
        except UsageError as wrong:
            if len(cases) == 1:
                yield wrong
                return
        for case in cases[done:]:
            try:
                (draft,) = self._drafts([case], ctx)
            except UsageError as wrong:
                yield wrong
            else:
                yield draft

    def _drafts(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """What the attack makes of cases: one draft for each, in order; see `drafts_of`."""
        return drafts_of(self.column.named.attack, cases, ctx)

    def sealed(self, draft: Draft, key: str) -> Artifact:
        """The artifact of a draft: its pictures written, read back and measured; see `seal`.

        Raises:
            ContractError: for a draft that breaks a promise of its attack, or its budget.
        """
        column = self.column
        card = column.named.attack.card
        if card.threat is None:
            raise ContractError(f"attack {card.name!r} declares no threat model")
        budget = replace(column.named.budget, tokens=None)  # no call begins once these are used up
        if not card.surrogate:  # what a call takes is known afterwards
            budget = replace(budget, flops=None)
        spent = budget.exceeded(replace(draft.cost, seconds=0.0))
        if spent is not None:
            raise ContractError(
                f"case {draft.case.id}: attack {card.name!r} spent more {spent} than its budget allows "
                f"({column.named.budget})"
            )
        threat = replace(card.threat, eps=registry.promised(column.named.attack))
        try:
            sealed = seal(draft, self.blobs, key=key, threat=threat)
        except ContractError as broken:
            raise ContractError(f"attack {card.name!r}, {broken}") from None
        return replace(sealed, crafted_on=column.crafted_on)

    def world(self, seed: int) -> Craft:
        """What the attack sees."""
        return Craft(
            images=self.blobs,
            seed=seed,
            surrogates=self.column.surrogates,
            budget=self.column.named.budget,
            checkpoint=self.checkpoint,
            report=self.report,
            picture=self.picture,
        )

    def report(self, progress: SearchProgress) -> None:
        """Show how far a search is, and what it says."""
        label = self.column.named.label
        if progress.message:
            self.listener.note(f"{label}: {progress.message}")
        else:
            self.listener.within(
                f"{label}: step {progress.step:,} of {progress.steps:,}, loss {progress.loss:.3f}"
            )

    def checkpoint(self, name: str) -> Path:
        """The file of a search."""
        self.unfinished.mkdir(parents=True, exist_ok=True)
        return self.unfinished / digest(name)[:32]


def unfinished(records: Path, case_table: int, column: Column) -> Path:
    """The folder of the searches of a column that are under way."""
    name = digest(case_table, column.identity, column.seed, column.crafted_on, str(column.named.budget))[:16]
    return records / f"{STAGE}.unfinished" / name


def failed(case: Case, key: str, problem: str) -> Artifact:
    """What stands for an artifact that could not be made."""
    return Artifact(key=key, case_id=case.id, conversation=case.conversation, problem=problem)
