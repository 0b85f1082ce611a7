"""A picture that makes the model say a sentence of the attacker's, whatever the honest user asked.

Bagdasaryan et al., "(Ab)using Images and Sounds for Indirect Instruction Injection in Multi-Modal LLMs",
2023, arXiv 2307.10490. Targeted output: the first answer is the attacker's text. Dialog poisoning: that text
holds an instruction, which then stands in the conversation as the model's own words (or imitates a user's
turn) and steers later turns. x minimizes the negative log-likelihood of the text behind one question; only
valid pixels bound it, and `rows` limits it to the picture's top.

Official: ebagdasa/multimodal_injection, llava/llava_injection.py, pandagpt/pandagpt_injection.py. Read there:
100 epochs; in each one pass and one signed step per prefix of the text, on the mean loss of that prefix;
steps fall from 0.01 to 0.0001 in normalized units by a cosine, about 0.7 to 0.007 levels of 255; 20 rows
(LLaVA) or 30 (PandaGPT) for the partial picture; end tokens behind the text. The
paper has no figures to compare with: it shows dialogs.

Here every step is one pass over the whole text, whose tokens are weighed so that the loss is the sum of all
prefixes' means: at one picture that is the sum of the release's gradients, at one T-th of its cost. Preset
`as_released` takes prefixes in turn instead, word by word, with as many epochs. Compare the two at equal
passes: more steps at a prefix are other steps.

Deviations. The release's picture is float16 and normalized, clipped slightly outside of valid pixels, and
used without being written; the partial variant returns the picture before its last update. Here it is
float32 in [0, 1], and what is kept and shown is the file. Judge the first answer with `target_string`;
later turns need a conversation with that answer in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline import whitebox
from sightline.attacks.scenes import check_scene
from sightline.attacks.toolkit import SourceImage, batches, image_drafts, levels, pixel_step
from sightline.cards import Presets, Renamed
from sightline.cases import Case, Eps, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack

Passes = Literal["one", "by_word"]

PRESETS: Presets = {
    "as_released": {"passes": "by_word"},
    "partial": {"rows": 20},
}


@attack(
    "injection",
    paper="arXiv:2307.10490",
    source="ebagdasa/multimodal_injection: llava/llava_injection.py, pandagpt/pandagpt_injection.py",
    threat=ThreatModel(attacker="third_party", access="white", may_edit=frozenset({"image"})),
    surrogate=True,
    scope="batched",
    applies_to=frozenset({"answer"}),
    presets=PRESETS,
    renamed={"alpha_levels": Renamed("step", levels), "end_levels": Renamed("final_step", levels)},
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Injection(Attack):
    """Settings.

    Attributes:
        target: the sentence that the model is to say.
        query: what the user is expected to ask; '' takes each case's own question.
        rows: only so many rows at the top may change; 0 is the whole picture.
        eps: bound on the change, such as '16/255'; '' for none, as in the paper.
        epochs: 100 in the release; each is as many steps as the target has words.
        steps: of the descent; 0 follows from `epochs`.
        passes: whether a step looks at the whole target or, as in the release, at one of its prefixes.
        step: size of the first step, such as '0.7/255'.
        final_step: of the last; between them a cosine.
        batch: pictures at a time, where they are asked the same.
        size_px: side of the drawing for cases without a picture.
        shapes: in that drawing.
    """

    target: str = ""
    query: str = "Can you describe this image?"
    rows: int = 0
    eps: str = ""
    epochs: int = 100
    steps: int = 0
    passes: Passes = "one"
    step: str = "0.7/255"
    final_step: str = "0.007/255"
    batch: int = 8
    size_px: int = 224
    shapes: int = 5

    def __post_init__(self) -> None:
        require(0 <= self.rows <= 4096, "rows", self.rows, "0 (all) to 4096")
        require(1 <= self.epochs <= 100_000, "epochs", self.epochs, "1 to 100,000")
        require(0 <= self.steps <= 10_000_000, "steps", self.steps, "1 to 10,000,000, or 0 for `epochs`")
        require(self.batch >= 1, "batch", self.batch, "at least 1 picture")
        check_scene(self.size_px, self.shapes)
        if self.eps:
            Eps.parse(self.eps)
        pixel_step(self.step, "step")
        pixel_step(self.final_step, "final_step")

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Each case's own picture, with the sentence in it."""
        if not self.target.strip():
            raise UsageError(
                f"{self.card.name} needs a `target`: the sentence that the model is to say "
                "(Sightline ships none; preset `testbed` has one of the invented world)"
            )
        pictures = (ctx.source_image(case, size_px=self.size_px, shapes=self.shapes) for case in cases)
        for batch in batches(pictures, self.batch, lambda picture: picture.asked(self.query)):
            found = self.descend(batch, ctx)
            notes = [
                f"the target {'would' if best.greedy_share == 1 else 'would not'} be written"
                for best in found.best
            ]
            own = [self.query in ("", picture.case.conversation.last_user_text()) for picture in batch]
            yield from image_drafts(batch, found, notes, own)

    def descend(self, batch: Sequence[SourceImage], ctx: Craft) -> whitebox.SearchResult:
        """Make the sentence likely behind the question, for some pictures at once."""
        models = ctx.models
        whole = whitebox.Pair(prompt=batch[0].asked(self.query), target=self.target)
        if self.passes == "one":
            term = whitebox.TargetNLL(reduction="sum", weights=whitebox.prefix_weights)
            sampler: whitebox.FixedPairs | whitebox.Rotating = whitebox.FixedPairs((whole,))
        else:
            term = whitebox.TargetNLL()
            sampler = whitebox.Rotating(self.prefixes(whole), 1, shuffled=False)
        problem = whitebox.Problem(
            objective=whitebox.Objective(victims=models, rows=(term,)),
            constraint=self._bounded([picture.clean for picture in batch], models[0]),
            optimizer=whitebox.SignGD(
                alpha=pixel_step(self.step, "step"),
                end=pixel_step(self.final_step, "final_step"),
                schedule="cosine",
            ),
            sampler=sampler,
            probe=(whole,),
        )
        steps = self.steps or self.epochs * len(self.target.split())
        keys = [picture.key for picture in batch]
        return ctx.minimize(problem, steps=steps, keys=keys)

    def prefixes(self, whole: whitebox.Pair) -> tuple[whitebox.Pair, ...]:
        """The target's beginnings, one word longer each; the last one is the target with its end."""
        words = self.target.split()
        short = (" ".join(words[:count]) for count in range(1, len(words)))
        return (*(whitebox.Pair(prompt=whole.prompt, target=text, closed=False) for text in short), whole)

    def _bounded(self, pictures: Sequence[Pixels], model: whitebox.Victim) -> whitebox.Constraint:
        """The whole pictures or their first rows, within eps if there is one."""
        clean = whitebox.from_pixels(pictures, model.device)
        if not self.eps and not self.rows:
            return whitebox.Box(clean=clean, init="clean")
        if not self.eps:
            return whitebox.first_rows(clean, self.rows)
        ball = whitebox.LinfBall(clean=clean, eps=Eps.parse(self.eps))
        if not self.rows:
            return ball
        region = clean.new_zeros((1, 1, *clean.shape[2:])).bool()
        region[:, :, : self.rows] = True
        return whitebox.Mask(inner=ball, region=region)
