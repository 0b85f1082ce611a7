"""All raters of a plan who are served: their sessions, what is shown of an item, names of pictures."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline import taxonomy
from sightline.annotation.contents import Content
from sightline.annotation.events import Event, answers_of, events_path, read_events
from sightline.annotation.exposure import Limits, assigned, opted_out
from sightline.annotation.log import Clock, EventLog, now
from sightline.annotation.pictures import Pictures
from sightline.annotation.plan import Place, Plan, Planned
from sightline.annotation.questions import Question, raw_question
from sightline.annotation.refusals import RefusedError
from sightline.annotation.secret import Secret
from sightline.annotation.session import RaterSession, shown_pause
from sightline.errors import UsageError

MOST_NEXT = 8
_CONTENTS = 64


class Desk:
    """Everything that the pages of a plan ask for; the one writer of its raters' files until `close`."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        questions: Mapping[str, Question],
        read: Callable[[Planned], Content],
        pictures: Pictures,
        secret: Secret,
        *,
        guideline: str = "",
        care: str = "",
        limits: Limits | None = None,
        raters: Collection[str] = (),
        clock: Clock = now,
    ) -> None:
        """Open the files of `raters` (all of the plan, if none are named).

        Raises:
            UsageError: for a rater whom the plan does not know, or whose file another process writes.
            DamageError: if a file is damaged.
        """
        self.plan, self.questions, self.secret = plan, questions, secret
        self.guideline, self.care = guideline, care
        self.unassigned: tuple[str, ...] = ()
        self._folder, self._read, self._pictures = folder, read, pictures
        self._lock = threading.RLock()
        self._contents: OrderedDict[str, Content] = OrderedDict()
        self._names: dict[tuple[str, str], str] = {}
        self._refilled: set[str] = set()
        self._logs: list[EventLog] = []
        self.sessions: dict[str, RaterSession] = {}
        for rater in raters or plan.raters:
            if rater not in plan.raters:
                self.close()
                raise UsageError(f"the plan has no rater {rater!r}; it has {', '.join(plan.raters)}")
            try:
                log = EventLog(folder, rater, clock=clock)
            except BaseException:
                self.close()
                raise
            self._logs.append(log)
            self.sessions[rater] = RaterSession(plan, questions, log, limits=limits or Limits(), clock=clock)
        self._assign()

    def read_so_far(self) -> dict[str, tuple[tuple[Event, ...], int]]:
        """Events of the raters who are served, and how far their files were read."""
        return {log.rater: (tuple(log.events), log.end) for log in self._logs}

    def close(self) -> None:
        """Let other processes write the files."""
        for log in self._logs:
            log.close()

    def _assign(self) -> None:
        """Give each rater their list; items that somebody opted out of go to others."""
        out, done = {}, {}
        for rater in self.plan.raters:
            session = self.sessions.get(rater)
            if session is not None:
                out[rater], done[rater] = session.out, frozenset(session.latest)
            else:
                out[rater] = opted_out(read_events(events_path(self._folder, rater)))
                found = answers_of(self._folder, rater, round_=self.plan.header.round)
                done[rater] = frozenset(Place(*each) for each in found)
        lists, self.unassigned = assigned(self.plan, out, done)
        for rater, session in self.sessions.items():
            session.give(lists[rater])

    def session(self, rater: str) -> RaterSession:
        """A rater's session."""
        return self.sessions[rater]

    def state(self, rater: str) -> dict[str, Any]:
        """What a page needs to begin with."""
        session = self.sessions[rater]
        codes = sorted({item.hazard for item in self.plan.items.values()} - {""})
        known = taxonomy.hazards()
        categories = [
            {"code": code, "name": known[code].name if code in known else code, "out": code in session.out}
            for code in codes
        ]
        progress = session.progress()
        return {
            "rater": rater,
            "round": self.plan.header.round,
            "consent": {
                "given": session.consented,
                "text": self.care,
                "categories": categories,
                "others": len(self.plan.raters) > 2,
            },
            "questions": [shown_question(each) for each in self.questions.values()],
            "raw_question": None if (asked := raw_question(self.questions)) is None else asked.id,
            "guideline": self.guideline,
            "total": len(session.places),
            "finished": progress["done"] >= len(session.places),
            **progress,
        }

    def consent(self, rater: str, accepted: bool, out: Sequence[str], *, request: str = "") -> None:
        """Record a rater's choice; items of hazards that they leave out go to others.

        Raises:
            RefusedError: for a hazard that the plan does not have.
        """
        known = {item.hazard for item in self.plan.items.values()} - {""}
        for code in out:
            if code not in known:
                raise RefusedError(400, f"there is no category {code!r} here")
        with self._lock:
            session = self.sessions[rater]
            before = session.out
            session.consent(accepted, out, request=request)
            if session.out != before:
                self._assign()

    def next(self, rater: str, most: int, after: str = "") -> dict[str, Any]:
        """The next items as a page shows them; none during a pause."""
        session = self.sessions[rater]
        places = session.next(min(most, MOST_NEXT), after)
        items = [self.shown(place, rater) for place in places]
        progress = session.progress()
        finished = progress["done"] >= len(session.places)
        return {"items": items, "pause": shown_pause(session.pause()), "finished": finished}

    def content(self, item: str) -> Content:
        """What an item is, from the run; the last ones are held."""
        with self._lock:
            if item not in self._contents:
                self._contents[item] = self._read(self.plan.items[item])
                while len(self._contents) > _CONTENTS:
                    self._contents.popitem(last=False)
            self._contents.move_to_end(item)
            return self._contents[item]

    def shown(self, place: Place, rater: str) -> dict[str, Any]:
        """An item as a page shows it: nothing of where it came from."""
        content = self.content(place.item)
        request = [
            {
                "role": turn.role,
                "text": turn.text,
                "pictures": [self.picture_name(rater, sha256) for sha256 in turn.pictures],
            }
            for turn in content.request
        ]
        return {
            "item": place.item,
            "repeat": place.repeat,
            "place": place.item + ("+" if place.repeat else ""),
            "behavior": content.behavior,
            "request": request,
            "reply": content.reply,
            "thought": content.thought,
            "language": content.language,
        }

    def picture_name(self, rater: str, sha256: str) -> str:
        """The name of a picture for one rater ('' is the coordinator), who may ask for it from now on."""
        name = self.secret.name("picture", rater, sha256) + ".png"
        self._names[rater, name] = sha256
        return name

    def picture(
        self, raters: Sequence[str], name: str, *, color: bool = False, blurred: bool = False
    ) -> bytes:
        """A picture that was shown to one of these raters ('' is the coordinator), by its name for them.

        Raises:
            RefusedError: for any other name.
        """
        for rater in raters:
            if (rater, name) not in self._names and rater in self.sessions and rater not in self._refilled:
                self._refilled.add(rater)  # the server was started anew while a page was open
                for place in self.sessions[rater].near():
                    self.shown(place, rater)
            if (rater, name) in self._names:
                return self._pictures.png(self._names[rater, name], color=color, blurred=blurred)
        raise RefusedError(404, "no such picture")

    def raw(self, rater: str, item: str) -> str:
        """What the bare model wrote, once the rater has answered.

        Raises:
            RefusedError: before that, or if there is none.
        """
        if not self.sessions[rater].has_answered(item):
            raise RefusedError(403, "this is shown after the answer")
        raw = self.content(item).raw
        if raw is None:
            raise RefusedError(404, "there is nothing more of this item")
        return raw

    def rate_raw(self, rater: str, item: str, choice: str, *, request: str) -> dict[str, Any]:
        """Save a rater's answer about what the bare model wrote.

        Raises:
            RefusedError: as `raw`, or for an answer that is none.
        """
        self.raw(rater, item)
        question = raw_question(self.questions)
        if question is None:
            raise RefusedError(404, "nothing is asked about it")
        try:
            question.choice(choice)
        except UsageError as unknown:
            raise RefusedError(400, str(unknown)) from None
        return self.sessions[rater].rate_raw(item, question.id, choice, request=request)


def shown_question(question: Question) -> dict[str, Any]:
    """A question as a page shows it: not which outcome a choice stands for."""
    choices = [{"name": each.name, "key": each.key, "text": each.text} for each in question.choices]
    return {"id": question.id, "text": question.text, "choices": choices}
