"""What leaves: items as a rater may see them (no model, attack, verdict or stratum), and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sightline.annotation.ballots import GUIDELINE_SHOWN, Annotation
from sightline.annotation.contents import Content, ShownTurn
from sightline.annotation.events import Event
from sightline.annotation.plan import Planned
from sightline.annotation.questions import Question

ReadContent = Callable[[Planned], Content]
ReadPicture = Callable[[str], bytes]
"""A picture by its SHA-256, as PNG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One item: its texts, its pictures (PNG), and what raters said of it, if that is wanted."""

    item: str
    request: str
    behavior: str
    reply: str
    guideline: str
    pictures: tuple[bytes, ...] = ()
    answers: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is exported: items one by one, and the questions that are asked of each."""

    questions: Mapping[str, Question]
    items: Iterator[Outgoing]


def sheet(
    found: Annotation, content: ReadContent, picture: ReadPicture, *, rater: str = "", answers: bool = False
) -> Sheet:
    """All items, in the order of their ids, which tells nothing; with `rater`, that rater's in their order.

    Args:
        found: the annotation.
        content: reads an item.
        picture: reads a picture.
        rater: whose list; '' for all items.
        answers: whether to add what raters said: then the file is no longer blind.

    Raises:
        UsageError: for an unknown rater.
    """
    if rater:
        ids: Sequence[str] = [place.item for place in found.plan.places(rater) if not place.repeat]
    else:
        ids = sorted(found.plan.items)
    return Sheet(questions=found.questions, items=_items(found, ids, content, picture, answers))


def _items(
    found: Annotation, ids: Sequence[str], content: ReadContent, picture: ReadPicture, answers: bool
) -> Iterator[Outgoing]:
    guideline = found.plan.header.guideline[:GUIDELINE_SHOWN]
    for item in ids:
        shown = content(found.plan.items[item])
        pictures = tuple(picture(name) for turn in shown.request for name in turn.pictures)
        yield Outgoing(
            item=item,
            request=request_text(shown.request),
            behavior=shown.behavior,
            reply=shown.reply,
            guideline=guideline,
            pictures=pictures,
            answers=tuple(said_of(found, item)) if answers else (),
        )


def said_of(found: Annotation, item: str) -> Iterator[Event]:
    """What raters said of an item when they first saw it."""
    for said in found.said.values():
        if (event := said.last.get((item, False))) is not None:
            yield event


def request_text(turns: Sequence[ShownTurn]) -> str:
    """A request as one text; of several turns, each begins with its role. `[picture]` stands for one."""
    parts = [
        "\n".join([*("[picture]" for _ in turn.pictures), *([turn.text] if turn.text else [])])
        for turn in turns
    ]
    if len(turns) == 1:
        return parts[0]
    return "\n\n".join(f"{turn.role}: {part}" for turn, part in zip(turns, parts, strict=True))
