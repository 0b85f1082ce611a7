"""Draw the request at random: place, font, size, color, on a page of random pixels (Best-of-N for pictures).

The picture perturbations of Hughes et al., "Best-of-N Jailbreaking", arXiv:2412.03556, to be drawn many
times: `best_of_n(attack=augment_drawn)`. Official: jplhughes/bon-jailbreaking,
bon/attacks/run_image_bon.py, bon/utils/image_utils.py, commit c118210. Verified there: every pixel of the
page random; one font of several; a random color per channel; the text begins in the upper left quarter and
wraps at 0.8 of what is left of the width; what does not fit is drawn anew; the whole request is in the
picture.

Deviations. The page has one size (600, the largest of the official 240 to 600 per side), so that its typed
twin has a blank page to stand beside; fonts are the four that Sightline carries, 8 to 60 pixels, not
OpenCV's strokes of scale 0.2 to 2; letters have no random thickness. The sentence beside it is ours.

Random letters on random pixels can be unreadable, as there: that is what the many draws are for. Control
`augment_drawn_typed` types the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.attacks import font_files, instructions, rendering
from sightline.attacks.line_breaks import wrap_measured
from sightline.attacks.typed_words import Typed
from sightline.attacks.wordings import request
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack
from sightline.rng import numpy_rng

FONTS = ("DejaVuSans.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSerif.ttf", "LiberationSans-Regular.ttf")
TRIES = 200
"""Draws of one page, until all of the text is on it."""
WRAP_AT = 0.8
"""Of the width that is left beside the text's place."""
PITCH = 1.5
"""Baselines apart, in sizes of the type."""


@attack(
    "augment_drawn",
    paper="arXiv:2412.03556",
    source="jplhughes/bon-jailbreaking: bon/attacks/run_image_bon.py",
    threat=ThreatModel(),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentDrawn(Attack):
    """`canvas_px`: side of the page; sizes of type in pixels; `instruction` ('' = ours) stands beside it."""

    canvas_px: int = 600
    min_font_px: int = 8
    max_font_px: int = 60
    instruction: str = ""

    def __post_init__(self) -> None:
        require(64 <= self.canvas_px <= 4096, "canvas_px", self.canvas_px, "64..4096 pixels")
        require(6 <= self.min_font_px <= 400, "min_font_px", self.min_font_px, "6..400 pixels")
        require(
            self.min_font_px <= self.max_font_px <= 400, "max_font_px", self.max_font_px, "min_font_px..400"
        )

    def resolved(self) -> Mapping[str, str]:
        """The fonts that are drawn with, as found on this machine."""
        found = {f"font {name}": font_files.resolved(name)["font"] for name in FONTS}
        return {**font_files.resolved(FONTS[0]), **found}

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """One page per case; the request is in the picture alone."""
        for case in cases:
            words = self.words(case)
            try:
                page, note = self.drawn(words.drawn, numpy_rng("augment_drawn", ctx.seed, case.id))
            except UsageError as unfit:
                raise UsageError(f"case {case.id}: {unfit}") from None
            yield Draft(case=case, text=words.sentence, image=page, note=note)

    def words(self, case: Case) -> Typed:
        """The request, and the sentence that asks to answer it."""
        return Typed(drawn=request(case), sentence=self.instruction or instructions.FIGSTEP_QUESTION)

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the page, whatever is drawn on it."""
        return self.canvas_px, self.canvas_px

    def drawn(self, text: str, rng: np.random.Generator) -> tuple[Pixels, str]:
        """A random page with all of the text on it, and how it is drawn.

        Raises:
            UsageError: if no draw holds it, or a font cannot draw it.
        """
        size = self.page_size(text)
        for _ in range(TRIES):
            font = font_files.find_font(FONTS[int(rng.integers(len(FONTS)))])
            px = int(rng.integers(self.min_font_px, self.max_font_px + 1))
            x, y = (int(rng.integers(0, side // 2 + 1)) for side in size)
            red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
            face = font.at(px, text)
            broken = wrap_measured(text, face, int(WRAP_AT * (size[0] - x)), "")
            first, pitch = y + px, round(PITCH * px)
            lines = [rendering.Line(line, x, first + row * pitch) for row, line in enumerate(broken)]
            if rendering.clipped(lines, face, size):
                continue
            page = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            note = f"{font.note(text)}, {px} px at ({x}, {y}), color ({red}, {green}, {blue})"
            return rendering.write(page, lines, face, ink=(red, green, blue)), note
        raise UsageError(
            f"a text of {len(text)} characters was on none of {TRIES} random pages of {size[0]} px: set "
            "canvas_px higher or max_font_px lower"
        )
