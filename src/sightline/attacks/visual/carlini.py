"""For each request a picture that makes the model begin its answer with a given text: projected descent.

Carlini et al., "Are aligned neural networks adversarially aligned?", NeurIPS 2023, arXiv 2306.15447, section
on multimodal models: x minimizes the cross-entropy of a short opening (one to three tokens) behind the
request, over all pictures; it starts as uniform noise and ends at the first success or after 500 steps of
0.2. The point is an upper bound on what alignment withstands, not a realistic adversary.

No official code was found, and we could not read the paper itself: the constants are those of a public
reading note. Not verified: the unit of the step and whether it is signed, hence `direction` and `step`. The
note's mean distance on LLaVA, 0.86 (l2 in [0, 1] over 150,528 values), fits steps of l2 length 0.2 or signed
steps of 0.2/255 (0.3 each), and no signed step of 0.2 (78 each); the default is the former. From memory:
the stop at first success, here when greedy decoding writes the opening, looked for every `check_every` steps.

What is reported as the change is the distance from the start. Temperature 0; success there is whether the
answer holds the toxic words: judge with `target_string`, or with the benchmark's own judge where the opening
belongs to the request. `targets` may hold the case's wordings, as in `{key_phrase}`; Sightline ships no
target but the opening of a recipe of the invented world (preset `testbed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sightline import whitebox
from sightline.attacks.gradients import one_pair_each
from sightline.attacks.scenes import check_scene
from sightline.attacks.toolkit import SourceImage, batches, image_drafts, openings
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import Draft
from sightline.registry import attack
from sightline.rng import numpy_rng

PRESETS: Presets = {"signed": {"direction": "sign", "step": 0.2 / 255}}


@attack(
    "carlini",
    paper="arXiv:2306.15447",
    source="none found; constants from a public reading note",
    threat=ThreatModel(access="white", may_edit=frozenset({"image"})),
    surrogate=True,
    scope="batched",
    presets=PRESETS,
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Carlini(Attack):
    """Settings.

    Attributes:
        targets: openings of the answer, one drawn for each case; `{key_phrase}` is that of the case.
        start: uniform noise, or the case's own picture (a drawing where it has none).
        direction: steps along the gradient, of l2 length `step`; or signed ones of `step` in every value.
        step: in pixels of [0, 1].
        steps: at most.
        check_every: steps from one look whether the opening would be written to the next.
        batch: cases at a time, where their pictures are of one size; each stops by itself.
        size_px: side of the picture for cases without one.
        shapes: in the drawing.
    """

    targets: tuple[str, ...] = ()
    start: Literal["noise", "picture"] = "noise"
    direction: Literal["l2", "sign"] = "l2"
    step: float = 0.2
    steps: int = 500
    check_every: int = 1
    batch: int = 4
    size_px: int = 224
    shapes: int = 5

    def __post_init__(self) -> None:
        most = 1.0 if self.direction == "sign" else 1000.0
        require(
            0 < self.step < most, "step", self.step, f"more than 0, less than {most:g} (pixels in [0, 1])"
        )
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(self.check_every >= 1, "check_every", self.check_every, "at least 1 step")
        require(self.batch >= 1, "batch", self.batch, "at least 1 case")
        check_scene(self.size_px, self.shapes)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """A picture of its own for every case."""
        for batch in batches((self._start(case, ctx) for case in cases), self.batch):
            targets = [self._target(picture.case, ctx) for picture in batch]
            found = self.descend(batch, targets, ctx)
            notes = [
                f"target {target!r} {'is' if best.greedy_share else 'is not'} what greedy decoding "
                "begins with"
                for target, best in zip(targets, found.best, strict=True)
            ]
            yield from image_drafts(batch, found, notes)

    def descend(
        self, batch: Sequence[SourceImage], targets: Sequence[str], ctx: Craft
    ) -> whitebox.SearchResult:
        """Projected descent on the total cross-entropy of each opening, up to its first success."""
        models = ctx.models
        levels = whitebox.from_pixels([picture.clean for picture in batch], models[0].device)
        pairs, own = one_pair_each(
            [
                whitebox.Pair(prompt=picture.prompt, target=target, closed=False)
                for picture, target in zip(batch, targets, strict=True)
            ]
        )
        problem = whitebox.Problem(
            objective=whitebox.Objective(
                victims=models, rows=(whitebox.TargetNLL(reduction="sum"),), own=own
            ),
            constraint=whitebox.Box(clean=levels),
            optimizer=(
                whitebox.SignGD(alpha=self.step)
                if self.direction == "sign"
                else whitebox.UnitGD(alpha=self.step)
            ),
            sampler=pairs,
            probe=pairs.pool,
            stop=whitebox.all_targets_greedy,
        )
        keys = [picture.key for picture in batch]
        return ctx.minimize(problem, steps=self.steps, keys=keys, every=self.check_every)

    def _start(self, case: Case, ctx: Craft) -> SourceImage:
        """What is perturbed: noise of the picture's size, or the picture itself."""
        picture = ctx.source_image(case, size_px=self.size_px, shapes=self.shapes)
        if self.start == "picture":
            return picture
        noise = numpy_rng(f"{self.card.name} noise", ctx.seed, case.id).integers(0, 256, picture.clean.shape)
        return replace(picture, clean=noise.astype(picture.clean.dtype))

    def _target(self, case: Case, ctx: Craft) -> str:
        """The opening for a case."""
        drawn = numpy_rng(f"{self.card.name} target", ctx.seed, case.id)
        forms = self.targets and (self.targets[int(drawn.integers(len(self.targets)))],)
        return openings(forms, case, ctx)[0]
