"""A picture within 16/255 that an ensemble of vision models sees otherwise, made for models never asked.

Dong et al., "How Robust is Google's Bard to Adversarial Image Attacks?", 2023, sections 3 and 4: maximize the
distance of the picture's features from the clean picture's over several towers (`embedding`), or the
likelihood of one description over several models, without a question (`description`). Spectrum simulation
gives each gradient, common weakness the step. Official: thu-ml/Attack-Bard (SpectrumSimulationAttack.py,
attack_img_encoder_misdescription.py, attack_vlm_misclassify.py). Constants read there: eps 16/255, 500
rounds, 20 spectra a gradient with rho 0.5 and noise of 16/255, inner step 250, outer step eps / 5, both
momenta without decay, start at the clean picture, 224 x 224. Surrogates there: three towers (ViT-B/16,
BLIP-2's, CLIP ViT-B/32) or three models (InstructBLIP, BLIP-2, MiniGPT-4); name yours as `surrogate`.

Detectors. Its attack on a face detector has no code: here `unseen` lowers the score of some labels of object
detectors and classifiers (`encoder/FOLDER`; preset `face`), of the likeliest box or label. Its attack on a
toxicity detector is `embedding` on toxic pictures, on towers or on a detector's own features; towards those
of an innocent drawing it is `innocent` (as its Banned2Normal, 400 rounds; preset `innocent`). So it is for
cases to be refused and to be classified as well.

As released, and kept: the reverse (sharpness) step of common weakness is commented out, the step size that
the scripts pass is not used, the gradient is taken at the transformed picture. Deviations. The best of the
pictures is kept, judged as a file without spectra, not the last. The file is rounded, not truncated. Which
clean features belong to which tower follows no call counter. Prompts have no question, as there, but each
model's own chat template, where the release has the target's tokens alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline import whitebox
from sightline.attacks.scenes import check_scene, scene
from sightline.attacks.toolkit import (
    SourceImage,
    batches,
    image_drafts,
    levels,
    pixel_step,
    prompt_with_image,
)
from sightline.cards import Presets, Renamed
from sightline.cases import Case, Eps, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Cost, Draft
from sightline.registry import attack
from sightline.rng import numpy_rng

PRESETS: Presets = {
    "innocent": {"goal": "innocent", "steps": 400},
    "face": {"goal": "unseen", "labels": ("face",)},
}


@attack(
    "bard",
    paper="arXiv:2309.11751",
    source="thu-ml/Attack-Bard: attacks/AdversarialInput/SpectrumSimulationAttack.py",
    threat=ThreatModel(access="white", may_edit=frozenset({"image"})),
    surrogate=True,
    scope="batched",
    applies_to=frozenset({"answer", "classify", "refuse"}),
    presets=PRESETS,
    renamed={"noise_levels": Renamed("noise", levels)},
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Bard(Attack):
    """Settings.

    Attributes:
        goal: away from the clean picture's features, towards an innocent drawing's, towards a text, or away
            from what detectors and classifiers see.
        target: the text, for `description`.
        labels: what is not to be seen, for `unseen`; every surrogate has to know them.
        features: of the encoders, for `embedding` and `innocent`.
        eps: radius, such as '16/255'.
        steps: rounds through all surrogates.
        spectra: pictures per gradient.
        rho: half width of the spectrum's random scale.
        noise: deviation of the noise before the transform, such as '16/255'; '0/255' is none.
        inner_step: reach of a visit to one surrogate, in unit gradients.
        outer_share: step of a round, as a share of eps.
        batch: pictures at a time.
        size_px: side of the drawing for cases without a picture.
        shapes: in drawings.
    """

    goal: Literal["embedding", "innocent", "description", "unseen"] = "embedding"
    target: str = ""
    labels: tuple[str, ...] = ()
    features: Literal["pooled", "projected", "patches", "scores"] = "pooled"
    eps: str = "16/255"
    steps: int = 500
    spectra: int = 20
    rho: float = 0.5
    noise: str = "16/255"
    inner_step: float = 250.0
    outer_share: float = 0.2
    batch: int = 8
    size_px: int = 224
    shapes: int = 5

    def __post_init__(self) -> None:
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(1 <= self.spectra <= 1000, "spectra", self.spectra, "1 to 1,000")
        require(0 <= self.rho <= 1, "rho", self.rho, "0 to 1")
        require(self.inner_step > 0, "inner_step", self.inner_step, "more than 0")
        require(0 < self.outer_share <= 1, "outer_share", self.outer_share, "more than 0, at most 1")
        require(self.batch >= 1, "batch", self.batch, "at least 1 picture")
        check_scene(self.size_px, self.shapes)
        Eps.parse(self.eps)
        if self.target and self.goal != "description":
            raise UsageError(f"{self.card.name} takes a `target` only with goal 'description'")
        if bool(self.labels) != (self.goal == "unseen"):
            raise UsageError(
                f"{self.card.name} with goal 'unseen' needs `labels`, and no other goal takes them"
            )
        pixel_step(self.noise, "noise", zero=True)

    @property
    def tower_only(self) -> bool:
        """See `whitebox.through.LooksAtTower`: for every goal but a text."""
        return self.goal != "description"

    def first_step(self, models: int) -> Cost:
        """Every spectrum, and three checks."""
        return Cost(forwards=models * (self.spectra + 3), backwards=models * self.spectra)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Each case's own picture, perturbed."""
        if self.goal == "description" and not self.target:
            raise UsageError(
                f"{self.card.name} with goal 'description' needs a `target`: the text to make likely"
            )
        pictures = (ctx.source_image(case, size_px=self.size_px, shapes=self.shapes) for case in cases)
        for batch in batches(pictures, self.batch):
            found = self.descend(batch, ctx)
            moved = [f"{self.goal}, {found.checks[i][0].loss:.3f} at the start" for i in range(len(batch))]
            yield from image_drafts(batch, found, moved)

    def descend(self, batch: Sequence[SourceImage], ctx: Craft) -> whitebox.SearchResult:
        """Problems A and B by spectrum simulation and common weakness, for some pictures at once."""
        eps, sigma = Eps.parse(self.eps), pixel_step(self.noise, "noise", zero=True)
        objective, sampler = self._objective(batch, ctx)
        models = ctx.encoders if self.tower_only else ctx.models
        ball = whitebox.LinfBall(
            clean=whitebox.from_pixels([p.clean for p in batch], models[0].device), eps=eps, init="clean"
        )
        problem = whitebox.Problem(
            objective=objective,
            constraint=whitebox.Spectrum(
                inner=ball,
                draws_per_step=self.spectra,
                rho=self.rho,
                sigma=sigma,
            ),
            optimizer=whitebox.CommonWeakness(alpha=self.outer_share * eps.unit, inner_step=self.inner_step),
            sampler=sampler,
        )
        keys = [picture.key for picture in batch]
        compared = sum(isinstance(term, whitebox.FeatureDistance) for term in objective.pictures)
        return ctx.minimize(problem, steps=self.steps, keys=keys, before=Cost(forwards=compared))

    def _objective(
        self, batch: Sequence[SourceImage], ctx: Craft
    ) -> tuple[whitebox.Objective, whitebox.FixedPairs]:
        """What is summed over the surrogates, and the text that it is asked for."""
        if self.goal == "description":
            pair = whitebox.Pair(
                prompt=prompt_with_image("", batch[0].clean), target=self.target, closed=False
            )
            likely = whitebox.Objective(victims=ctx.models, rows=(whitebox.TargetNLL(),))
            return likely, whitebox.FixedPairs((pair,))
        terms: tuple[whitebox.FeatureDistance | whitebox.LabelScore, ...]
        if self.goal == "unseen":
            terms = tuple(whitebox.LabelScore(encoder=e, labels=self.labels) for e in ctx.encoders)
        else:
            terms = tuple(self._distance(encoder, batch, ctx) for encoder in ctx.encoders)
        return whitebox.Objective(pictures=terms), whitebox.FixedPairs()

    def _distance(
        self, encoder: whitebox.Encoder, batch: Sequence[SourceImage], ctx: Craft
    ) -> whitebox.FeatureDistance:
        """Squared distance from the clean pictures' features, or from the innocent drawing's."""
        if self.goal == "embedding":
            clean = whitebox.unit(whitebox.from_pixels([picture.clean for picture in batch], encoder.device))
            return whitebox.FeatureDistance.to_picture(
                encoder, clean, kind=self.features, metric="l2_squared", sign=-1
            )
        side = min(batch[0].clean.shape[:2])
        drawn = scene(side, self.shapes, numpy_rng(self.card.name, "innocent", ctx.seed))
        wanted = whitebox.unit(whitebox.from_pixels([drawn], encoder.device))
        return whitebox.FeatureDistance.to_picture(encoder, wanted, kind=self.features, metric="l2_squared")
