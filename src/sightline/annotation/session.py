"""One rater at work: what comes next, what they said of it, when they rest; all of it from their events."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from typing import Any, Literal

from sightline.annotation.events import SKIPS, Event
from sightline.annotation.exposure import Limits, Pause, Run, Worked, arranged, opted_out
from sightline.annotation.log import Clock, EventLog, now
from sightline.annotation.plan import Place, Plan
from sightline.annotation.questions import Question
from sightline.annotation.refusals import RefusedError
from sightline.errors import UsageError

UNDO = 10
"""Of so many last items an answer can be taken back."""
LEASE_S = 45
"""A tab that has not spoken for so long no longer keeps others from writing; it speaks every 30 s."""
DONE = ("answer", "skip", "escalate")


class RaterSession:
    """A rater's work, rebuilt from the log when the server starts; `places` come from `exposure.assigned`."""

    def __init__(
        self,
        plan: Plan,
        questions: Mapping[str, Question],
        log: EventLog,
        *,
        limits: Limits,
        clock: Clock = now,
    ) -> None:
        self.rater = log.rater
        self.places: list[Place] = []
        self.consented = False
        self.latest: dict[Place, Event] = {}
        self._plan, self._questions, self._log = plan, questions, log
        self._limits, self._clock = limits, clock
        self._lock = threading.RLock()
        self._mine: frozenset[Place] = frozenset()
        self._front: list[Place] = []
        self._pending: dict[Place, None] = {}
        self._days: Counter[date] = Counter()
        self._halt: Literal["", "paused", "stopped"] = ""
        self._run = Run()
        self._worked = Worked(limits)
        self._tab, self._tab_until = "", 0.0
        for event in log.events:
            self._apply(event)

    @property
    def out(self) -> frozenset[str]:
        """Hazard codes that this rater does not want to see."""
        return opted_out(self._log.events)

    @property
    def done(self) -> int:
        """Places of the list that are answered, skipped or escalated."""
        return len(self.places) - len(self._front) - len(self._pending)

    def give(self, places: Sequence[Place]) -> None:
        """The rater's list; what is not done yet is put into an order that keeps the limits."""
        with self._lock:
            self.places, self._mine = list(places), frozenset(places)
            left = [place for place in places if place not in self.latest and place not in self._front]
            self._front = [place for place in self._front if place in self._mine]
            self._pending = dict.fromkeys(arranged(left, self._plan.items, self._limits, self._run))
            if self._log.events:
                self._rest_if_due(_time(self._log.events[-1]))

    def _apply(self, event: Event) -> None:
        at = _time(event)
        if event.event in DONE:
            self._worked.seen(at, event.shown_ms)
        match event.event:
            case "consent":
                self.consented = event.reason == "accepted"
            case "pause":
                self._halt = "paused"
            case "stop":
                self._halt = "stopped"
            case "resume":
                self._halt = ""
        place = Place(event.item, event.repeat)
        if event.round != self._plan.header.round or place.item not in self._plan.items:
            return
        if event.event in DONE:
            self._forget(place)
            self.latest[place] = event
            self._days[at.date()] += 1
            self._pending.pop(place, None)
            self._front = [each for each in self._front if each != place]
            self._run = self._run.after(self._plan.items[place.item].looks_unsafe, self._limits)
            self._rest_if_due(at)
        elif event.event == "undo":
            self._forget(place)
            if place not in self._front:
                self._front.insert(0, place)

    def _forget(self, place: Place) -> None:
        before = self.latest.pop(place, None)
        if before is not None:
            self._days[_time(before).date()] -= 1

    def _rest_if_due(self, at: datetime) -> None:
        """A break instead of harmless items, where none are left to come between unsafe-looking ones."""
        run, most = self._run.unsafe, self._limits.unsafe_run
        following = next(self._upcoming(), None)
        if following and run and most and run % most == 0 and self._plan.items[following.item].looks_unsafe:
            self._worked.rest(at)

    def _upcoming(self) -> Iterator[Place]:
        yield from self._front
        yield from self._pending

    def pause(self) -> Pause | None:
        """Why nothing is shown at present; None if the rater can work."""
        if not self.consented:
            return Pause("consent")
        if self._halt:
            return Pause(self._halt)
        return self._worked.pause(self._clock())

    def next(self, most: int, after: str = "") -> list[Place]:
        """At most so many places that come next, behind the first one of the item `after` if that is open."""
        with self._lock:
            if self.pause() is not None:
                return []
            window = list(islice(self._upcoming(), most + 2 * UNDO))
            items = [place.item for place in window]
            start = items.index(after) + 1 if after in items else 0
            return window[start : start + most]

    def near(self) -> list[Place]:
        """Places whose pictures a page may still show after a restart: the next ones and those just done."""
        with self._lock:
            return [*islice(self._upcoming(), UNDO), *islice(reversed(self.latest), UNDO)]

    def answer(
        self,
        place: Place,
        questions: Mapping[str, str],
        *,
        request: str,
        confidence: int = 0,
        note: str = "",
        shown_ms: int = 0,
        unblurred_ms: int = 0,
    ) -> dict[str, Any]:
        """Save an answer; all questions of the annotation have one.

        Raises:
            RefusedError: for another rater's item, or answers that the questions do not know.
        """
        for name in questions:
            if name not in self._questions:
                raise RefusedError(400, f"there is no question {name!r}")
        for name, question in self._questions.items():
            if name not in questions:
                raise RefusedError(400, f"question {name} has no answer")
            try:
                question.choice(questions[name])
            except UsageError as unknown:
                raise RefusedError(400, str(unknown)) from None
        return self._save(
            "answer",
            place,
            request=request,
            questions=dict(questions),
            confidence=confidence,
            note=note,
            shown_ms=shown_ms,
            unblurred_ms=unblurred_ms,
        )

    def skip(self, place: Place, reason: str, *, request: str, shown_ms: int = 0) -> dict[str, Any]:
        """Leave an item out, for one of `SKIPS`."""
        if reason not in SKIPS:
            raise RefusedError(400, f"an item is skipped for one of: {', '.join(SKIPS)}")
        return self._save("skip", place, request=request, reason=reason, shown_ms=shown_ms)

    def escalate(self, place: Place, note: str, *, request: str, shown_ms: int = 0) -> dict[str, Any]:
        """Leave an item to adjudication."""
        return self._save("escalate", place, request=request, note=note, shown_ms=shown_ms)

    def rate_raw(self, item: str, question: str, choice: str, *, request: str) -> dict[str, Any]:
        """Save what an item was before a guard changed it; the answer to the item itself stays.

        Raises:
            RefusedError: for an item that is not answered yet.
        """
        with self._lock:
            if not self.has_answered(item):
                raise RefusedError(403, "this is asked after the answer")
            saved = self._record("raw", request=request, item=item, questions={question: choice})
            return {"saved": True, "seq": saved.seq}

    def undo(self, place: Place, *, request: str) -> dict[str, Any]:
        """Take back what was said of one of the last items; it comes next again.

        Raises:
            RefusedError: if it is none of them.
        """
        with self._lock:
            if not self._log.knows(request) and place not in islice(reversed(self.latest), UNDO):
                raise RefusedError(409, f"only the last {UNDO} answers can be taken back")
            return self._save("undo", place, request=request)

    def _save(self, kind: Any, place: Place, *, request: str, **fields: Any) -> dict[str, Any]:
        with self._lock:
            if place not in self._mine and place not in self.latest and not self._log.knows(request):
                raise RefusedError(404, "no such item")
            if not self.consented:
                raise RefusedError(403, "read and accept the first page before you rate")
            saved = self._record(kind, request=request, item=place.item, repeat=place.repeat, **fields)
            return {"saved": True, "seq": saved.seq, **self.progress()}

    def _record(self, kind: Any, *, request: str = "", **fields: Any) -> Event:
        header = self._plan.header
        asked = Event(
            event=kind,
            rater=self.rater,
            request=request,
            round=header.round,
            guideline=header.guideline[:8],
            **fields,
        )
        saved = self._log.append(asked)
        if not saved.again:
            self._apply(saved.event)
        return saved.event

    def progress(self) -> dict[str, Any]:
        """How many are done, of them today, and the pause that holds."""
        with self._lock:
            today = self._days[self._clock().date()]
            return {"done": self.done, "today": today, "pause": shown_pause(self.pause())}

    def consent(self, accepted: bool, out: Sequence[str], *, request: str = "") -> None:
        """Record what the rater chose on the first page."""
        with self._lock:
            codes = ",".join(sorted(set(out)))
            self._record("consent", request=request, reason="accepted" if accepted else "declined")
            if frozenset(out) != self.out:
                self._record("optout", reason=codes)

    def halt(self, kind: Literal["pause", "resume", "stop"]) -> dict[str, Any]:
        """Pause, stop, or go on; doing so twice is one event."""
        with self._lock:
            wanted = {"pause": "paused", "stop": "stopped", "resume": ""}[kind]
            if self._halt != wanted:
                self._record(kind)
            return self.progress()

    def entered(self) -> None:
        """The rater has opened the page: who stopped before goes on."""
        with self._lock:
            if self._halt == "stopped":
                self._record("resume")

    def lease(self, tab: str) -> bool:
        """Whether a tab may only read, because another one of the same rater writes; asked every 30 s."""
        with self._lock:
            at = self._clock().timestamp()
            if tab != self._tab and at < self._tab_until:
                return True
            if tab != self._tab:
                self._record("lease", reason=tab)
            self._tab, self._tab_until = tab, at + LEASE_S
            return False

    def held_by_other(self, tab: str) -> bool:
        """Whether another tab of this rater writes; one that does not name itself is not refused."""
        with self._lock:
            return bool(tab) and tab != self._tab and self._clock().timestamp() < self._tab_until

    def refuse_other_tab(self, tab: str) -> None:
        """Make sure that no other tab of this rater writes.

        Raises:
            RefusedError: if one does.
        """
        if self.held_by_other(tab):
            raise RefusedError(409, "another tab of yours is open: rate there, or close it")

    def has_answered(self, item: str) -> bool:
        """Whether the rater has said something of an item."""
        return Place(item, False) in self.latest or Place(item, True) in self.latest


def shown_pause(pause: Pause | None) -> dict[str, Any] | None:
    """A pause as the page reads it."""
    if pause is None:
        return None
    return {"reason": pause.reason, "until": None if pause.until is None else pause.until.isoformat()}


def _time(event: Event) -> datetime:
    return datetime.fromisoformat(event.at).astimezone()
