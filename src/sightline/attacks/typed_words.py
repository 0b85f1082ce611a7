"""What an attack that draws words draws and says, and its typed twin: the same words without the drawing.

An attack `NAME` that draws words takes both from its own `words`, and so does its twin, the control that is
registered as `NAME_typed` with `control_of="NAME"`: the two cannot drift apart. What the twin achieves too is
not the picture's doing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from sightline.attacks.dialogue import put
from sightline.attacks.pictures import blank
from sightline.cases import Case, Turn
from sightline.craft import Craft
from sightline.errors import UsageError
from sightline.records import Draft, Pixels

Picture = Literal["none", "blank"]
"""What stands beside the typed words: nothing, or a white page of the attack's size."""


@dataclass(frozen=True, slots=True)
class Typed:
    """The words of an attack on one case.

    Attributes:
        drawn: what stands in the picture, line by line, before any line is broken to fit.
        sentence: what is typed beside it; '' if nothing is.
        note: where the words come from, if not from the release.
        follow_up: what is typed in a second turn, whatever the reply to the first one is; '' if nothing.
    """

    drawn: str
    sentence: str
    note: str = ""
    follow_up: str = ""

    @property
    def text(self) -> str:
        """The drawn words, then the sentence, typed below each other."""
        return "\n".join(filter(None, (self.drawn, self.sentence)))


@runtime_checkable
class DrawsWords(Protocol):
    """An attack whose picture shows words."""

    def words(self, case: Case) -> Typed:
        """What it draws and says. Raises UsageError if the case has nothing to draw."""
        ...

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height in pixels of the picture that shows `drawn`."""
        ...


class DrawsPages(DrawsWords, Protocol):
    """An attack whose picture shows words and nothing else."""

    def page(self, drawn: str) -> tuple[Pixels, str]:
        """The picture, and what is to be known of it. Raises UsageError if the words cannot be drawn."""
        ...


def drawn_drafts(attack: DrawsPages, cases: Sequence[Case]) -> Iterator[Draft]:
    """One draft per case: the words drawn, beside the sentence typed.

    Raises:
        UsageError: naming the case, if its words cannot be drawn.
    """
    for case in cases:
        words = attack.words(case)
        try:
            page, note = attack.page(words.drawn)
        except UsageError as unfit:
            raise UsageError(f"case {case.id}: {unfit}") from None
        note = "; ".join(part for part in (note, words.note) if part)
        yield Draft(case=case, text=words.sentence, image=page, note=note)


def typed_drafts(attack: DrawsWords, cases: Sequence[Case], picture: Picture) -> Iterator[Draft]:
    """One draft per case: all words of the attack typed, without a picture or beside a white page."""
    for case in cases:
        words = attack.words(case)
        page = blank(attack.page_size(words.drawn)) if picture == "blank" else None
        yield Draft(case=case, text=words.text, image=page, keep_images=False, note=words.note)


def with_follow_up(draft: Draft, words: Typed, ctx: Craft) -> Draft:
    """The draft, with the words of a second turn sent after the target's reply to it, if there are any."""
    if not words.follow_up:
        return draft
    shown = draft.images if draft.image is None else (draft.image,)
    first = Turn("user", (*(put(ctx, pixels) for pixels in shown), draft.text or ""))
    return replace(draft, text=words.follow_up, image=None, images=(), before=(first,), keep_images=False)


@runtime_checkable
class AsksForWords(Protocol):
    """An attack that converses, whose picture shows words that it may have to ask a helper for."""

    async def worded(self, case: Case, ctx: Craft) -> Typed:
        """What it shows in words and says. Raises UsageError if nobody says them."""
        ...

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height in pixels of the page that shows `drawn`."""
        ...


async def typed_draft(attack: AsksForWords, case: Case, ctx: Craft, picture: Picture) -> Draft:
    """All words of an attack that converses, typed, without a picture or beside a white page.

    A helper is asked for them as the attack asks it: at temperature 0 they are the attack's own.
    """
    words = await attack.worded(case, ctx)
    page = blank(attack.page_size(words.drawn)) if picture == "blank" else None
    return Draft(case=case, text=words.text, image=page, keep_images=False, note=words.note)
