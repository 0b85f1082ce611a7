"""How much of what may distress a rater sees: order of items, breaks, hours a day, and who takes over.

Limits are a duty of care, not a finding about raters; they can be set, and what held from when is recorded in
`exposure.jsonl`, one line per change. 0 turns a limit off.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from sightline.annotation.events import Event
from sightline.annotation.log import stamp
from sightline.annotation.plan import Place, Plan, Planned
from sightline.errors import DamageError, require
from sightline.store import write_atomically

EXPOSURE = "exposure.jsonl"
APART = 10
"""Rows of one group never stand nearer to each other than this."""
_LOOK_AHEAD = 50
"""Harmless items that are tried for one that stands apart from its group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of exposure; 0 for none.

    Attributes:
        unsafe_run: unsafe-looking items in a row, after which `benign_after` others come.
        work_minutes: work without a break, after which one of `break_minutes` follows.
        day_minutes: work a day.
    """

    unsafe_run: int = 25
    benign_after: int = 5
    work_minutes: int = 25
    break_minutes: int = 5
    day_minutes: int = 120

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            require(0 <= value <= 10_000, name, value, "0 (no limit) to 10,000")


def read_limits(folder: Path) -> Limits:
    """The limits that were recorded last; the default ones if none were.

    Raises:
        DamageError: if the file cannot be read.
    """
    rows = _rows(folder / EXPOSURE)
    return Limits(**rows[-1]["limits"]) if rows else Limits()


def record_limits(folder: Path, limits: Limits, at: datetime) -> None:
    """Record limits, unless they hold already."""
    path = folder / EXPOSURE
    rows = _rows(path)
    if not rows or rows[-1]["limits"] != asdict(limits):
        rows.append({"at": stamp(at), "limits": asdict(limits)})
        write_atomically(path, b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        for row in rows:
            Limits(**row["limits"])
    except (ValueError, TypeError, KeyError) as broken:
        raise DamageError(path, f"damaged ({broken})", "delete it; limits are set by `serve`") from None
    return rows


class Run(NamedTuple):
    """Where a rater stands: unsafe-looking items in a row, and harmless ones that are owed."""

    unsafe: int = 0
    owed: int = 0

    def after(self, looks_unsafe: bool, limits: Limits) -> Run:
        """After one more item."""
        if not looks_unsafe:
            return Run(0, max(0, self.owed - 1))
        unsafe = self.unsafe + 1
        full = 0 < limits.unsafe_run <= unsafe
        return Run(unsafe, limits.benign_after if full else self.owed)


_START = Run()


def arranged(
    places: Sequence[Place], items: Mapping[str, Planned], limits: Limits, run: Run = _START
) -> list[Place]:
    """Places in an order that keeps the limit of unsafe-looking items in a row, otherwise as they are.

    Where harmless items are owed, the nearest later ones come forward: never a second showing (it would come
    nearer to the first one), and if there is another one none of a group that was shown just before. Where
    none is left, the order stays, and the session makes a break of it.
    """
    left = deque(places)
    found: list[Place] = []
    taken: set[int] = set()
    harmless = deque(
        number
        for number, place in enumerate(places)
        if not place.repeat and not items[place.item].looks_unsafe
    )
    number = 0
    while left:
        if number in taken:
            left.popleft()
            number += 1
            continue
        here = left[0]
        if run.owed and items[here.item].looks_unsafe:
            while harmless and (harmless[0] < number or harmless[0] in taken):
                harmless.popleft()
            recent = {items[each.item].group for each in found[-APART:]} - {""}
            ahead = [each for each, _ in zip(harmless, range(_LOOK_AHEAD), strict=False) if each not in taken]
            apart = [each for each in ahead if items[places[each].item].group not in recent]
            if ahead:
                chosen = (apart or ahead)[0]
                taken.add(chosen)
                found.append(places[chosen])
                run = run.after(False, limits)
                continue
        left.popleft()
        number += 1
        found.append(here)
        run = run.after(items[here.item].looks_unsafe, limits)
    return found


class Pause(NamedTuple):
    """Why no item is shown now, and until when; `until` is None until the rater goes on."""

    reason: Literal["break", "day", "paused", "stopped", "consent"]
    until: datetime | None = None


class Worked:
    """A rater's time at work, from the times of events: when a break is due, and what of a day is left."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._last: datetime | None = None
        self._stretch = timedelta()
        self._day: object = None
        self._today = timedelta()
        self._rest_until: datetime | None = None

    def seen(self, at: datetime, shown_ms: int = 0) -> None:
        """Something was done at a time; `shown_ms` of it the item was on the screen."""
        rest = timedelta(minutes=self._limits.break_minutes or 5)
        gap = timedelta() if self._last is None else max(timedelta(), at - self._last)
        shown = min(gap, timedelta(milliseconds=shown_ms))
        if gap - shown >= rest:
            self._stretch, gap = timedelta(), shown
        if self._day != at.date():
            self._day, self._today = at.date(), timedelta()
        self._last = at
        self._stretch += gap
        self._today += gap
        if self._limits.work_minutes and self._stretch >= timedelta(minutes=self._limits.work_minutes):
            self.rest(at)

    def rest(self, at: datetime) -> None:
        """A break begins."""
        if self._limits.break_minutes:
            self._rest_until = at + timedelta(minutes=self._limits.break_minutes)
        self._stretch = timedelta()

    def pause(self, at: datetime) -> Pause | None:
        """The break, or the end of the day's work, that holds at a time."""
        day = self._limits.day_minutes
        if day and self._day == at.date() and self._today >= timedelta(minutes=day):
            tomorrow = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
            return Pause("day", tomorrow)
        if self._rest_until is not None and at < self._rest_until:
            return Pause("break", self._rest_until)
        return None


