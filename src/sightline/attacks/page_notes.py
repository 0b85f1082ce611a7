"""A sentence added to what another attack shows: drawn at the foot of its picture, or typed below its text.

And its control: a sentence about nothing, of the same length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sightline.attacks import font_files
from sightline.attacks.pictures import WHITE, pasted, stacked
from sightline.attacks.strips import SMALLEST_FONT_PX, TextStyle, text_strip
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels

Shown = Literal["drawn", "typed"]
Place = Literal["below", "foot"]
MOST_OF_PAGE = 0.6
"""Of a page's height that a sentence drawn over its foot may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteStyle:
    """How a sentence is drawn: font, pixels per em, and `place`.

    `below`: under the picture, which grows. `foot`: over the picture's foot; its size stays.
    """

    font: str
    font_px: int
    place: Place

    def check(self) -> None:
        """Make sure that this can be drawn. Raises UsageError naming the setting."""
        require(SMALLEST_FONT_PX <= self.font_px <= 400, "font_px", self.font_px, "8..400 pixels")
        font_files.find_font(self.font)


def with_note(draft: Draft, sentence: str, shown: Shown, style: NoteStyle) -> Draft:
    """A draft of a single turn with a sentence added; '' adds none.

    Drawn, it stands on the last picture that the draft shows; typed, below its text.

    Raises:
        UsageError: if there is no picture to draw on, or it does not hold the sentence.
    """
    if not sentence:
        return draft
    if shown == "typed":
        own = draft.case.conversation.last_user_text() if draft.text is None else draft.text
        return replace(draft, text="\n".join(filter(None, (own, sentence))))
    pictures = draft.images if draft.image is None else (draft.image,)
    if not pictures:
        raise UsageError(f"case {draft.case.id}: there is no picture to draw the sentence {sentence!r} on")
    try:
        noted = noted_page(pictures[-1], sentence, style)
    except UsageError as unfit:
        raise UsageError(f"case {draft.case.id}: {unfit}") from None
    if draft.image is not None:
        return replace(draft, image=noted)
    return replace(draft, images=(*pictures[:-1], noted))


def noted_page(page: Pixels, sentence: str, style: NoteStyle) -> Pixels:
    """A picture with a sentence at its foot.

    Raises:
        UsageError: if the font cannot draw it, or the picture is too small.
    """
    height, width = page.shape[:2]
    padding = max(1, style.font_px // 10)
    look = TextStyle(font=font_files.find_font(style.font), font_px=style.font_px, padding_px=padding)
    strip = text_strip(sentence, look, width)
    if style.place == "below":
        return stacked([page, strip], WHITE)
    if strip.shape[0] > MOST_OF_PAGE * height:
        raise UsageError(
            f"a sentence of {len(sentence)} characters at {style.font_px} px takes {strip.shape[0]} of the "
            f"picture's {height} pixels: set font_px lower, or place=below"
        )
    return pasted(np.array(page), strip, (0, height - strip.shape[0]))


def of_same_length(sentence: str, words: str) -> str:
    """Words about nothing, repeated until they are as long as the sentence, cut where a word ends.

    Its length is the nearest one to the sentence's, at least one word.
    """
    pool, made = words.split(), ""
    number = 0
    while True:
        longer = f"{made} {pool[number % len(pool)]}".strip()
        if made and abs(len(longer) - len(sentence)) >= abs(len(made) - len(sentence)):
            return made
        made, number = longer, number + 1
