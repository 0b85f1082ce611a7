"""What raters said of each item: one ballot per item, gathered from the raters' files.

The outcome of an answer is that of the first question that names one. Answers of another round, or under
another guideline, are answers to another question: they are counted apart and are in no ballot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sightline.annotation.events import Event, events_path, read_events, read_events_after
from sightline.annotation.exposure import assigned
from sightline.annotation.plan import PLAN, Place, Plan, Planned, read_plan
from sightline.annotation.questions import Question, outcome_of, read_questions
from sightline.digests import file_stamp
from sightline.errors import UsageError
from sightline.records import Outcome

GUIDELINE_SHOWN = 8
"""Characters of a guideline's digest in an event."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One item.

    Attributes:
        item: its id.
        votes: outcome by rater, of first showings; `unparsed` is "cannot decide".
        skipped: reason by rater; escalated: raters who want it looked at by someone else.
        notes: the raters' own words, in no order that tells whose they are.
        waiting: raters who are asked and have not said anything yet; who opted out of it is not asked.
    """

    item: str
    votes: Mapping[str, Outcome] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    escalated: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    @property
    def dispute(self) -> str:
        """Why a third person has to look at it, once nobody is waited for; '' if the raters agree."""
        if self.escalated:
            return "escalated"
        said = set(self.votes.values())
        if not said:
            return "unanswered"
        if len(said) > 1:
            return "differ"
        return "undecided" if Outcome.unparsed in said else ""


@dataclass(frozen=True, slots=True)
class Said:
    """What one rater said.

    Attributes:
        last: the last answer, skip or escalation by (item, second showing); undone ones are gone.
        optout: hazard codes that the rater is not asked about.
        elsewhere: answers of another round or guideline.
        raw: answers by item about what stood there before a guard changed the reply.
    """

    last: Mapping[tuple[str, bool], Event]
    optout: frozenset[str]
    elsewhere: int
    raw: Mapping[str, Event] = field(default_factory=dict)


class Annotation(NamedTuple):
    """An annotation folder as it stands: its plan, its questions, and what each rater said."""

    folder: Path
    plan: Plan
    questions: Mapping[str, Question]
    said: Mapping[str, Said]


def read_annotation(folder: Path) -> Annotation:
    """All files of an annotation folder.

    Raises:
        UsageError: if there is no plan, or an answer is about an item that the plan does not have.
        DamageError: if a file is damaged, naming the line.
    """
    plan, questions = read_plan(folder), read_questions(folder)
    said = {}
    for rater in plan.raters:
        following = _Following(events_path(folder, rater), plan)
        following.take(read_events(following.path))
        said[rater] = following.said()
    return Annotation(folder, plan, questions, said)


class AnnotationFiles:
    """The same folder, read again and again: of files that have grown only the new lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp: tuple[int, ...] = ()
        self._plan: Plan | None = None
        self._questions: Mapping[str, Question] = {}
        self._raters: dict[str, _Following] = {}

    def know(
        self, plan: Plan, questions: Mapping[str, Question], logs: Mapping[str, tuple[Iterable[Event], int]]
    ) -> None:
        """Take what a server that starts has read already: the plan, and raters' events up to an offset."""
        self._plan, self._questions = plan, questions
        self._stamp = file_stamp(self._folder / PLAN)
        for rater, (events, end) in logs.items():
            following = self._raters[rater] = _Following(events_path(self._folder, rater), plan)
            following.take(events)
            following.end = end

    def read(self) -> Annotation:
        """The folder as it stands.

        Raises:
            UsageError: as `read_annotation`.
            DamageError: as there.
        """
        stamp = file_stamp(self._folder / PLAN) if (self._folder / PLAN).is_file() else ()
        if self._plan is None or stamp != self._stamp:
            self._plan, self._questions = read_plan(self._folder), read_questions(self._folder)
            self._stamp, self._raters = stamp, {}
        plan, said = self._plan, {}
        for rater in plan.raters:
            following = self._raters.get(rater)
            path = events_path(self._folder, rater)
            if following is None or not path.is_file() or path.stat().st_size < following.end:
                following = self._raters[rater] = _Following(path, plan)
            following.grow()
            said[rater] = following.said()
        return Annotation(self._folder, plan, self._questions, said)


