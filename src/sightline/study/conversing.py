"""Crafting that talks: attacks that ask models, many cases at once, every call kept for a resumed run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sightline.budget import STOPPED, SpentError
from sightline.cases import Case
from sightline.contracts import Attack, Craft, converses
from sightline.errors import ContractError, MethodError, SightlineError, TransientError, UsageError
from sightline.keys import case_key
from sightline.plain import case_of, plain_artifact, plain_case
from sightline.records import Artifact, Draft
from sightline.shards import Row
from sightline.study.artifact_builder import ArtifactBuilder, failed, is_error
from sightline.study.call_log import CallLog
from sightline.study.called import method_error, with_traceback
from sightline.study.context import RunContext
from sightline.study.grid import Column, chunks
from sightline.study.roles import calls_of
from sightline.study.secret import keyed
from sightline.study.stages import Stage, Todo, choose
from sightline.study.talk import CaseTalk
from sightline.study.talkers import Talkers
from sightline.tables import Table

LOG = "craft.calls"


@dataclass(frozen=True, slots=True)
class ToConverse:
    """An artifact to make: its key, its case, and the column that makes it."""

    key: str
    case: Row
    maker: Conversing


@dataclass(frozen=True, slots=True)
class Conversing:
    """Where one column's attack converses: its models and the log of their replies."""

    column: Column
    builder: ArtifactBuilder
    log: CallLog
    retries: int

    @property
    def talkers(self) -> Talkers:
        """Whom the attack may ask."""
        if self.column.talkers is None:
            raise ContractError(f"attack {self.column.named.label!r} has nobody to ask")
        return self.column.talkers

    async def artifact(self, case: Case, key: str) -> Artifact:
        """The artifact of a case; a helper that fails or cannot be read leaves one with `problem`.

        Raises:
            UsageError: what the user has to mend before any artifact can succeed, such as a rejected key.
            ContractError: if the attack breaks its promise.
            MethodError: for an exception of the attack's own code.
        """
        if case.problem is not None or case.conversation.problem is not None:
            return failed(case, key, case.problem or case.conversation.problem or "")
        column, attack = self.column, self.column.named.attack
        seed = column.seed_for(case_key(plain_case(case)))
        talk = CaseTalk(
            key=key,
            attack=attack.card.name,
            talkers=self.talkers,
            allowed=calls_of(attack),
            budget=column.named.budget,
            log=self.log,
            images=self.builder.blobs,
            retries=self.retries,
            seed=seed,
        )
        made = await self._made(case, key, replace(self.builder.world(seed), talk=talk), talk)
        cost = made.cost if made.problem is None else talk.spent
        note = "; ".join(filter(None, (made.note, talk.note)))
        return replace(made, calls=tuple(talk.calls), cost=cost, note=note)

    async def _made(self, case: Case, key: str, ctx: Craft, talk: CaseTalk) -> Artifact:
        attack = self.column.named.attack
        try:
            draft = await _conversed(attack, case, ctx)
        except SpentError as spent:
            if talk.kept is None:
                return failed(case, key, f"{spent}, before there was a first draft")
            draft = replace(talk.kept, note=f"{STOPPED}: {spent}; {talk.kept.note}".rstrip("; "))
        except TransientError as down:
            return replace(failed(case, key, str(down)), passing=True)
        except UsageError as unfit:
            if talk.broken is not None:
                raise
            return failed(case, key, str(unfit))
        except SightlineError:
            raise
        except Exception as wrong:
            raise method_error(attack, case.id, wrong) from wrong
        if talk.broken is not None:
            raise talk.broken  # whatever the attack made of it
        if not isinstance(draft, Draft) or draft.case.id != case.id:
            raise ContractError(f"attack {attack.card.name!r}: converse gave no draft of case {case.id}")
        try:
            return self.builder.sealed(replace(draft, cost=draft.cost + talk.spent), key)
        except UsageError as unfit:
            return failed(case, key, str(unfit))


async def _conversed(attack: Attack, case: Case, ctx: Craft) -> Draft:
    """The draft of a case; of branches that failed side by side, the failure that tells most."""
    if not converses(attack):
        raise ContractError(f"attack {attack.card.name!r} does not converse")
    try:
        return await attack.converse(case, ctx)
    except ExceptionGroup as several:
        raise min(_leaves(several), key=_gravity) from several


def _leaves(several: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for each in several.exceptions:
        if isinstance(each, ExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


def _gravity(failure: Exception) -> int:
    """What must not be missed comes first; the end of a budget comes last."""
    kinds = (SpentError, UsageError, TransientError, SightlineError)  # from the mildest
    return -next((place for place, kind in enumerate(kinds) if isinstance(failure, kind)), len(kinds))


async def converse_all(run: RunContext, stage: Stage[ToConverse], table: Table) -> None:
    """Make every artifact of attacks that converse which is not there yet.

    Raises:
        UsageError, ContractError, MethodError: as `Conversing.artifact`; finished rows are kept.
    """
    with CallLog(run.records / LOG) as log:

        async def work(todo: ToConverse) -> Row:
            try:
                row = plain_artifact(await todo.maker.artifact(case_of(todo.case), todo.key))
            except MethodError as wrong:
                raise with_traceback(wrong, run.records.parent) from wrong.__cause__
            log.needed = log.needed or is_error(row)
            return row

        await stage.run(_pending(run, stage, table, log), work, run.study.concurrency)


def _pending(
    run: RunContext, stage: Stage[ToConverse], table: Table, log: CallLog
) -> Iterator[Todo[ToConverse]]:
    for case_table, column in run.cells():
        if column.talkers is None:
            continue
        maker = _maker(run, column, log)
        for rows in map(column.select, chunks(case_table.rows())):
            keys = column.keys(rows)
            if log.found and not run.retry_errors:  # those are not tried again now, but may be
                log.needed = log.needed or any(row is not None and is_error(row) for row in table.rows(keys))
            values = [ToConverse(key, row, maker) for key, row in zip(keys, rows, strict=True)]
            yield from stage.missing(table, keys, choose(values))


def _maker(run: RunContext, column: Column, log: CallLog) -> Conversing:
    talkers = column.talkers
    if talkers is not None and talkers.judge is not None:
        (judge,) = keyed([talkers.judge], run.records.parent)
        column = replace(column, talkers=replace(talkers, judge=judge))
    builder = ArtifactBuilder(column, run.blobs, run.records / "craft.unfinished", run.progress)
    return Conversing(column, builder, log, run.study.retries)
