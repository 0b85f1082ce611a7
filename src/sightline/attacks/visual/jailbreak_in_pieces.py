"""A harmless-looking picture whose features are those of a trigger, beside a sentence that names nothing.

Shayegani et al., "Jailbreak in Pieces", ICLR 2024, section 3 and algorithm 1: minimize the Euclidean distance
of the picture's features from the trigger's with Adam; only the vision tower is looked into, the language
model never. Official: erfanshayegani/Jailbreak-In-Pieces (not stored; read in a fork that carries its commits
to b7b2bce). Constants read there: rate 0.1, 5,000 steps, start white, 336 x 336, no bound but [0, 1]; the
paper stops at a distance of 0.3 (`tau`). The features are CLIP's projected ones.

Triggers: `ocr`, the case's key phrase drawn; `visual`, the case's own picture; `combined`, one picture that
holds both (not the mean of two embeddings); `textual`, the phrase's own embedding, which needs a CLIP with
its text tower. Surrogates: a CLIP folder (`encoder/FOLDER`, `encoder/FOLDER@-2` for the layer that LLaVA
reads), or a model whose tower is used. Towers inside models have no projection: presets `pooled`, what a
tower gives before it, and `patches`. Models that read patches never see the pooled vector.

Controls that the paper lacks: `jailbreak_in_pieces_typed` types the phrase; `show: trigger` sends the trigger
itself, `show: start` the picture from which the descent starts, beside the same sentence. What counts is the
success beside all of them: the trigger is what the attack can reach at best.

`as_released` is for audits only: features of pixels that were not normalized, for trigger and picture alike,
which no victim computes; and all steps, whatever the distance.

Deviations. Pixels are normalized as the victim does it. The file is a rounded PNG, not a truncated JPEG. The
distance is compared with `tau` every 25 steps, on the file. The sentence is ours
(attacks/instructions.py). The paper takes a request apart by hand; here the trigger is the key phrase.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from sightline import whitebox
from sightline.attacks import font_files, instructions, rendering, wordings
from sightline.attacks.scenes import check_scene, scene
from sightline.attacks.toolkit import checks_of
from sightline.attacks.typed_words import Typed
from sightline.cards import Presets, Renamed
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Cost, Draft, Pixels
from sightline.registry import attack
from sightline.rng import numpy_rng, seed_of

PRESETS: Presets = {
    "textual": {"trigger": "textual"},
    "visual": {"trigger": "visual"},
    "combined": {"trigger": "combined"},
    "as_released": {"pixels": "as_released", "tau": 0.0},
    "pooled": {"features": "pooled"},
    "patches": {"features": "patches"},
    "trigger": {"show": "trigger"},
    "start": {"show": "start"},
}


@attack(
    "jailbreak_in_pieces",
    paper="arXiv:2307.14539",
    source="erfanshayegani/Jailbreak-In-Pieces: src/adv_image.py (read in a fork)",
    threat=ThreatModel(access="grey"),
    control_when={"show": ("trigger", "start")},
    alike=("trigger", "start", "instruction"),
    surrogate=True,
    scope="batched",
    presets=PRESETS,
    extra="local",
    renamed={"wording": Renamed("instruction", None)},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class JailbreakInPieces(Attack):
    """Settings.

    Attributes:
        trigger: whose features are matched.
        features: of the tower; `textual` needs `projected`.
        pixels: what the tower is fed.
        show: the adversarial picture, or a control: the trigger itself, or the start.
        start: white, uniform noise, or a picture of shapes.
        steps: of Adam, at most.
        rate: Adam's.
        tau: distance at which a picture is done; 0 for never.
        batch: pictures at a time.
        size_px: side of the trigger and of the picture.
        shapes: in the start `shapes`.
        font: of the drawn phrase.
        font_px: its size.
        instruction: the sentence beside the picture; '' is ours.
    """

    trigger: Literal["ocr", "visual", "combined", "textual"] = "ocr"
    features: Literal["pooled", "projected", "patches"] = "projected"
    pixels: Literal["normalized", "as_released"] = "normalized"
    show: Literal["adversarial", "trigger", "start"] = "adversarial"
    start: Literal["white", "uniform", "shapes"] = "white"
    steps: int = 5000
    rate: float = 0.1
    tau: float = 0.3
    batch: int = 8
    size_px: int = 336
    shapes: int = 5
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 40
    instruction: str = ""

    def __post_init__(self) -> None:
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(0 < self.rate <= 1, "rate", self.rate, "more than 0, at most 1")
        require(self.tau >= 0, "tau", self.tau, "0 or more")
        require(self.batch >= 1, "batch", self.batch, "at least 1 picture")
        check_scene(self.size_px, self.shapes)
        require(8 <= self.font_px <= 400, "font_px", self.font_px, "8..400 pixels")
        if self.trigger == "textual" and self.features != "projected":
            raise UsageError(f"{self.card.name}: a text has only features 'projected', not {self.features!r}")
        if self.trigger == "textual" and self.show == "trigger":
            raise UsageError(f"{self.card.name}: the trigger 'textual' is no picture and cannot be shown")

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, as found on this machine."""
        return font_files.resolved(self.font)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """A picture for each case, with the features of that case's trigger."""
        for first in range(0, len(cases), self.batch):
            batch = cases[first : first + self.batch]
            starts = [self._start(case) for case in batch]
            if self.show != "adversarial":
                shown = starts if self.show == "start" else [self.target(case, ctx) for case in batch]
                for case, picture in zip(batch, shown, strict=True):
                    yield Draft(
                        case=case,
                        text=self._text(),
                        image=picture,
                        note=f"control: {self.show}{self._page_note(case)}",
                    )
                continue
            found = self.descend(batch, starts, ctx)
            for i, case in enumerate(batch):
                best, begun = found.best[i], found.checks[i][0].loss
                yield Draft(
                    case=case,
                    text=self._text(),
                    image=found.pixels[i],
                    clean=starts[i] if self.start == "shapes" else None,
                    trace=found.losses[i],
                    checks=checks_of(found, i),
                    cost=found.costs[i],
                    note=f"{found.stop_reasons[i]}; {self.trigger} trigger; distance of {self.features} "
                    f"features {begun:.2f} at the start, {best.loss:.2f} at step {best.step}"
                    f"{self._page_note(case)}",
                )

    def descend(self, batch: Sequence[Case], starts: Sequence[Pixels], ctx: Craft) -> whitebox.SearchResult:
        """Algorithm 1, for some cases at once."""
        encoder = ctx.encoder
        if self.pixels == "as_released":
            encoder = encoder.unnormalized()
        problem = whitebox.Problem(
            objective=whitebox.Objective(pictures=(self._distance(batch, encoder, ctx),)),
            constraint=whitebox.Box(clean=whitebox.from_pixels(starts, encoder.device), init="clean"),
            optimizer=whitebox.Adam(lr=self.rate),
            sampler=whitebox.FixedPairs(),
            stop=whitebox.loss_below(self.tau) if self.tau else None,
        )
        keys = [seed_of("picture", case.id) for case in batch]
        shown = Cost(forwards=int(self.trigger != "textual"))
        return ctx.minimize(problem, steps=self.steps, keys=keys, before=shown)

    def words(self, case: Case) -> Typed:
        """The key phrase, drawn or not, and the sentence; the trigger `visual` has the sentence alone."""
        phrase = wordings.key_phrase(case)
        return Typed(drawn=phrase.text, sentence=self._text(), note=phrase.note)

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the picture, whatever its trigger."""
        return self.size_px, self.size_px

    def target(self, case: Case, ctx: Craft) -> Pixels:
        """The trigger of a case as a picture.

        Raises:
            UsageError: for a trigger that shows the case's own picture, where it has not exactly one.
        """
        if self.trigger == "ocr":
            return rendering.square_page(self.words(case).drawn, self.size_px, self.font, self.font_px)
        own = list(case.conversation.images)
        if len(own) != 1:
            raise UsageError(
                f"case {case.id!r} has {len(own)} pictures: the trigger {self.trigger!r} is made of a case's "
                "only picture; use trigger 'ocr' for cases without one"
            )
        picture = Image.fromarray(ctx.images.pixels(own[0]))
        if self.trigger == "visual":
            return np.array(picture.resize((self.size_px, self.size_px)), dtype=np.uint8)
        return self._combined(picture, self.words(case).drawn)

    def _page_note(self, case: Case) -> str:
        """What is to be known of the drawn phrase; '' for triggers without one."""
        if self.trigger not in ("ocr", "combined") or self.show == "start":
            return ""
        drawn = self.words(case).drawn
        return f"; {rendering.square_note(drawn, self.size_px, self.font, self.font_px)}"

    def _combined(self, picture: Image.Image, phrase: str) -> Pixels:
        """The object above, the phrase below it."""
        below_it = rendering.square_page(phrase, self.size_px, self.font, self.font_px)
        inked = np.flatnonzero((below_it < 255).any(axis=(1, 2)))
        words = below_it[inked[0] : inked[-1] + 1]
        height = self.size_px - len(words) - 2
        require(
            height >= 8, "font_px", self.font_px, f"a size at which {phrase!r} leaves room for the picture"
        )
        made = np.full((self.size_px, self.size_px, 3), 255, dtype=np.uint8)
        made[:height] = np.array(picture.resize((self.size_px, height)), dtype=np.uint8)
        made[height + 1 : height + 1 + len(words)] = words
        return made

    def _distance(
        self, batch: Sequence[Case], encoder: whitebox.Encoder, ctx: Craft
    ) -> whitebox.FeatureDistance:
        """Equation 3's distance from the targets."""
        if self.trigger == "textual":
            wanted = encoder.texts([self.words(case).drawn for case in batch])
            return whitebox.FeatureDistance(encoder=encoder, target=wanted, kind="projected")
        triggers = whitebox.from_pixels([self.target(case, ctx) for case in batch], encoder.device)
        return whitebox.FeatureDistance.to_picture(encoder, whitebox.unit(triggers), kind=self.features)

    def _start(self, case: Case) -> Pixels:
        """The picture before the first step; follows from the case alone: the control shows the same one."""
        rng = numpy_rng(self.card.name, case.id)
        if self.start == "shapes":
            return scene(self.size_px, self.shapes, rng)
        if self.start == "uniform":
            return rng.integers(0, 256, (self.size_px, self.size_px, 3), dtype=np.uint8)
        return np.full((self.size_px, self.size_px, 3), 255, dtype=np.uint8)

    def _text(self) -> str:
        return self.instruction or instructions.JAILBREAK_IN_PIECES
