"""One change of a picture that gives the same answer whatever is asked, hardened by moving the prompts.

Luo et al., "An Image Is Worth 1000 Lies: Adversarial Transferability across Prompts on Vision-Language
Models", ICLR 2024, arXiv 2403.09766: the picture minimizes, and a perturbation of each prompt's
token embeddings maximizes, the negative log-likelihood of the target text; they are dropped in use. Baselines
of the paper: `single_p`, one prompt; `multi_p`, all prompts, unperturbed.

Official: Haochen-Luo/CroPA, main.py, utils/attack_tool.py. Read there: eps 16/255, steps of 1/255 from
normal noise, 1,701 of them; one prompt a step in shuffled rounds through 10; target "unknown" with its end
token; perturbations move by 0.01, within -0.23 to 0.27, at steps 30, 60 ... 300 (counted from 0) for 10
prompts, in general at the multiples of 300 // prompts up to 300 (other sizes for other models and numbers of
prompts: 0.0025 to 0.025), in all tokens between the few-shot context and the target. Not verified: the
figures of the paper's table 1.

The prompts are the user's (`prompts:`); those of the cases must be others, and a draft's note says whether
its own question was among them. Judge with `target_string(mode=exact)`.

Deviations. The release never clips the sum of picture and noise to valid pixels, does not round, and keeps
the noise with the least loss on a single prompt: here pixels stay in [0, 1], are judged as a file holds them,
and the picture is kept that is best over the first 16 prompts. It rotates one shuffled order of the prompts:
here every round has a new one. There is no few-shot context: perturbed are the tokens from behind the picture
to the target, the template's included, not the picture's own; in OpenFlamingo's prompts its marker moves. The
release's evaluation divides the hits on 19 classification prompts (a comma is missing) by 20, and draws new
agnostic questions at every call; here cases are the study's. The untargeted variant is left out. Perturbed
prompts need a search with room to converge: they cost one that has not (on the testbed, 60 steps at 16/255)
more than they bring.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline import whitebox
from sightline.attacks import corpora
from sightline.attacks.scenes import check_scene
from sightline.attacks.toolkit import SourceImage, batches, image_drafts, levels, pixel_step
from sightline.cards import Presets, Renamed
from sightline.cases import Case, Eps, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft
from sightline.registry import attack

Method = Literal["cropa", "multi_p", "single_p"]

PRESETS: Presets = {
    "single_p": {"method": "single_p"},
    "multi_p": {"method": "multi_p"},
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
    renamed={
        "corpus": Renamed("corpus", corpora.former),
        "alpha_levels": Renamed("step", levels),
        "nudge": Renamed("perturbation_step"),
        "rival_steps": Renamed("perturbation_until"),
    },
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CroPA(Attack):
    """Settings.

    Attributes:
        method: `cropa`, or a baseline.
        prompts: questions that the picture is optimized on; `single_p` takes the first.
        target: what is to be answered.
        corpus: a file or registered corpus of prompts, and of the target if all have the same reply, instead.
        eps: bound on the picture's change.
        steps: of the descent.
        step: size of a step, such as '1/255'.
        prompts_per_step: visited in shuffled rounds.
        perturbation_step: size of a step of a prompt's perturbation, in units of the embeddings.
        perturbation_until: prompts are perturbed at the multiples of this step divided by their number, from
            0 up to it.
        batch: pictures at a time.
        size_px: side of the drawing for cases without a picture.
        shapes: in that drawing.
    """

    method: Method = "cropa"
    prompts: tuple[str, ...] = ()
    target: str = "unknown"
    corpus: str = ""
    eps: str = "16/255"
    steps: int = 1701
    step: str = "1/255"
    prompts_per_step: int = 1
    perturbation_step: float = 0.01
    perturbation_until: int = 300
    batch: int = 8
    size_px: int = 224
    shapes: int = 5

    def __post_init__(self) -> None:
        require(bool(self.target.strip()), "target", self.target, "some text")
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(self.prompts_per_step >= 1, "prompts_per_step", self.prompts_per_step, "at least 1")
        require(
            self.perturbation_step > 0,
            "perturbation_step",
            self.perturbation_step,
            "more than 0; method 'multi_p' has none",
        )
        require(self.perturbation_until >= 1, "perturbation_until", self.perturbation_until, "at least 1")
        require(self.batch >= 1, "batch", self.batch, "at least 1 picture")
        check_scene(self.size_px, self.shapes)
        Eps.parse(self.eps)
        if self.corpus and self.prompts:
            raise UsageError(f"{self.card.name} takes `prompts` or a `corpus`, not both")
        if len(set(self.prompts)) < len(self.prompts):
            raise UsageError(f"{self.card.name} has the same prompt twice: each has one perturbation")
        pixel_step(self.step, "step")

    def resolved(self) -> Mapping[str, str]:
        """The contents of the corpus."""
        return corpora.resolved(self.corpus)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Each case's own picture, made on prompts that are not its own."""
        questions, target = self._corpus()
        pictures = (ctx.source_image(case, size_px=self.size_px, shapes=self.shapes) for case in cases)
        for batch in batches(pictures, self.batch):
            found = self.descend(batch, questions, target, ctx)
            seen = [picture.case.conversation.last_user_text() in questions for picture in batch]
            notes = [
                f"{self.method}: forced on {found.best[i].greedy_share:.0%} of the judged prompts; this "
                f"one is {'one' if seen[i] else 'none'} of the {len(questions)} seen"
                for i in range(len(batch))
            ]
            yield from image_drafts(batch, found, notes, seen)

    def descend(
        self, batch: Sequence[SourceImage], questions: Sequence[str], target: str, ctx: Craft
    ) -> whitebox.SearchResult:
        """The min-max: min over the picture, max over the perturbations of its prompts."""
        models = ctx.models
        levels = whitebox.from_pixels([picture.clean for picture in batch], models[0].device)
        pool = tuple(whitebox.Pair(prompt=batch[0].asked(question), target=target) for question in questions)
        problem = whitebox.Problem(
            objective=whitebox.Objective(victims=models, rows=(whitebox.TargetNLL(),)),
            constraint=whitebox.LinfBall(clean=levels, eps=Eps.parse(self.eps), init="normal"),
            optimizer=whitebox.SignGD(alpha=pixel_step(self.step, "step")),
            sampler=whitebox.Rotating(pool, min(self.prompts_per_step, len(pool))),
            adversary=self.adversary(len(pool)) if self.method == "cropa" else None,
        )
        keys = [picture.key for picture in batch]
        return ctx.minimize(problem, steps=self.steps, keys=keys)

    def adversary(self, prompts: int) -> whitebox.PromptAdversary:
        """The prompts' side: as many moves as there are prompts, the last one at `perturbation_until`."""
        return whitebox.PromptAdversary(
            alpha=self.perturbation_step,
            every=max(1, self.perturbation_until // prompts),
            until=self.perturbation_until,
        )

    def _corpus(self) -> tuple[tuple[str, ...], str]:
        """Questions and target."""
        rows = corpora.read_corpus(self.corpus) if self.corpus else ()
        questions = corpora.texts(rows) or self.prompts
        if not questions:
            raise UsageError(
                f"{self.card.name} needs `prompts:` or a `corpus:`, questions that users may ask, "
                "others than the cases' (Sightline ships none but those of preset `testbed`)"
            )
        replies = {row.reply for row in rows if row.prompt and row.reply}
        given = self.target == "unknown" and len(replies) == 1
        target = replies.pop() if given else self.target
        return (questions[:1] if self.method == "single_p" else questions), target
