"""What a caption states: an attribute outside the protected set, one of those for a case's category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.attacks.templates import drawn, filled
from sightline.attacks.text_files import document
from sightline.cases import Case


@dataclass(frozen=True, slots=True)
class Claim:
    """A heading and a `key: value` line; `note` says where they come from."""

    heading: str
    line: str
    note: str

    @property
    def text(self) -> str:
        """The heading, and the line below it."""
        return f"{self.heading}\n{self.line}" if self.heading else self.line


def table() -> Mapping[str, Any]:
    """`texts/caption_strip.yaml`."""
    return document("sightline.attacks.typographic", "caption_strip")


def claim_of(
    case: Case, draw: int, *, heading: str | None = None, key: str = "", values: Sequence[str] = ()
) -> Claim:
    """The claim about a case: the caller's key and values, else those of the case's category.

    Args:
        case: whose category decides; its wordings fill the slots of `values`, as in `{town}`.
        draw: decides with the case which value it is.
        heading: None for the category's own, '' for none.
        key: what stands before the colon, if `values` are given.
        values: of which one is drawn.
    """
    name = table()["categories"].get(case.category, table()["default"])
    ours = table()["claims"][name]
    value = drawn(values or ours["values"], "caption_strip", draw, case.id)
    value = filled(value, **case.wordings) if values else value
    key = key if values else ours["key"]
    source = "the study's" if values else f"of {name!r}"
    return Claim(
        heading=ours["heading"] if heading is None else heading,
        line=f"{key}: {value}" if key else value,
        note=f"claim {source}: {value}",
    )
