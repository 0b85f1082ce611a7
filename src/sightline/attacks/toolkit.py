"""What attacks share: the picture of a case, batches of pictures, prompts, and drafts of what was found.

Nothing here loads torch. `Craft` offers `own_image` and `source_image` as methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.attacks.scenes import scene
from sightline.cases import Case, Conversation, Image
from sightline.craft import Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.rng import numpy_rng, seed_of

if TYPE_CHECKING:
    from sightline import whitebox

MOST_CHECKS = 100
"""Checks of a search that a draft records."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """A case and the picture that is to be perturbed: uint8 pixels, height x width x 3."""

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
        return prompt_with_image(question, self.clean) if question else self.prompt


def own_image(case: Case, ctx: Craft) -> Pixels | None:
    """See `Craft.own_image`."""
    pictures = list(case.conversation.images)
    if not pictures:
        return None
    asked = case.conversation.last_user_turn.images
    if len(pictures) > 1 or not asked:
        raise UsageError(
            f"case {case.id!r} has {len(pictures)} pictures, {len(asked)} of them beside its last "
            f"question: {ctx.attack} takes cases with one picture there, or with none"
        )
    return ctx.images.pixels(pictures[0])


def source_image(case: Case, ctx: Craft, *, size_px: int, shapes: int) -> SourceImage:
    """See `Craft.source_image`."""
    own = own_image(case, ctx)
    if own is None:
        own = scene(size_px, shapes, numpy_rng(ctx.attack, ctx.seed, case.id))
    return SourceImage(case, own)


def shared_scene(ctx: Craft, size_px: int, shapes: int) -> Pixels:
    """A drawing of shapes that follows from the attack and its seed alone."""
    return scene(size_px, shapes, numpy_rng(ctx.attack, ctx.seed))


def prompt_with_image(text: str, picture: Pixels) -> Conversation:
    """A prompt of a text beside the attacked picture, in the order in which drafts are sealed."""
    return Conversation.user(Image("", picture.shape[1], picture.shape[0]), text)


def batches(
    pictures: Iterable[SourceImage], most: int, alike: Callable[[SourceImage], Hashable] = lambda _: None
) -> Iterator[list[SourceImage]]:
    """Neighbors of one size that are optimized for the same thing (`alike`), at most so many at a time."""
    batch, same = list[SourceImage](), None
    for picture in pictures:
        now = (picture.clean.shape, alike(picture))
        if batch and (now != same or len(batch) == most):
            yield batch
            batch = []
        batch.append(picture)
        same = now
    if batch:
        yield batch


def openings(forms: Sequence[str], case: Case, ctx: Craft, setting: str = "targets") -> tuple[str, ...]:
    """The beginnings of answers, with the wordings of a case filled in.

    Raises:
        UsageError: for no forms, or a wording that the case has not.
    """
    if not forms:
        raise UsageError(
            f"{ctx.attack} needs `{setting}`: one or more beginnings of the answer (Sightline ships none), "
            "or preset `testbed`"
        )
    try:
        return tuple(form.format_map(case.wordings) for form in forms)
    except (KeyError, ValueError, IndexError) as absent:
        raise UsageError(
            f"{ctx.attack}: case {case.id!r} cannot fill in `{setting}` {list(forms)!r}: it has the wordings "
            f"{', '.join(case.wordings) or 'none'}; {absent} is not among them"
        ) from absent


def pixel_step(text: str, name: str, *, zero: bool = False) -> float:
    """The size of a step in pixels of [0, 1], from its text in levels: '8/255' of the setting `name`.

    Raises:
        UsageError: unless it is more than 0 (at least 0 if `zero`) and less than 255 levels.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*/\s*255\s*", text)
    size = float(match[1]) if match else -1.0
    least = "0 or more" if zero else "more than 0"
    require(0 < size < 255 or (zero and size == 0), name, text, f"{least}, less than 255 levels: '2/255'")
    return size / 255


def levels(text: str) -> float:
    """The number of levels of '8/255', as settings held it before."""
    return float(text.partition("/")[0])


def checks_of(found: whitebox.SearchResult, artifact: int = 0) -> tuple[tuple[int, float, float], ...]:
    """An artifact's checks for its draft: step, loss, share forced; at most `MOST_CHECKS`, with the last."""
    checks = found.checks[artifact]
    thin = max(1, -(-len(checks) // MOST_CHECKS))
    return tuple((check.step, check.loss, check.greedy_share) for check in checks[::-1][::thin][::-1])


def image_drafts(
    batch: Sequence[SourceImage],
    found: whitebox.SearchResult,
    notes: Sequence[str],
    seen: Sequence[bool | None] = (),
) -> Iterator[Draft]:
    """One draft per picture that a search found; `seen`: whether the case's question was optimized on."""
    for i, picture in enumerate(batch):
        best = found.best[i]
        yield Draft(
            case=picture.case,
            image=found.pixels[i],
            clean=picture.clean,
            trace=found.losses[i],
            checks=checks_of(found, i),
            cost=found.costs[i],
            in_training_set=seen[i] if seen else None,
            note=f"{found.stop_reasons[i]}; best at step {best.step}, loss {best.loss:.3f}; {notes[i]}",
        )


def suffix_draft(
    case: Case,
    suffix: whitebox.TokenSuffix,
    found: whitebox.TokenSearchResult,
    notes: Sequence[str] = (),
    *,
    shared: bool = False,
    seen: bool | None = None,
) -> Draft:
    """A case with the suffix that was found."""
    best = found.best
    facts = (
        f"{found.stop_reason}; best at step {best.step}, loss {best.loss:.3f}",
        f"text {found.text!r}",
        *notes,
    )
    return Draft(
        case=case,
        text=suffix.joined(case.conversation.last_user_text(), found.text),
        trace=found.losses,
        checks=tuple((check.step, check.loss, check.greedy_share) for check in found.checks),
        cost=found.cost,
        shared=shared,
        in_training_set=seen,
        note="; ".join(facts),
    )


def baseline_draft(
    case: Case,
    suffix: whitebox.TokenSuffix,
    reader: whitebox.SuffixReader,
    seed: int,
    *,
    shared: bool = False,
    prompt: Conversation | None = None,
) -> Draft:
    """A case with the tokens that a search would begin with: random words, or one word repeated.

    `prompt` is what they are read in, if not the case's own conversation.
    """
    ids = reader.start(prompt or case.conversation, seed).tolist()
    text = reader.text(ids)
    joined = suffix.joined(case.conversation.last_user_text(), text)
    note = f"control: {len(ids)} tokens that were not optimized, {text!r}"
    return Draft(case=case, text=joined, shared=shared, note=note)
