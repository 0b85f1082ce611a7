"""What an attack that draws words draws and says, and its typed twin: the same words without the drawing.

An attack that draws words takes both from its own `words`, and so does its twin, the control `NAME_typed`:
the two cannot drift apart. What the twin achieves too is not the picture's doing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from sightline.attacks.rendering import blank
from sightline.cases import Case
from sightline.records import Draft

SUFFIX = "_typed"
"""The twin of the attack `NAME` is registered as `NAME_typed`, with `control_of="NAME"`."""

Picture = Literal["none", "blank"]
"""What stands beside the typed words: nothing, or a white page of the attack's size."""


@dataclass(frozen=True, slots=True)
class Typed:
    """The words of an attack on one case.

    Attributes:
        drawn: what stands in the picture, line by line, before any line is broken to fit.
        sentence: what is typed beside it.
        note: where the words come from, if not from the release.
    """

    drawn: str
    sentence: str
    note: str = ""

    @property
    def text(self) -> str:
        """The drawn words, then the sentence, typed below each other."""
        return f"{self.drawn}\n{self.sentence}"


@runtime_checkable
class DrawsWords(Protocol):
    """An attack whose picture shows words."""

    def words(self, case: Case) -> Typed:
        """What it draws and says. Raises UsageError if the case has nothing to draw."""
        ...

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height in pixels of the picture that shows `drawn`."""
        ...


def typed_drafts(attack: DrawsWords, cases: Sequence[Case], picture: Picture) -> Iterator[Draft]:
    """One draft per case: all words of the attack typed, without a picture or beside a white page."""
    for case in cases:
        words = attack.words(case)
        page = blank(attack.page_size(words.drawn)) if picture == "blank" else None
        yield Draft(case=case, text=words.text, image=page, keep_images=False, note=words.note)
