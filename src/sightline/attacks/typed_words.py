"""What an attack that draws words draws and says, and its typed twin: the same words without the drawing.

An attack `NAME` that draws words takes both from its own `words`, and so does its twin, the control that is
registered as `NAME_typed` with `control_of="NAME"`: the two cannot drift apart. What the twin achieves too is
not the picture's doing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from sightline.attacks.dialogue import put
from sightline.attacks.pictures import blank
from sightline.cases import Case, Turn
from sightline.contracts import ConversingAttack
from sightline.craft import Craft
from sightline.errors import UsageError
from sightline.records import Draft, Pixels

T = TypeVar("T")
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


@runtime_checkable
class AsksForWords(Protocol):
    """An attack that converses, whose picture shows words that it may have to ask a helper for."""

    async def words_of(self, case: Case, ctx: Craft) -> Typed:
        """What it shows in words and says. Raises UsageError if nobody says them."""
        ...

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height in pixels of the page that shows `drawn`."""
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
        yield typed_draft(attack, case, attack.words(case), picture)


def typed_draft(attack: DrawsWords | AsksForWords, case: Case, words: Typed, picture: Picture) -> Draft:
    """A draft of words of the attack typed, without a picture or beside a white page."""
    page = blank(attack.page_size(words.drawn)) if picture == "blank" else None
    return Draft(case=case, text=words.text, image=page, keep_images=False, note=words.note)


def with_follow_up(draft: Draft, words: Typed, ctx: Craft) -> Draft:
    """The draft, with the words of a second turn sent after the target's reply to it, if there are any."""
    if not words.follow_up:
        return draft
    shown = draft.images if draft.image is None else (draft.image,)
    first = Turn("user", (*(put(ctx, pixels) for pixels in shown), draft.text or ""))
    return replace(draft, text=words.follow_up, image=None, images=(), before=(first,), keep_images=False)


class TypedTwin(ConversingAttack, Protocol):
    """The typed twin of an attack that may ask a helper for its words: it asks for the same ones."""

    __slots__ = ()
    picture: Picture

    @property
    def attack(self) -> Any:
        """The attack of these words, which satisfies `AsksForWords`; see `attack_of`."""
        ...

    def __post_init__(self) -> None:
        _ = self.attack  # it checks the settings

    @property
    def calls(self) -> Mapping[str, int]:
        """The attacker's tries for the words."""
        return {role: number for role, number in self.attack.calls.items() if role == "attacker"}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """Everything in the text; nothing in the picture."""
        words = await self.attack.words_of(case, ctx)
        return typed_draft(self.attack, case, words, self.picture)


def attack_of(twin: Any, attack: type[T]) -> T:
    """The attack with the settings that its twin has, too; the others are its defaults.

    Raises:
        UsageError: if it does not take one of them.
    """
    shared = {field.name for field in fields(twin)} & {field.name for field in fields(attack)}  # type: ignore[arg-type]
    return attack(**{name: getattr(twin, name) for name in shared})
