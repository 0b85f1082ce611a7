"""The stages of a verification: re-encoded pictures, answers to them, verdicts; what the run has is reused.

Rows lie beside the run's own, in `records/verify-craft`, `verify-answer` and `verify-judge`. An answer's key
holds what was shown, with the hash of every picture, so that another version of an encoder asks anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from sightline import registry
from sightline.cases import Conversation, Image, Turn
from sightline.contracts import Decoding, Judge, Target
from sightline.digests import digest
from sightline.errors import ContractError, UsageError
from sightline.keys import answer_key
from sightline.plain import (
    conversation_of,
    pictures_in,
    plain_conversation,
    plain_turn,
    shown_digest,
    turn_of,
)
from sightline.records import Outcome
from sightline.shards import Row
from sightline.store import Blobs
from sightline.study.answering import Asked, respond
from sightline.study.call_log import CallLog
from sightline.study.grid import chunks
from sightline.study.judging import Sample, verdict_key, verdict_on
from sightline.study.progress import Progress
from sightline.study.seal import norms_of
from sightline.study.stages import Count, Stage, Todo, choose
from sightline.study.verify.claims import Claim
from sightline.study.verify.reencoding import AS_WRITTEN, Reencoding
from sightline.tables import Table

CRAFT, ANSWER, JUDGE = "verify-craft", "verify-answer", "verify-judge"
Moved = dict[str, float]
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Subject:
    """A target that is asked, with the names that tables show; `given` ones are not the run's own."""

    name: str
    defense: str
    target: Target
    given: bool = False

    def is_asked(self, claim: Claim) -> bool:
        """Whether it is asked an artifact: one of the run's, only what the run showed it."""
        return self.given or (self.name, self.defense) in claim.shown_to


@dataclass(frozen=True, slots=True)
class Ask:
    """An artifact in one of its forms. `shown` (key, conversation) is None if it cannot be shown.

    Then `problem` says why; its `key` may still find what the run answered before.
    """

    claim: Claim
    form: str
    key: str
    shown: Row | None = None
    problem: str = ""
    moved: Moved = field(default_factory=dict)


class Answered(NamedTuple):
    """What came back to an ask: None where nothing could be shown; `ours` tells that it was asked now."""

    response: Row | None
    ours: bool


