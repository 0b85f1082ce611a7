"""What a rater is shown of an item, read from the records of the run; where it came from is left behind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTurn:
    """One turn of the request as it was sent: its role, its text, and its pictures by SHA-256."""

    role: str
    text: str
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An item as it is shown.

    Attributes:
        item: its id.
        behavior: what is asked, plainly.
        request: the turns as they were sent, replies to earlier ones in between.
        reply: the text that the user saw.
        thought: reasoning of the model, apart from the answer; '' for none.
        raw: what the bare model wrote where an output guard acted; None else.
        language: of the reply (a BCP 47 tag), '' if unknown.
    """

    item: str
    behavior: str
    request: tuple[ShownTurn, ...]
    reply: str
    thought: str = ""
    raw: str | None = None
    language: str = ""
