"""A third view of what raters disagree on: who said what is hidden, labels stand in an order by chance.

Queue: items on whose outcome raters differ or which none could decide, escalated items, and those that all
raters skipped. The ruling is final unless three persons say three different things: then there is no
consensus. Raters' own answers stay as they are, and agreement is computed from them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from sightline.annotation.ballots import (
    GUIDELINE_SHOWN,
    Annotation,
    Ballot,
    ballot_of,
    ballots,
    read_annotation,
)
from sightline.annotation.events import Event, read_events
from sightline.errors import UsageError, nearest
from sightline.human_labels import Final
from sightline.records import Outcome
from sightline.sealed import file_named

ADJUDICATION = "adjudication.jsonl"
ADJUDICATOR = "adjudicator"
RULINGS: Mapping[str, Outcome] = {
    **{each.value: each for each in (Outcome.refused, Outcome.partial, Outcome.complied, Outcome.off_topic)},
    "cannot_decide": Outcome.unparsed,
}
"""What an adjudicator may say."""
LONGEST_NOTE = 2_000


@dataclass(frozen=True, slots=True)
class Disputed:
    """An item of the queue, as the adjudicator sees it.

    Attributes:
        item: its id.
        why: `differ`, `undecided`, `escalated` or `unanswered`.
        labels: what raters said, without names, in an order by chance; `cannot_decide` for no outcome.
        notes: the raters' own words, in alphabetical order.
    """

    item: str
    why: str
    labels: tuple[str, ...]
    notes: tuple[str, ...]


class Decision(NamedTuple):
    """What an item finally counts as, and how that came about."""

    outcome: Outcome
    final: Final


def queue(folder: Path) -> list[Disputed]:
    """Items of an annotation folder that wait for an adjudicator, in the order of the plan.

    Items for which a rater is still waited for come later.

    Raises:
        UsageError: if there is no plan.
        DamageError: if a file is damaged.
    """
    return open_disputes(read_annotation(folder))


def open_disputes(found: Annotation, every: Mapping[str, Ballot] | None = None) -> list[Disputed]:
    """As `queue`, of what has been read, and maybe gathered in ballots."""
    done = rulings(found.folder, found.plan.header.round)
    return [
        Disputed(each.item, each.dispute, _mixed(each), each.notes)
        for each in (ballots(found) if every is None else every).values()
        if each.dispute and not each.waiting and each.item not in done
    ]


def _mixed(ballot: Ballot) -> tuple[str, ...]:
    names = {outcome: name for name, outcome in RULINGS.items()}
    said = [(rater, names.get(vote, vote.value)) for rater, vote in ballot.votes.items()]
    said.sort(key=lambda each: hashlib.blake2b(f"{ballot.item}\0{each[0]}".encode()).digest())
    return tuple(label for _, label in said)


def rulings(folder: Path, round_: int) -> dict[str, Event]:
    """The last ruling on each item in a round."""
    events = read_events(folder / ADJUDICATION)
    return {each.item: each for each in events if each.event == "adjudicate" and each.round == round_}


def ruled(event: Event) -> Outcome:
    """The outcome of a ruling."""
    return RULINGS[event.questions["outcome"]]


def adjudicate(
    folder: Path,
    item: str,
    outcome: str,
    note: str = "",
    *,
    request: str = "",
    by: str = ADJUDICATOR,
    found: Annotation | None = None,
) -> Event:
    """Record a ruling: appended and forced to disk. A request id that is known already changes nothing.

    Args:
        folder: of the annotation.
        item: id of an item that waits for a ruling, or has one in this round.
        outcome: refused, partial, complied, off_topic or cannot_decide.
        note: why, for the record.
        request: id of the request that asks for it.
        by: who rules.
        found: what is in the folder, if it has been read.

    Raises:
        UsageError: for an unknown item or outcome, an item of known truth, one on which raters agree, or one
            for which a rater is still waited for.
        DamageError: if a file is damaged.
    """
    found = found or read_annotation(folder)
    plan = found.plan
    if item not in plan.items or plan.items[item].kind == "gold":
        raise UsageError(f"item {item!r} is none of those that were drawn; `adjudicate` shows what waits")
    if outcome not in RULINGS:
        raise UsageError(nearest(outcome, RULINGS, "outcome"))
    path = folder / ADJUDICATION
    past = list(read_events(path))
    if request and (same := next((each for each in past if each.request == request), None)):
        return same
    if not any(each.item == item and each.round == plan.header.round for each in past):
        _refuse_undisputed(found, item)
    event = Event(
        event="adjudicate",
        rater=by,
        item=item,
        round=plan.header.round,
        questions={"outcome": outcome},
        note=note[:LONGEST_NOTE],
        guideline=plan.header.guideline[:GUIDELINE_SHOWN],
        request=request,
        seq=len(past) + 1,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    append_events(path, [event])
    return event


def _refuse_undisputed(found: Annotation, item: str) -> None:
    ballot = ballot_of(found, item)
    shows = f"`sightline annotate {found.folder.parent} adjudicate` shows what waits"
    if ballot.waiting:
        names = ", ".join(ballot.waiting)
        raise UsageError(f"item {item}: {names} has not answered yet, so nothing can be ruled on it; {shows}")
    if not ballot.dispute:
        raise UsageError(f"item {item}: raters do not differ on it, so there is nothing to rule on; {shows}")


def append_events(path: Path, events: Iterable[Event]) -> None:
    """Add lines to a file of events and force them to disk; a torn last line, never confirmed, goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_named(path), path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if size and file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(b"".join(orjson.dumps(asdict(each)) + b"\n" for each in events))
        file.flush()
        os.fsync(file.fileno())


def numbered(events: Iterable[Event], after: int) -> list[Event]:
    """Events with their numbers in a file that has so many already."""
    return [replace(each, seq=number) for number, each in enumerate(events, start=after + 1)]


def decision(ballot: Ballot, ruling: Outcome | None) -> Decision | None:
    """What an item counts as; None while a dispute waits for a ruling.

    No consensus: the adjudicator cannot decide either, or says what none of the raters says who differ
    among themselves.
    """
    said = set(ballot.votes.values())
    if ruling is None:
        return None if ballot.dispute else Decision(next(iter(said)), "agreed")
    if ruling is Outcome.unparsed or (len(said) > 1 and ruling not in said):
        return Decision(Outcome.unparsed, "no_consensus")
    return Decision(ruling, "adjudicated")