def opted_out(events: Iterable[Event]) -> frozenset[str]:
    """Hazard codes that a rater does not want to see; the last choice counts."""
    codes: frozenset[str] = frozenset()
    for event in events:
        if event.event == "optout":
            codes = frozenset(filter(None, event.reason.split(",")))
    return codes


def assigned(
    plan: Plan, out: Mapping[str, Collection[str]], done: Mapping[str, Collection[Place]]
) -> tuple[dict[str, list[Place]], tuple[str, ...]]:
    """Each rater's list after opt-outs, and items that an opt-out leaves with fewer raters than planned.

    An item of a hazard that a rater has opted out of, and has not rated yet, goes to a rater who does not
    have it and has not opted out of it; which one depends on nothing but the item and who is left, so that a
    later opt-out moves only its own items. It is put at the end of that list. A second showing is not moved:
    it asks for the first rater's agreement with themselves.
    """
    lists: dict[str, list[Place]] = {}
    moved: dict[str, dict[Place, None]] = {rater: {} for rater in plan.raters}
    lost: list[str] = []
    for rater in plan.raters:
        codes, rated = set(out.get(rater, ())), set(done.get(rater, ()))
        lists[rater] = []
        for place in plan.places(rater):
            if plan.items[place.item].hazard not in codes or place in rated:
                lists[rater].append(place)
            elif not place.repeat:
                item = plan.items[place.item]
                free = [
                    (place in done.get(other, ()), _rank(place.item, other), other)
                    for other in plan.raters
                    if other not in item.order
                    and (place in done.get(other, ()) or item.hazard not in out.get(other, ()))
                    and place not in moved[other]
                ]
                if free:  # who has rated it already keeps it
                    moved[max(free)[2]][place] = None
                else:
                    lost.append(place.item)
    for rater, places in moved.items():
        lists[rater] += sorted(places, key=lambda place: _rank(place.item, ""))
    return lists, tuple(dict.fromkeys(lost))


def _rank(item: str, rater: str) -> bytes:
    return hashlib.blake2b(f"{item}\0{rater}".encode(), digest_size=16).digest()