@dataclass(slots=True)
class Tables:
    """The records of the run and of its verification, open for reading."""

    records: Path
    names: tuple[str, ...]
    _open: dict[str, Table] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Tables:
        self._open = {name: self._stack.enter_context(Table(self.records / name)) for name in self.names}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Table:
        return self._open[name]

    def either(self, stage: str, keys: Sequence[str]) -> list[Answered]:
        """The rows of a stage: the run's own, else those of the verification."""
        before, now = self[stage].rows(keys), self[f"verify-{stage}"].rows(keys)
        return [Answered(a or b, a is None) for a, b in zip(before, now, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasking:
    """What is asked of whom: artifacts, their forms, targets, judges, and how.

    `problems` are artifacts that cannot be shown, by key, with the reason.
    """

    records: Path
    blobs: Blobs
    claims: Sequence[Claim]
    problems: dict[str, str]
    forms: Sequence[Reencoding]
    subjects: Sequence[Subject]
    judges: Sequence[Judge]
    decoding: Decoding
    epochs: int
    concurrency: int
    retries: int
    retry_errors: bool
    progress: Progress

    @property
    def asked(self) -> int:
        """Answers that the table is made from."""
        claims = sum(len(self.claims_of(subject)) for subject in self.subjects)
        return claims * (1 + len(self.forms)) * self.epochs

    def claims_of(self, subject: Subject) -> list[Claim]:
        """The artifacts that a target is asked."""
        return [claim for claim in self.claims if subject.is_asked(claim)]

    def tables(self, *names: str) -> Tables:
        """Records, open for reading."""
        return Tables(self.records, names)

    def _compact(self, stage: str) -> None:
        with Table(self.records / stage) as table:
            table.compact()

    def reencode(self) -> Count:
        """Write every picture in every form. What has failed or was damaged since is made again."""
        files = _Files(self.blobs)
        stage: Stage[tuple[Row, Reencoding]] = Stage(
            self.records / CRAFT, self.progress, is_error=files.unfit, retry_errors=True
        )
        sound = [claim for claim in self.claims if claim.key not in self.problems]
        self.progress.start("verify pictures", len(sound) * len(self.forms), 0)
        with self.tables("craft", CRAFT) as tables:

            def pending() -> Iterator[Todo[tuple[Row, Reencoding]]]:
                for form in self.forms:
                    for batch in chunks(iter(sound)):
                        artifacts = _all_there(tables["craft"].rows([claim.key for claim in batch]))
                        keys = [_form_key(claim, form.name) for claim in batch]
                        values = [(artifact, form) for artifact in artifacts]
                        yield from stage.missing(tables[CRAFT], keys, choose(values))

            stage.run_in_order(pending(), lambda todo: files.reencoded(*todo.value))
        stage.close()
        self._compact(CRAFT)
        return stage.count

    def asks(self, tables: Tables, subject: Subject) -> Iterator[list[Ask]]:
        """Its artifacts in every form, as written first, in batches; needs `craft` and `verify-craft`."""
        claims = self.claims_of(subject)
        for form in (AS_WRITTEN, *(form.name for form in self.forms)):
            for batch in chunks(iter(claims)):
                if form == AS_WRITTEN:
                    rows = tables["craft"].rows([claim.key for claim in batch])
                else:
                    rows = tables[CRAFT].rows([_form_key(claim, form) for claim in batch])
                yield [self._ask(claim, form, row) for claim, row in zip(batch, rows, strict=True)]

    def _ask(self, claim: Claim, form: str, row: Row | None) -> Ask:
        problem = self.problems.get(claim.key) or (row or {}).get("problem", "")
        if form == AS_WRITTEN:
            return Ask(claim, form, claim.key, None if problem else row, problem)
        if problem or row is None:
            return Ask(claim, form, "", None, problem or "the re-encoded picture is missing")
        shown: Row = {name: row[name] for name in ("shown", "conversation", "follow_ups") if name in row}
        key = digest("verified", row["key"], row["conversation"], *row.get("follow_ups", ()))
        shown["key"] = key
        return Ask(claim, form, key, shown, moved=row.get("moved", {}))

    def answer_keys(self, asks: Sequence[Ask], subject: Subject, epoch: int) -> list[str]:
        """Keys of the answers; one that cannot exist is the key of nothing."""
        return [answer_key(ask.key, subject.target.id, self.decoding, epoch) for ask in asks]

    async def answer(self) -> Count:
        """Ask every target every form that neither the run nor an earlier verification has asked."""
        stage: Stage[Asked] = Stage(
            self.records / ANSWER,
            self.progress,
            is_error=lambda row: row["stop"] == "error",
            retry_errors=self.retry_errors,
        )
        self.progress.start("verify answers", self.asked, 0)
        with (
            self.tables("craft", CRAFT, "answer", ANSWER) as tables,
            CallLog(self.records / "verify-calls") as log,
        ):
            for subject in self.subjects:

                async def ask(asked: Asked, subject: Subject = subject) -> Row:
                    return await respond(subject.target, asked, self.decoding, self.retries, log)

                await stage.run(self._unanswered(stage, tables, subject), ask, self.concurrency)
        stage.close()
        self._compact(ANSWER)
        return stage.count

    def _unanswered(self, stage: Stage[Asked], tables: Tables, subject: Subject) -> Iterator[Todo[Asked]]:
        for asks in self.asks(tables, subject):
            for epoch in range(self.epochs):
                keys = self.answer_keys(asks, subject, epoch)
                rest = _new(stage, tables["answer"], keys, [ask.shown is not None for ask in asks])
                values = [Asked(shown, epoch) for i in rest if (shown := asks[i].shown) is not None]
                yield from stage.missing(tables[ANSWER], [keys[i] for i in rest], choose(values))

    async def judge(self) -> Count:
        """Judge every answer that has no verdict of these very judges yet."""
        stage: Stage[Sample] = Stage(
            self.records / JUDGE,
            self.progress,
            is_error=lambda row: row["outcome"] == Outcome.error.value,
            retry_errors=self.retry_errors,
        )
        self.progress.start("verify verdicts", self.asked * len(self.judges), 0)
        with self.tables("craft", CRAFT, "answer", ANSWER, "judge", JUDGE) as tables:
            for judge in self.judges:

                async def ask(sample: Sample, judge: Judge = judge) -> Row:
                    return await verdict_on(judge, sample)

                await stage.run(self._unjudged(stage, tables, judge), ask, self.concurrency)
        stage.close()
        self._compact(JUDGE)
        return stage.count

    def _unjudged(self, stage: Stage[Sample], tables: Tables, judge: Judge) -> Iterator[Todo[Sample]]:
        identity = registry.identity(judge)
        for subject in self.subjects:
            for asks in self.asks(tables, subject):
                for epoch in range(self.epochs):
                    found = tables.either("answer", self.answer_keys(asks, subject, epoch))
                    pairs = [
                        (ask, answered.response)
                        for ask, answered in zip(asks, found, strict=True)
                        if answered.response is not None
                    ]
                    samples = [Sample(ask.claim.case, ask.shown or {}, response) for ask, response in pairs]
                    keys = [verdict_key(sample, judge.id, identity) for sample in samples]
                    self.progress.advance(len(asks) - len(pairs), errors=len(asks) - len(pairs))
                    rest = _new(stage, tables["judge"], keys, [bool(sample.artifact) for sample in samples])
                    values = [samples[i] for i in rest]
                    yield from stage.missing(tables[JUDGE], [keys[i] for i in rest], choose(values))


def _form_key(claim: Claim, form: str) -> str:
    return digest("verify", claim.key, form)


def _all_there(rows: Sequence[Row | None]) -> list[Row]:
    if None in rows:
        raise ContractError("an artifact that was there a moment ago is missing")
    return [row for row in rows if row is not None]


def _new(stage: Stage[V], run: Table, keys: Sequence[str], can: Sequence[bool]) -> list[int]:
    """Positions of the keys that the run has no row of and that can be worked on; all are counted."""
    before = run.find(keys) >= 0
    reused = int(np.count_nonzero(before))
    rest = [i for i, known in enumerate(before.tolist()) if can[i] and not known]
    lost = len(keys) - reused - len(rest)
    stage.count.expected += reused
    stage.count.present += reused
    stage.progress.advance(reused + lost, errors=lost)
    return rest


class _Files:
    """Re-encoded pictures as blobs, each made once however many artifacts show it."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._made: dict[tuple[Image, str], tuple[Image, Moved]] = {}

    def unfit(self, row: Row) -> bool:
        """Whether a row has failed, or one of its pictures is lost or damaged: then it is made again."""
        return "problem" in row or not all(map(self._blobs.whole, pictures_in(row)))

    def reencoded(self, artifact: Row, form: Reencoding) -> Row:
        """The row of an artifact with every picture of its turns in another form.

        `moved` are the norms of the last one's change, which is that of the last user turn.
        """
        row: Row = {"artifact": artifact["key"], "form": form.name}
        moved: Moved = {}

        def other(image: Image) -> Image:
            nonlocal moved
            if (image, form.name) not in self._made:
                self._made[image, form.name] = self._make(image, form)
            made, moved = self._made[image, form.name]
            return made

        def turned(turn: Turn) -> Turn:
            return Turn(turn.role, tuple(p if isinstance(p, str) else other(p) for p in turn.parts))

        try:
            conversation = Conversation(tuple(map(turned, conversation_of(artifact["conversation"]).turns)))
            follow_ups = [plain_turn(turned(turn_of(turn))) for turn in artifact.get("follow_ups", ())]
        except UsageError as problem:
            return {**row, "problem": str(problem)}
        plain = plain_conversation(conversation)
        after = {"follow_ups": follow_ups} if follow_ups else {}
        shown = shown_digest(plain, follow_ups)
        return {**row, "shown": shown, "conversation": plain, **after, "moved": moved}

    def _make(self, image: Image, form: Reencoding) -> tuple[Image, Moved]:
        before = self._blobs.pixels(image)
        made = self._blobs.put(form.file(before))
        return made, norms_of(before, self._blobs.pixels(made))
