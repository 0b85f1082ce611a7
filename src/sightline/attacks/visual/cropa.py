"""One change of a picture that gives the same answer whatever is asked, hardened by moving the prompts.

Luo et al., "An Image Is Worth 1000 Lies: Adversarial Transferability across Prompts on Vision-Language
Models", ICLR 2024, arXiv 2403.09766: the picture minimizes, and a nudge of each prompt's token
embeddings maximizes, the negative log-likelihood of the target text; the nudges are dropped in use. Baselines
of the paper: `single_p`, one prompt; `multi_p`, all prompts without nudges.

Official: Haochen-Luo/CroPA, main.py, utils/attack_tool.py. Read there: eps 16/255, steps of 1/255 from
normal noise, 1,701 of them; one prompt a step in shuffled rounds through 10; target "unknown" with its end
token; nudges move by 0.01, within -0.23 to 0.27, at steps 30, 60 ... 300 (counted from 0) for 10 prompts, in
general at the multiples of 300 // prompts up to 300 (other sizes for other models and numbers of prompts:
0.0025 to 0.025), in all tokens between the few-shot context and the target. Not verified: the figures of the
paper's table 1.

The prompts are the user's (`prompts:`); those of the cases must be others, and a draft's note says whether
its own question was among them. Judge with `target_string(mode=exact)`.

Deviations. The release never clips the sum of picture and noise to valid pixels, does not round, and keeps
the noise with the least loss on a single prompt: here pixels stay in [0, 1], are judged as a file holds them,
and the picture is kept that is best over the first 16 prompts. It rotates one shuffled order of the prompts:
here every round has a new one. There is no few-shot context: nudges move the tokens from behind the picture
to the target, the template's included, not the picture's own; in OpenFlamingo's prompts its marker moves.
The release's evaluation divides the hits on 19 classification prompts (a comma is missing) by 20, and draws
new agnostic questions at every call; here cases are the study's. The untargeted variant is left out. Nudges
need a search with room to converge: they cost one that has not (on the testbed, 60 steps at 16/255) more than
they bring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline import whitebox
from sightline.attacks.rendering import check_scene
from sightline.attacks.toolkit import SourceImage, batches, image_drafts
from sightline.cases import Case, Eps, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft
from sightline.registry import Presets, attack
from sightline.testbed import wordings
from sightline.testbed.world import world

Method = Literal["cropa", "multi_p", "single_p"]

#: of captions, colors and shapes; questions about places and words are never optimized on
TESTBED_PROMPTS = (
    *wordings.COLOR_QUESTIONS,
    *wordings.SHAPE_QUESTIONS,
    *wordings.CAPTION_QUESTIONS,
)
TESTBED_TARGET = wordings.SECRET_ANSWER.format(noun=world().reading_train[0])
PRESETS: Presets = {
    "single_p": {"method": "single_p"},
    "multi_p": {"method": "multi_p"},
    "testbed": {
        "corpus": "testbed",
        "eps": "32/255",
        "steps": 100,  # half of them after the nudges' last move, to converge
        "prompts_per_step": 5,
        "alpha_levels": 4.0,
        "rival_steps": 50,
        "size_px": 64,
        "shapes": 1,
    },
}


@attack(
    "cropa",
    paper="arXiv:2403.09766",
    source="Haochen-Luo/CroPA: main.py, utils/attack_tool.py",
    threat=ThreatModel(access="white", may_edit=frozenset({"image"})),
    surrogate=True,
    scope="batched",
    applies_to=frozenset({"answer"}),
    presets=PRESETS,
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CroPA(Attack):
    """Settings.

    Attributes:
        method: `cropa`, or a baseline.
        prompts: questions that the picture is optimized on; `single_p` takes the first.
        target: what is to be answered.
        corpus: `given` takes `prompts` and `target`, `testbed` those of the invented world.
        eps: bound on the picture's change.
        steps: of the descent.
        alpha_levels: size of a step, in levels of 255.
        prompts_per_step: visited in shuffled rounds.
        nudge: size of a nudge's step, in units of the embeddings.
        rival_steps: nudges move at the multiples of `rival_steps // prompts` up to this step, from 0.
        batch: pictures at a time.
        size_px: side of the drawing for cases without a picture.
        shapes: in that drawing.
    """

    method: Method = "cropa"
    prompts: tuple[str, ...] = ()
    target: str = "unknown"
    corpus: Literal["given", "testbed"] = "given"
    eps: str = "16/255"
    steps: int = 1701
    alpha_levels: float = 1.0
    prompts_per_step: int = 1
    nudge: float = 0.01
    rival_steps: int = 300
    batch: int = 8
    size_px: int = 224
    shapes: int = 5

    def __post_init__(self) -> None:
        require(bool(self.target.strip()), "target", self.target, "some text")
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(0 < self.alpha_levels < 255, "alpha_levels", self.alpha_levels, "more than 0, less than 255")
        require(self.prompts_per_step >= 1, "prompts_per_step", self.prompts_per_step, "at least 1")
        require(self.nudge > 0, "nudge", self.nudge, "more than 0; method 'multi_p' has none")
        require(self.rival_steps >= 1, "rival_steps", self.rival_steps, "at least 1")
        require(self.batch >= 1, "batch", self.batch, "at least 1 picture")
        check_scene(self.size_px, self.shapes)
        Eps.parse(self.eps)
        if self.corpus == "testbed" and self.prompts:
            raise UsageError(f"{self.card.name} takes `prompts` or corpus 'testbed', not both")
        if len(set(self.prompts)) < len(self.prompts):
            raise UsageError(f"{self.card.name} has the same prompt twice: each has one nudge, give it once")

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Each case's own picture, made on prompts that are not its own."""
        questions, target = self._corpus()
        pictures = (ctx.source_image(case, size_px=self.size_px, shapes=self.shapes) for case in cases)
        for batch in batches(pictures, self.batch):
            found = self.descend(batch, questions, target, ctx)
            seen = [picture.case.conversation.last_user_text() in questions for picture in batch]
            notes = [
                f"{self.method}: forced on {found.best[i].forced:.0%} of the judged prompts; this one is "
                f"{'one' if seen[i] else 'none'} of the {len(questions)} seen"
                for i in range(len(batch))
            ]
            yield from image_drafts(batch, found, notes, seen)

    def descend(
        self, batch: Sequence[SourceImage], questions: Sequence[str], target: str, ctx: Craft
    ) -> whitebox.Found:
        """The min-max: min over the picture, max over the nudges of its prompts."""
        models = ctx.models
        levels = whitebox.from_pixels([picture.clean for picture in batch], models[0].device)
        pool = tuple(whitebox.Pair(prompt=batch[0].asked(question), target=target) for question in questions)
        problem = whitebox.Problem(
            objective=whitebox.Objective(victims=models, rows=(whitebox.TargetNLL(),)),
            constraint=whitebox.LinfBall(clean=levels, eps=Eps.parse(self.eps), init="normal"),
            optimizer=whitebox.SignGD(alpha=self.alpha_levels / 255),
            sampler=whitebox.Rotating(pool, min(self.prompts_per_step, len(pool))),
            rival=self.rival(len(pool)) if self.method == "cropa" else None,
        )
        keys = [picture.key for picture in batch]
        return ctx.minimize(problem, steps=self.steps, keys=keys)

    def rival(self, prompts: int) -> whitebox.Rival:
        """The prompts' side: as many moves as there are prompts, the last one at `rival_steps`."""
        return whitebox.Rival(
            alpha=self.nudge, every=max(1, self.rival_steps // prompts), until=self.rival_steps
        )

    def _corpus(self) -> tuple[tuple[str, ...], str]:
        """Questions and target."""
        testbed = self.corpus == "testbed"
        questions = TESTBED_PROMPTS if testbed else self.prompts
        if not questions:
            raise UsageError(
                f"{self.card.name} needs `prompts:`, questions that users may ask, others than the cases' "
                "(Sightline ships none but those of preset `testbed`)"
            )
        target = TESTBED_TARGET if testbed and self.target == "unknown" else self.target
        return (questions[:1] if self.method == "single_p" else questions), target
