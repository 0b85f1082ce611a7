"""Auto-PGD within a tiny radius: a picture that is captioned or answered wrongly, or as the attacker says.

Schlarmann and Hein, "On the Adversarial Robustness of Multi-Modal Foundation Models", ICCV-W 2023.
Untargeted: maximize the negative log-likelihood of the reference answer. Targeted: minimize that of a given
text, such as one that leads an honest user astray. x in the l-infinity ball around the case's own picture.

The authors released no code for this paper; constants are those of its successor chs20/RobustVLM (read in
vlm_eval/attacks/apgd.py, vlm_eval/run_evaluation.py and bash/): APGD from the clean picture, first step
1 * eps, momentum 0.75, one restart, 100 steps; targeted 10,000 steps at eps 2/255; the end token is not
scored. Not verified: the paper's own tables and iteration counts; its radii are 1/255 and 4/255.

Preset `ensemble`: pictures whose reference answer would still be written after the untargeted stage go on
from the best one, with large steps again (`polish`), then are attacked anew towards each of `words`; what
makes the reference least likely is kept. The successor takes its five captions one by one before it polishes
in float32, has word targets for questions only, and drops a picture once its score is low.

Deviations. One reference per case, its `answer`, as one string with the text behind it open. Pixels are
float32 in every stage (there float16 but for the last, so that late steps vanish). The step of least loss is
judged as a file would hold it. Only the question's own picture is attacked, never those of earlier turns.
Judge with `target_string`, its target empty for the untargeted attack: success is a reply without the
reference. On cases without a picture a drawing is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sightline import whitebox
from sightline.attacks.gradients import one_pair_each
from sightline.attacks.scenes import check_scene
from sightline.attacks.toolkit import SourceImage, batches, image_drafts
from sightline.budget import Budget, SpentError
from sightline.cards import Presets
from sightline.cases import Case, Eps, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Cost, Draft, Pixels
from sightline.registry import attack

PRESETS: Presets = {
    **{f"eps{levels}": {"eps": f"{levels}/255"} for levels in (1, 2, 4)},
    "ensemble": {"eps": "2/255", "polish": 100, "words": ("maybe", "Word")},
    "targeted": {"goal": "targeted", "eps": "2/255", "steps": 10_000},
}


@attack(
    "schlarmann_hein",
    paper="arXiv:2308.10741",
    source="chs20/RobustVLM: vlm_eval/attacks/apgd.py, vlm_eval/run_evaluation.py (the successor)",
    threat=ThreatModel(attacker="third_party", access="white", may_edit=frozenset({"image"})),
    surrogate=True,
    scope="batched",
    applies_to=frozenset({"answer"}),
    presets=PRESETS,
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SchlarmannHein(Attack):
    """Settings.

    Attributes:
        goal: away from the case's answer, or towards `target`.
        target: what the model is to say, for `targeted`.
        polish: steps of a stage that goes on from the untargeted one's picture; 0 is none.
        words: targets of further stages for pictures that are not broken yet.
        eps: radius, such as '4/255'.
        steps: of each stage.
        first_step: size of the first step, in radii; APGD halves it as it goes.
        batch: pictures at a time, where they are of one size, whatever they are asked.
        size_px: side of the drawing for cases without a picture.
        shapes: in that drawing.
    """

    goal: Literal["untargeted", "targeted"] = "untargeted"
    target: str = ""
    polish: int = 0
    words: tuple[str, ...] = ()
    eps: str = "4/255"
    steps: int = 100
    first_step: float = 1.0
    batch: int = 4
    size_px: int = 224
    shapes: int = 5

    def __post_init__(self) -> None:
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(0 <= self.polish <= 1_000_000, "polish", self.polish, "0 (none) to 1,000,000")
        require(0 < self.first_step <= 10, "first_step", self.first_step, "more than 0, at most 10 radii")
        require(self.batch >= 1, "batch", self.batch, "at least 1 picture")
        check_scene(self.size_px, self.shapes)
        Eps.parse(self.eps)
        if self.goal == "untargeted" and self.target:
            raise UsageError(f"{self.card.name} takes a target only with goal 'targeted'")
        if self.goal == "targeted" and (self.words or self.polish):
            raise UsageError(
                f"{self.card.name} has further stages (`polish`, `words`) only with goal 'untargeted'"
            )

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Each case's own picture, perturbed."""
        pictures = (ctx.source_image(case, size_px=self.size_px, shapes=self.shapes) for case in cases)
        for batch in batches(pictures, self.batch):
            found = self.descend(batch, [self._pair(picture) for picture in batch], ctx)
            notes = [self._told(found.best[i].greedy_share > 0) for i in range(len(batch))]
            for picture, draft in zip(batch, image_drafts(batch, found, notes), strict=True):
                yield self._further(picture, draft, ctx) if self.words or self.polish else draft

    def descend(
        self,
        batch: Sequence[SourceImage],
        pairs: Sequence[whitebox.Pair],
        ctx: Craft,
        *,
        word: str = "",
        start: Pixels | None = None,
        budget: Budget | None = None,
    ) -> whitebox.SearchResult:
        """One stage: APGD on the likelihood of each picture's text, up for a word; from the clean pictures,
        or from `start`.
        """
        models = ctx.models
        eps = Eps.parse(self.eps)
        stage = f"towards {word}" if word else "" if start is None else "polish"
        levels = whitebox.from_pixels([picture.clean for picture in batch], models[0].device)
        ball: whitebox.Constraint = whitebox.LinfBall(clean=levels, eps=eps, init="clean")
        if start is not None:
            begun = whitebox.unit(whitebox.from_pixels([start], models[0].device))
            ball = whitebox.WarmStart(inner=ball, theta=begun)
        sampler, own = one_pair_each(pairs)
        problem = whitebox.Problem(
            objective=whitebox.Objective(
                victims=models, rows=(whitebox.TargetNLL(sign=1 if self.target or word else -1),), own=own
            ),
            constraint=ball,
            optimizer=whitebox.APGD(eta=self.first_step * eps.unit),
            sampler=sampler,
            probe=sampler.pool,
        )
        keys = [picture.key for picture in batch]
        steps = self.steps if start is None else self.polish
        return ctx.minimize(problem, steps=steps, keys=keys, part=stage, budget=budget)

    def _further(self, picture: SourceImage, draft: Draft, ctx: Craft) -> Draft:
        """The stages after the untargeted one, until the reference would no longer be written."""
        look = Cost(forwards=len(ctx.models))
        if ctx.budget.less(draft.cost + look) is None:
            return replace(draft, note=f"{draft.note}; the budget pays for no further stage")
        likely, written = self._reference(picture, draft, ctx)
        draft = replace(draft, cost=draft.cost + look)
        for word in ("", *self.words) if self.polish else self.words:
            left = ctx.budget.less(draft.cost + look)
            if not written or left is None:
                break
            pair, start = self._pair(picture), draft.image
            if word:
                pair, start = whitebox.Pair(prompt=picture.prompt, target=word, closed=False), None
            try:
                found = self.descend([picture], [pair], ctx, word=word, start=start, budget=left)
            except SpentError:
                break
            (other,) = image_drafts([picture], found, [f"stage {word or 'polish'!r}"])
            now, written = self._reference(picture, other, ctx)
            cost = draft.cost + other.cost + look
            kept = other if now < likely or not written else draft
            draft, likely = replace(kept, cost=cost), min(now, likely)
        return replace(draft, note=f"{draft.note}; after all stages: {self._told(written)}")

    def _reference(self, picture: SourceImage, draft: Draft, ctx: Craft) -> tuple[float, bool]:
        """The reference's mean log-likelihood beside a drafted picture, and whether it would be written."""
        models = ctx.models
        pixels = picture.clean if draft.image is None else draft.image
        x = whitebox.unit(whitebox.from_pixels([pixels], models[0].device))
        terms = (whitebox.TargetNLL(sign=-1),)
        probed = whitebox.Objective(victims=models, rows=terms).probe(x, [self._pair(picture)])
        return probed.loss.item(), bool(probed.target_is_greedy.all())

    def _pair(self, picture: SourceImage) -> whitebox.Pair:
        """The case's question with the text that is made unlikely, or likely."""
        if self.goal == "targeted" and not self.target:
            raise UsageError(f"{self.card.name} with goal 'targeted' needs a `target`, what is to be said")
        text = self.target or picture.case.answer or ""
        if not text:
            raise UsageError(
                f"case {picture.case.id!r} has no reference answer to lead away from: use goal 'targeted', "
                "or a benchmark with answers"
            )
        return whitebox.Pair(prompt=picture.prompt, target=text, closed=False)

    def _told(self, written: bool) -> str:
        what = "target" if self.target else "reference"
        return f"the {what} {'would' if written else 'would not'} be written"
