"""Answers from other tools: checked one by one, refused with file, row and cure, then added to raters' files.

All or nothing: one bad row, and no file is changed. To import the same file twice adds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sightline.annotation.adjudication import LONGEST_NOTE, append_events, numbered
from sightline.annotation.ballots import GUIDELINE_SHOWN
from sightline.annotation.events import SKIPS, Event, events_path, read_events
from sightline.annotation.plan import Plan, read_plan
from sightline.annotation.questions import Question, read_questions
from sightline.digests import digest
from sightline.errors import UsageError, nearest

MOST_TOLD = 10
"""Bad rows that are told in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as a foreign file has it; `where` names file and row. `at` is UTC, '' if unknown."""

    where: str
    item: str
    rater: str
    question: str
    value: str
    kind: Literal["answer", "skip", "escalate"] = "answer"
    confidence: int = 0
    note: str = ""
    at: str = ""
    seconds: float = 0.0
    guideline: str = ""


@dataclass(slots=True)
class _Gathered:
    """Answers of one rater to one item."""

    where: str
    event: Event
    questions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Imported:
    """How many events were added, by rater; `known` were there already."""

    added: Mapping[str, int]
    known: int


def instant(text: str, where: str) -> str:
    """A time in ISO 8601 as UTC to the second; without a zone it is taken for UTC. '' stays.

    Raises:
        UsageError: for anything else.
    """
    if not text.strip():
        return ""
    try:
        found = datetime.fromisoformat(text.strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{where}: {text[:40]!r} is no time; write 2026-11-27T05:14:02Z or leave it empty"
        ) from None
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")


def take_in(
    folder: Path,
    answers: Iterable[Answer],
    *,
    names: Mapping[str, str] | None = None,
    round_: int | None = None,
    newest: bool = False,
) -> Imported:
    """Add answers to the files of their raters.

    Args:
        folder: of the annotation.
        answers: from a reader of a format.
        names: raters of the plan by their name or number in the foreign file.
        round_: the round to which answers belong; needed for those under another guideline.
        newest: whether the latest of several answers of a rater to an item counts; else they are refused.

    Raises:
        UsageError: naming each row that cannot be used; nothing is changed then.
    """
    plan, questions = read_plan(folder), read_questions(folder)
    checked = _Check(plan, questions, names or {}, round_, newest)
    for answer in answers:
        checked.add(answer)
    return _write(folder, checked.events(), checked.problems, newest)


class _Check:
    """Gathers the events of a file, and what is wrong with its rows."""

    def __init__(
        self,
        plan: Plan,
        questions: Mapping[str, Question],
        names: Mapping[str, str],
        round_: int | None,
        newest: bool,
    ) -> None:
        self._plan, self._questions, self._names = plan, questions, names
        self._round, self._newest = round_, newest
        self._found: dict[tuple[str, str], _Gathered] = {}
        self.problems: list[str] = []

    def add(self, answer: Answer) -> None:
        """Take one answer in, or note what is wrong with it."""
        try:
            self._add(answer)
        except UsageError as wrong:
            said = str(wrong)
            self.problems.append(said if said.startswith(answer.where) else f"{answer.where}: {said}")

    def _add(self, answer: Answer) -> None:
        if answer.item not in self._plan.items:
            raise UsageError(
                f"item {answer.item[:60]!r} is not in the plan: the file is of another run or plan"
            )
        event = replace(self._event(answer), rater=self._rater(answer.rater))
        if answer.kind == "skip" and answer.value not in SKIPS:
            raise UsageError(nearest(answer.value, SKIPS, "reason of a skip"))
        if answer.kind == "answer":
            if answer.question not in self._questions:
                raise UsageError(nearest(answer.question, self._questions, "question"))
            self._questions[answer.question].choice(answer.value)
        key = event.rater, answer.item
        held = self._found.get(key)
        if held is None:
            self._found[key] = held = _Gathered(answer.where, event)
        elif held.event.event != event.event or answer.question in held.questions or event.event != "answer":
            if not self._newest:
                raise UsageError(
                    f"{event.rater} answers item {answer.item} twice (also: {held.where}); delete one, or "
                    "let the newest one count (--newest)"
                )
            if answer.at < held.event.at:
                return
            kept = held.questions if event.event == held.event.event == "answer" else {}
            self._found[key] = held = _Gathered(answer.where, event, kept)
        if answer.kind == "answer":
            held.questions[answer.question] = answer.value

    def _rater(self, said: str) -> str:
        name = self._names.get(said, said)
        if name not in self._plan.raters:
            known = ", ".join(self._plan.raters)
            raise UsageError(
                f"rater {said[:60]!r} is none of {known}; say who it is: --rater {said[:60]}=NAME"
            )
        return name

    def _event(self, answer: Answer) -> Event:
        header = self._plan.header
        present = header.guideline[:GUIDELINE_SHOWN]
        guideline = answer.guideline[:GUIDELINE_SHOWN] or present
        if not answer.guideline and header.round > 1 and self._round is None:
            raise UsageError(
                f"it does not say under which guideline it was answered, and this is round {header.round}: "
                "add the column or field guideline, or name the round of the answers (--round)"
            )
        if guideline != present and self._round is None:
            raise UsageError(
                f"answered under the guideline {guideline}, the present one is {present}: answers under both "
                f"do not mix; name the round to which they belong (--round, now {header.round})"
            )
        if guideline != present and self._round == header.round:
            raise UsageError(
                f"round {header.round} has the guideline {present}, these answers {guideline}: name "
                "another round"
            )
        return Event(
            event=answer.kind,
            rater="",
            item=answer.item,
            round=header.round if self._round is None else self._round,
            confidence=answer.confidence,
            reason=answer.value if answer.kind == "skip" else "",
            note=answer.note[:LONGEST_NOTE],
            shown_ms=round(1000 * answer.seconds),
            guideline=guideline,
            at=answer.at,
        )

    def events(self) -> list[tuple[str, Event]]:
        """All events with the row of each.

        Raises:
            UsageError: if a row cannot be used.
        """
        refuse(self.problems)
        found = []
        for each in self._found.values():
            event = replace(each.event, questions=each.questions)
            same = (event.item, event.rater, event.round, event.event, event.questions, event.reason)
            key = digest(*same, event.confidence, event.note, event.at, event.guideline)
            found.append((each.where, replace(event, request=f"import-{key}")))
        return found


def refuse(problems: Sequence[str]) -> None:
    """Tell what is wrong, the first rows in full.

    Raises:
        UsageError: if anything is.
    """
    if problems:
        more = f"\n... and {len(problems) - MOST_TOLD:,} more" if len(problems) > MOST_TOLD else ""
        raise UsageError("\n".join(problems[:MOST_TOLD]) + more + "\nnothing was imported")


def _write(folder: Path, found: Sequence[tuple[str, Event]], problems: list[str], newest: bool) -> Imported:
    from sightline.annotation.log import EventLog

    known = 0
    fresh: dict[str, list[Event]] = {}
    last: dict[str, int] = {}
    with ExitStack() as stack:
        for rater in dict.fromkeys(event.rater for _, event in found):
            log = EventLog(folder, rater)  # no server may write meanwhile
            stack.callback(log.close)
            past = list(read_events(events_path(folder, rater)))
            last[rater] = max((event.seq for event in past), default=0)
            requests = {event.request for event in past}
            said = _standing(past)
            for where, event in found:
                if event.rater != rater:
                    continue
                if event.request in requests:
                    known += 1
                    continue
                old = said.get((event.round, event.item))
                if old is not None and not newest:
                    problems.append(
                        f"{where}: {rater} has answered item {event.item} already (line {old.seq} of "
                        f"{rater}.jsonl); delete the row, or let the newest one count (--newest)"
                    )
                elif old is not None and event.at and event.at < old.at:
                    known += 1  # what stands is newer
                else:
                    fresh.setdefault(rater, []).append(event)
        refuse(problems)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for rater, events in fresh.items():
            stamped = [event if event.at else replace(event, at=now) for event in events]
            append_events(events_path(folder, rater), numbered(stamped, last[rater]))
    return Imported(Counter({rater: len(events) for rater, events in fresh.items()}), known)


def _standing(past: Sequence[Event]) -> dict[tuple[int, str], Event]:
    """What a rater has said so far of first showings, by round and item."""
    found: dict[tuple[int, str], Event] = {}
    for event in past:
        if event.repeat:
            continue
        if event.event in ("answer", "skip", "escalate"):
            found[event.round, event.item] = event
        elif event.event == "undo":
            found.pop((event.round, event.item), None)
    return found
