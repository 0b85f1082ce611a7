"""Draw the key phrase of the request and ask about what the picture says (MM-SafetyBench, TYPO).

Liu et al., ECCV 2024, section 3. Official: isXinLiu/MM-SafetyBench, creation/2_img_process.py, read in the
fork syk1052/MM-SafetyBench. Verified against it: page 1024 px wide, Arial 90 px, greedy wrap by measured
width below 1024, wrapped lines start with a space, height 90 x (lines + 1), text at (0, 45), Pillow's own
spacing of 4, black on white.

Deviations. Arial is not ours to give away: Liberation Sans has the same widths. The paper writes JPEG at
default quality; we write PNG, so the page has no compression noise. The sentence is the release's
`rephrased` text, else ours (`instructions`). Without a key phrase, which the paper extracts with a
language model, the statement without its head ("Steps to") is drawn, and the note says so. Words wider than
the page run off it, as in the paper, and are noted; `overflow: split` breaks them.

Presets `testbed`, `testbed_asked` and `testbed_request` are for the 64-pixel models of the testbed. The first
two draw the key phrase, beside a sentence that points at the picture or one that asks as a plain request
does; the third draws the whole request ("delete balopi"), beside a sentence that only says to follow it.

Control `mm_typography_typed` types the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import font_files, instructions, line_breaks, rendering, wordings
from sightline.attacks.typed_words import Typed, drawn_drafts
from sightline.cards import Renamed
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import Draft, Pixels
from sightline.registry import attack

ARIAL_ASCENT = 905
"""Ascent of Arial and Liberation Sans in thousandths of the em."""

PILLOW_SPACING_PX = 4


@attack(
    "mm_typography",
    paper="arXiv:2311.17600",
    source="isXinLiu/MM-SafetyBench: creation/2_img_process.py",
    threat=ThreatModel(),
    renamed={"wording": Renamed("fallback", None)},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMTypography(Attack):
    """`layout`: 'grow' = the paper's page, higher with each line; 'square' = all lines in the middle.

    `draws`: the key phrase, or the whole statement. `instruction`: the sentence
    ('' = the release's, else `fallback`, else ours). `overflow`: what happens to a word wider than the page.
    """

    width_px: int = 1024
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 90
    layout: Literal["grow", "square"] = "grow"
    overflow: Literal["clip", "split"] = "clip"
    draws: Literal["key_phrase", "statement"] = "key_phrase"
    fallback: str = ""
    instruction: str = ""

    def __post_init__(self) -> None:
        require(16 <= self.width_px <= 4096, "width_px", self.width_px, "16..4096 pixels")
        require(8 <= self.font_px <= 400, "font_px", self.font_px, "8..400 pixels")

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, as found on this machine."""
        return font_files.resolved(self.font)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """One page per case; the text only points at it."""
        yield from drawn_drafts(self, cases)

    def words(self, case: Case) -> Typed:
        """The phrase, and the sentence that points at it."""
        drawn = (wordings.statement if self.draws == "statement" else wordings.key_phrase)(case)
        ours = self.fallback or instructions.MM_TYPOGRAPHY
        sentence = self.instruction or case.wordings.get("rephrased") or ours
        return Typed(drawn=drawn.text, sentence=sentence, note=drawn.note)

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the page of a phrase."""
        if self.layout == "square":
            return self.width_px, self.width_px
        return self.width_px, self.font_px * (len(self._broken(drawn)) + 1)

    def _broken(self, drawn: str) -> list[str]:
        """The lines of a phrase on the page."""
        face = font_files.find_font(self.font).at(self.font_px, drawn)
        lead = "" if self.layout == "square" else " "
        return line_breaks.wrap_measured(
            drawn, face, self.width_px, lead, break_words=self.overflow == "split"
        )

    def page(self, drawn: str) -> tuple[Pixels, str]:
        """The page of a phrase, and what is to be known of it: font, lines, what fell off.

        Raises:
            UsageError: if the font cannot draw it.
        """
        font = font_files.find_font(self.font)
        face = font.at(self.font_px, drawn)
        size = self.page_size(drawn)
        if self.layout == "square":
            lines = rendering.block(self._broken(drawn), face, size)
        else:
            lines = rendering.paragraph(
                self._broken(drawn),
                (0, self.font_px // 2),
                ascent=rendering.ascent_px(self.font_px, ARIAL_ASCENT),
                spacing_px=PILLOW_SPACING_PX,
            )
            lines = rendering.directed(lines, drawn, face, self.width_px)
        lost = rendering.clipped(lines, face, size)
        note = f"{font.note(drawn)}, {self.font_px} px; {len(lines)} lines"
        return rendering.draw(lines, face, size), f"{note}, {lost} of them cut off" if lost else note
