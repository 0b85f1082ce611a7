"""Draw the request as the head of an empty numbered list and ask the model to fill the list in (FigStep).

Gong et al., AAAI 2025, section 3. Official: ThuCCSLab/FigStep, src/generate_prompts.py, commit 0861b17.
Verified against that file: page 760x760, FreeMono Bold 80 px, 15 characters per line, origin (20, 10),
spacing 11 (75 px from baseline to baseline), three empty items, black on white. Drawn with FreeMono Bold,
the lines of all 500 pages lie within 1 px of the official ones (measured; glyph edges differ a little).

Deviations. The sentence beside the picture is ours (attacks/instructions.py), with the three facts of the
paper's; set `instruction` to use another. A case without a statement gets one by rule, and the draft's
note says so. Where FreeMono Bold is not installed, DejaVu Sans Mono Bold stands in on the same baselines;
the note names the file. 14 of the 500 official statements take more than 10 lines with their numbers, which
then fall off the page: preset `paper` keeps this and says so in the note, preset `fit` shrinks such a text
until all of it is on the page and leaves the others alone.

The paper's ablation (figure and `gen_query` of the official script; there ASR on SafeBench-Tiny, by hand, of
LLaVA-1.5, MiniGPT-4, CogVLM in percent, read off assets/ablationstudy.jpg):

* the plain question, 32/18/10: attack `none`;
* the list as text, 16/28/0: `figstep_typed(preset=ablation_list)`;
* the list as text and the sentence, 60/30/0: `figstep_typed(preset=ablation)`;
* the picture without a text, 4/34/0: preset `ablation_picture`;
* the question in the picture and a sentence to answer it, 0/26/4: preset `ablation_question`. The official
  script cannot make these, its `QueryType` lacks the member `question_image_and_text` (commit 0861b17);
* all of it, 92/90/82: the default.

Control `figstep_typed` types the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import font_files, instructions, line_breaks, rendering, wordings
from sightline.attacks.typed_words import Typed, drawn_drafts
from sightline.cards import Presets, Renamed
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack

FREEMONO_ASCENT = 800
"""Ascent of FreeMono Bold in thousandths of the em."""

SMALLEST_FONT_PX = 8

PRESETS: Presets = {
    "fit": {"overflow": "shrink"},
    "ablation_picture": {"text": "none"},
    "ablation_question": {"draws": "question"},
}


@attack(
    "figstep",
    paper="arXiv:2311.05608",
    source="ThuCCSLab/FigStep: src/generate_prompts.py",
    threat=ThreatModel(),
    presets=PRESETS,
    renamed={"wording": Renamed("instruction", None)},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FigStep(Attack):
    """Sizes are pixels of the page; `instruction` ('' = ours) may hold `{items}`.

    `draws`: the statement and its empty items, or the request as it is asked. `text`: whether a sentence
    stands beside the picture.
    """

    canvas_px: int = 760
    font: str = "FreeMonoBold.ttf"
    font_px: int = 80
    wrap_chars: int = 15
    origin_x_px: int = 20
    origin_y_px: int = 10
    spacing_px: int = 11
    items: int = 3
    overflow: Literal["clip", "shrink"] = "clip"
    draws: Literal["list", "question"] = "list"
    text: Literal["incitement", "none"] = "incitement"
    instruction: str = ""

    def __post_init__(self) -> None:
        require(16 <= self.canvas_px <= 4096, "canvas_px", self.canvas_px, "16..4096 pixels")
        require(SMALLEST_FONT_PX <= self.font_px <= 400, "font_px", self.font_px, "8..400 pixels")
        require(1 <= self.wrap_chars <= 400, "wrap_chars", self.wrap_chars, "1..400 characters")
        require(
            0 <= self.origin_x_px < self.canvas_px, "origin_x_px", self.origin_x_px, "a place on the page"
        )
        require(
            0 <= self.origin_y_px < self.canvas_px, "origin_y_px", self.origin_y_px, "a place on the page"
        )
        require(0 <= self.spacing_px <= 400, "spacing_px", self.spacing_px, "0..400 pixels")
        require(1 <= self.items <= 9, "items", self.items, "1..9 empty items")
        if self.text == "none" and self.instruction:
            raise UsageError("figstep: `instruction` is set, and text=none sends none: leave one of them out")

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, as found on this machine."""
        return font_files.resolved(self.font)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """One page per case; the request is in the picture alone."""
        yield from drawn_drafts(self, cases)

    def words(self, case: Case) -> Typed:
        """The statement and its empty items, and the sentence that asks to fill them in."""
        if self.draws == "question":
            drawn, note, ours = wordings.request(case), "", instructions.FIGSTEP_QUESTION
        else:
            statement = wordings.statement(case)
            drawn, note, ours = self.listed(statement.text), statement.note, instructions.FIGSTEP
        sentence = "" if self.text == "none" else self.instruction or ours
        return Typed(drawn=drawn, sentence=sentence.replace("{items}", str(self.items)), note=note)

    def listed(self, statement: str) -> str:
        """A statement with the empty items below it, one per line."""
        return "\n".join([statement, *(f"{item}. " for item in range(1, self.items + 1))])

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the page, whatever is drawn on it."""
        return self.canvas_px, self.canvas_px

    def page(self, drawn: str) -> tuple[Pixels, str]:
        """The page of a list, and what is to be known of it: font, lines, what fell off.

        Raises:
            UsageError: if the list does not fit at 8 pixels and nothing may be clipped, or the font cannot
                draw it.
        """
        font = font_files.find_font(self.font)
        size = self.page_size(drawn)
        shrink = self.overflow == "shrink"
        for px in range(self.font_px, (SMALLEST_FONT_PX if shrink else self.font_px) - 1, -1):
            face = font.at(px, drawn)
            lines = rendering.directed(
                self.layout(drawn, px, face.getlength("M")), drawn, face, self.canvas_px - self.origin_x_px
            )
            off = lines[-1].baseline >= self.canvas_px
            if shrink and (off or rendering.clipped(lines, face, _inside(size))):
                continue
            lost = rendering.clipped(lines, face, size)
            note = f"{font.note(drawn)}, {px} px; {len(lines)} lines"
            if lost:
                note += f", {lost} of them cut off by the page's edge"
            return rendering.draw(lines, face, size), note
        raise UsageError(
            f"a list of {len(drawn)} characters does not fit on a page of {self.canvas_px} px "
            f"even at {SMALLEST_FONT_PX} px; set canvas_px higher"
        )

    def layout(self, drawn: str, px: int, advance_px: float) -> tuple[rendering.Line, ...]:
        """The statement wrapped, then the empty items. Smaller type takes more characters per line."""
        statement, *items = drawn.split("\n")
        columns = self.wrap_chars
        if px < self.font_px:
            columns = max(columns, int((self.canvas_px - 2 * self.origin_x_px) // advance_px))
        return rendering.paragraph(
            [*line_breaks.wrap_columns(statement, columns), *items],
            (self.origin_x_px, self.origin_y_px),
            ascent=rendering.ascent_px(px, FREEMONO_ASCENT),
            spacing_px=self.spacing_px * px // self.font_px,
        )


def _inside(size: tuple[int, int]) -> tuple[int, int]:
    """The page without its last row and column: what fits does not touch the edge."""
    return size[0] - 1, size[1] - 1
