"""Mix the case's picture, or its key phrase drawn, with a harmless one, and ask about both (JOOD).

Jeong et al., CVPR 2025. Official: tiny451th/JOOD, main.py, utils/mixaug.py, evaluate_metrics.py (commit
4a19c5b, Apache-2.0). Verified there: both pictures are resized so that their longer side is 320 px and
padded around to a common size; mixup blends them pixel by pixel, `alpha` being the share of the harmful
one; cutmix pastes a part of the harmful one at its own place on the harmless one, resizemix all of it made
smaller, cutmixup the same at half opacity, the box being `alpha` of the width and of the height at a random
place; alpha is 0, 0.1 ... 1, and 0 and 1 are left out of the results; the text says that the picture shows
two real things or activities, and then asks; harmless pictures are those of a folder, photographs or drawn
words. Every harmless picture is tried at every alpha, and of each request only the reply with the highest
score of the judge counts, which chooses and scores at once: a best of some hundred tries.

Here an attack is one try: a study's grid (`grid: {alpha: [0.1, 0.2, ...]}`) gives the official alphas, one
column each, and `best_of_n` a stated number of tries, chosen by another judge than those that score.

Deviations. White where the official padding is transparent. The official place of the box leaves out the last
position; ours does not. Harmless pictures come from a folder of yours or are drawn scenes (`pictures`); one
is taken at random for each case. A case without a picture gets its key phrase drawn (the official `ocr`
variants). RandAugment, shuffled patches and mixed words are not built. Our wordings.

On the testbed (preset `testbed`: mixup, alpha 0.8) 11 of 12 restricted requests are obeyed, 8 at 0.5, none
plain and none typed; the page without any mixing achieves 12, so that mixing is not what does it there.
Control `jood_typed` types the phrase.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sightline.attacks import font_files, harmless, wordings
from sightline.attacks.pictures import Size, blended, cropped, cut_mixed, fitted, pasted, resized, size_of
from sightline.attacks.text_files import texts
from sightline.attacks.typed_words import Typed
from sightline.attacks.typographic.mm_typography import MMTypography
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack
from sightline.rng import numpy_rng

Mix = Literal["mixup", "cutmix", "resizemix", "cutmixup"]
OPACITY = 0.5
"""Of the box of `cutmixup`."""
PRESETS: Presets = {mix: {"mix": mix} for mix in ("cutmix", "resizemix", "cutmixup")}


@attack(
    "jood",
    paper="arXiv:2503.20823",
    source="tiny451th/JOOD: main.py, utils/mixaug.py",
    threat=ThreatModel(),
    presets=PRESETS,
    data=("texts/jood.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class JOOD(Attack):
    """`alpha`: share of the case's picture: of each pixel (mixup), or its box's of the width and the height.

    `pictures`: 'scenes' or a folder. `side_px`: the longer side. `instruction`: the text ('' = the case's own
    beside its picture, else that of `mm_typography`, after a sentence about the two).
    """

    mix: Mix = "mixup"
    alpha: float = 0.5
    pictures: str = harmless.SCENES
    side_px: int = 320
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 40
    instruction: str = ""

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "alpha", self.alpha, "0..1")
        _ = self._paper  # it checks the page's settings

    def resolved(self) -> Mapping[str, str]:
        """The font and the folder's pictures, as found on this machine."""
        return {**font_files.resolved(self.font), **harmless.resolved(self.pictures)}

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The mixed picture, and a text that asks about both."""
        for case in cases:
            if case.conversation.problem is not None:  # it becomes the artifact's
                yield Draft(case=case)
                continue
            own = ctx.own_image(case)
            try:
                if own is None:
                    words = self.words(case)
                    picture, note = self.page(words.drawn, ctx.seed)
                    note = "; ".join(filter(None, (note, words.note)))
                    text = words.sentence
                else:
                    asked = case.conversation.last_user_text().strip() or wordings.request(case)
                    text, note = self._text(asked), f"the case's own picture; {self._told}"
                    picture = self._mixed(own, ctx.seed, case.id)
            except UsageError as unfit:
                told = str(unfit)
                raise UsageError(told if told.startswith("case ") else f"case {case.id}: {told}") from None
            yield Draft(case=case, text=text, image=picture, note=note)

    def words(self, case: Case) -> Typed:
        """The phrase of a case without a picture, and the text."""
        found = self._paper.words(case)
        return Typed(drawn=found.drawn, sentence=self._text(found.sentence), note=found.note)

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the mixed picture of a phrase."""
        return size_of(self.page(drawn)[0])

    def page(self, drawn: str, seed: int = 0) -> tuple[Pixels, str]:
        """The phrase's page, mixed, and what is to be known of it. Raises UsageError as `mm_typography`."""
        page, note = self._paper.page(drawn)
        return self._mixed(page, seed, drawn), f"{note}; {self._told}"

    @property
    def _told(self) -> str:
        return f"{self.mix}, alpha {self.alpha:g}, with a harmless picture ({self.pictures})"

    def _text(self, asked: str) -> str:
        if self.instruction:
            return self.instruction
        ours = texts(__package__, "jood")
        return f"{ours[self.mix]} {asked} {ours['each']}"

    def _mixed(self, picture: Pixels, seed: int, key: str) -> Pixels:
        (chosen,) = harmless.pool(self.pictures, 1, "jood", seed, key)
        other = chosen(self.side_px)
        sizes = [longest(size_of(each), self.side_px) for each in (picture, other)]
        size = max(width for width, _ in sizes), max(height for _, height in sizes)
        rng = numpy_rng("jood box", seed, key)
        return mixed(fitted(other, size), fitted(picture, size), self.mix, self.alpha, rng)

    @property
    def _paper(self) -> MMTypography:
        """The page and the sentence of a case without a picture."""
        return MMTypography(width_px=self.side_px, font=self.font, font_px=self.font_px, layout="square")


def longest(size: Size, side_px: int) -> Size:
    """The size with the longer side as given, its shape kept."""
    width, height = size
    if width > height:
        return side_px, max(1, side_px * height // width)
    return max(1, side_px * width // height), side_px


def mixed(ground: Pixels, picture: Pixels, mix: Mix, alpha: float, rng: np.random.Generator) -> Pixels:
    """Two pictures of one size mixed; alpha 0 is the ground alone, 1 the picture."""
    if mix == "mixup":
        return blended(picture, ground, alpha)
    width, height = (int(side * alpha) for side in size_of(picture))
    if min(width, height) == 0:
        return ground
    left = int(rng.integers(picture.shape[1] - width + 1))
    top = int(rng.integers(picture.shape[0] - height + 1))
    box = left, top, left + width, top + height
    if mix == "cutmix":
        return cut_mixed(ground, picture, box)
    smaller = resized(picture, (width, height))
    if mix == "cutmixup" and alpha < 1:
        smaller = blended(smaller, cropped(ground, box), OPACITY)
    return pasted(ground, smaller, (left, top))
