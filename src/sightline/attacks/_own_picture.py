"""Attacks that perturb a case's own picture: what it shows and asks, batches of one size, and the drafts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from sightline import whitebox
from sightline.attacks.rendering import scene
from sightline.attacks.toolkit import beside, looks
from sightline.cases import Case, Conversation, Image
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.records import Draft, Pixels
from sightline.rng import numpy_rng, seed_of


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A case and the picture that is to be perturbed."""

    case: Case
    clean: Pixels

    @property
    def prompt(self) -> Conversation:
        """The case's conversation as it is sent once its draft is sealed: the picture, then the text."""
        height, width = self.clean.shape[:2]
        text = self.case.conversation.last_user_text()
        return self.case.conversation.with_last_user(Image("", width, height), text)

    @property
    def key(self) -> int:
        """Names the picture's random numbers, whatever batch it is in."""
        return seed_of("picture", self.case.id)

    def asked(self, question: str) -> Conversation:
        """Another question beside the same picture; '' is the case's own conversation."""
        return beside(question, self.clean) if question else self.prompt


def shown(case: Case, ctx: Craft, attack: str, size_px: int, shapes: int) -> Shown:
    """The case's own picture, or a drawing of shapes where it has none.

    Raises:
        UsageError: if the case has several pictures, or shows its picture before the last user turn.
    """
    pictures = list(case.conversation.images)
    if not pictures:
        return Shown(case, scene(size_px, shapes, numpy_rng(attack, ctx.seed, case.id)))
    last = next(turn for turn in reversed(case.conversation.turns) if turn.role == "user")
    if len(pictures) > 1 or not last.images:
        raise UsageError(
            f"case {case.id!r} has {len(pictures)} pictures, {len(last.images)} of them beside its last "
            f"question: {attack} perturbs the only picture of a case, which stands there"
        )
    return Shown(case, ctx.images.pixels(pictures[0]))


def batches(
    pictures: Iterator[Shown], most: int, alike: Callable[[Shown], Hashable] = lambda _: None
) -> Iterator[list[Shown]]:
    """Neighbors of one size that are optimized for the same thing (`alike`), at most so many at a time."""
    held, same = list[Shown](), None
    for picture in pictures:
        now = (picture.clean.shape, alike(picture))
        if held and (now != same or len(held) == most):
            yield held
            held = []
        held.append(picture)
        same = now
    if held:
        yield held


def numbered(pairs: Sequence[whitebox.Pair]) -> tuple[whitebox.FixedPairs, tuple[tuple[int, ...], ...]]:
    """One pair for each picture of a batch, as a sampler of the different ones and `Objective.own`."""
    different = tuple(dict.fromkeys(pairs))
    own = tuple((different.index(pair),) for pair in pairs)
    return whitebox.FixedPairs(different), own if len(different) > 1 else ()


def drafts(
    batch: Sequence[Shown],
    found: whitebox.SearchResult,
    notes: Sequence[str],
    seen: Sequence[bool | None] = (),
) -> Iterator[Draft]:
    """What a run found, one draft per picture; `seen` says which pictures' own questions it has asked."""
    for i, picture in enumerate(batch):
        best = found.best[i]
        yield Draft(
            case=picture.case,
            image=found.pixels[i],
            clean=picture.clean,
            trace=found.losses[i],
            checks=looks(found, i),
            cost=found.costs[i],
            seen=seen[i] if seen else None,
            note=f"{found.stop_reasons[i]}; best at step {best.step}, loss {best.loss:.3f}; {notes[i]}",
        )