class _Following:
    """What one rater said in the present round under the present guideline, as far as it has been read."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self._plan, self.end = path, plan, 0
        self._last: dict[tuple[str, bool], Event] = {}
        self._optout: frozenset[str] = frozenset()
        self._elsewhere = 0
        self._raw: dict[str, Event] = {}

    def said(self) -> Said:
        """So far."""
        return Said(self._last, self._optout, self._elsewhere, self._raw)

    def grow(self) -> None:
        """Read the lines that were added."""
        if self.path.is_file() and self.path.stat().st_size > self.end:
            events, self.end = read_events_after(self.path, self.end)
            self.take(events)

    def take(self, events: Iterable[Event]) -> None:
        """Apply events in order."""
        header, items = self._plan.header, self._plan.items
        guideline = header.guideline[:GUIDELINE_SHOWN]
        for event in events:
            kind = event.event
            if kind == "optout":
                self._optout = frozenset(code for code in event.reason.split(",") if code)
            elif kind in ("answer", "skip", "escalate"):
                if event.item not in items:
                    raise UsageError(
                        f"{self.path}: line {event.seq or '?'} is about item {event.item!r}, which the plan "
                        "does not have: the answers are of another plan; restore its plan.jsonl, or move "
                        "them away"
                    )
                if event.round != header.round or event.guideline not in ("", guideline):
                    self._elsewhere += 1
                else:
                    self._last[event.item, event.repeat] = event
            elif kind == "raw" and event.round == header.round and event.guideline in ("", guideline):
                self._raw[event.item] = event
            elif kind == "undo" and event.round == header.round:
                self._last.pop((event.item, event.repeat), None)


class OutcomeReader:
    """The outcome of an answer; equal answers are read once."""

    def __init__(self, questions: Mapping[str, Question]) -> None:
        self._questions = questions
        self._known: dict[tuple[tuple[str, str], ...], Outcome | None] = {}

    def __call__(self, answers: Mapping[str, str]) -> Outcome | None:
        """None if no answer names an outcome.

        Raises:
            UsageError: for an answer that is no choice of its question.
        """
        key = tuple(answers.items())
        if key not in self._known:
            self._known[key] = outcome_of(answers, self._questions)
        return self._known[key]


def ballots(found: Annotation, *, gold: bool = False) -> dict[str, Ballot]:
    """The ballots of all drawn items by id, in the order of the plan; with `gold` those of known truth, too.

    Raises:
        UsageError: for an answer that is no choice of its question.
    """
    read = OutcomeReader(found.questions)
    asked = _moved(found)
    return {
        planned.item: _ballot(found, planned, read, asked)
        for planned in found.plan.items.values()
        if gold or planned.kind == "sample"
    }


def ballot_of(found: Annotation, item: str) -> Ballot:
    """The ballot of one item of the plan.

    Raises:
        UsageError: as `ballots`.
    """
    return _ballot(found, found.plan.items[item], OutcomeReader(found.questions), _moved(found))


def _moved(found: Annotation) -> Mapping[str, frozenset[str]] | None:
    """Items that each rater is asked about after opt-outs; None if nobody opted out of anything."""
    out = {rater: said.optout for rater, said in found.said.items()}
    if not any(out.values()):
        return None
    done = {rater: frozenset(Place(*key) for key in said.last) for rater, said in found.said.items()}
    lists, _ = assigned(found.plan, out, done)
    return {rater: frozenset(place.item for place in places) for rater, places in lists.items()}


def _ballot(
    found: Annotation, planned: Planned, read: OutcomeReader, asked: Mapping[str, frozenset[str]] | None
) -> Ballot:
    item = planned.item
    votes: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    escalated, notes, waiting = [], [], []
    for rater, said in found.said.items():
        event = said.last.get((item, False))
        if event is None:
            if rater in planned.order if asked is None else item in asked[rater]:
                waiting.append(rater)
            continue
        if event.note:
            notes.append(event.note)
        if event.event == "skip":
            skipped[rater] = event.reason
        elif event.event == "escalate":
            escalated.append(rater)
        elif (outcome := read(event.questions)) is not None:
            votes[rater] = outcome
    return Ballot(item, votes, skipped, tuple(escalated), tuple(sorted(notes)), tuple(waiting))
