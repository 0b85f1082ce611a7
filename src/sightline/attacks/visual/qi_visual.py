"""One adversarial picture for every request, made to raise the likelihood of a small corpus of answers.

Qi et al., "Visual Adversarial Examples Jailbreak Aligned Large Language Models", AAAI 2024, section 3: the
picture minimizes the negative log-likelihood of the corpus, given the picture alone, by signed steps on a few
sentences at a time. Official: Unispac/Visual-Adversarial-Examples-Jailbreak-Large-Language-Models,
*_utils/visual_attacker.py. Constants read there: 5,000 steps of 1/255, 8 sentences a step, drawn without
replacement; start uniform in the ball, or uniform noise without a bound; 224 x 224 pixels.

The corpus is the user's (`targets:`, a list of sentences): Sightline ships none but that of the invented
world (preset `testbed`: requests for recipes of restricted training topics and their answers; the cases of
`testbed_requests` are about other topics in other words).

Deviations. The official script returns its last picture; here the best one on 16 fixed sentences is kept.
Its MiniGPT-4 path trains behind two beginning-of-text tokens and generates behind one; here both are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sightline import whitebox
from sightline.attacks import corpora
from sightline.attacks.toolkit import checks_of, levels, pixel_step, prompt_with_image
from sightline.cards import Presets, Renamed
from sightline.cases import Case, Eps, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack

PRESETS: Presets = {
    "eps16": {"eps": "16/255"},
    "eps32": {"eps": "32/255"},
    "eps64": {"eps": "64/255"},
}


@attack(
    "qi_visual",
    paper="arXiv:2306.13213",
    source="Unispac/Visual-Adversarial-Examples-Jailbreak-Large-Language-Models: visual_attacker.py",
    threat=ThreatModel(access="white", may_edit=frozenset({"image"})),
    surrogate=True,
    scope="universal",
    presets=PRESETS,
    renamed={
        "corpus": Renamed("corpus", corpora.former),
        "alpha_levels": Renamed("step", levels),
        "end_levels": Renamed("final_step", levels),
    },
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class QiVisual(Attack):
    """Settings.

    Attributes:
        targets: sentences whose likelihood is raised, behind an empty prompt.
        corpus: a file or registered corpus of them, with their prompts if it has such, instead of `targets`.
        eps: bound around a picture of shapes, such as '32/255'; '' for none.
        size_px: side of the picture's file, unless the caller gives a picture.
        shapes: number of shapes in the picture that is perturbed, unless the caller gives one.
        steps: of the descent.
        step: size of a step, such as '1/255'.
        final_step: size of the last one; steps shrink evenly (as `step`: they do not).
        targets_per_step: sentences a step.
    """

    targets: tuple[str, ...] = ()
    corpus: str = ""
    eps: str = ""
    size_px: int = 224
    shapes: int = 5
    steps: int = 5000
    step: str = "1/255"
    final_step: str = "1/255"
    targets_per_step: int = 8

    def __post_init__(self) -> None:
        require(16 <= self.size_px <= 4096, "size_px", self.size_px, "16..4096 pixels")
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(self.targets_per_step >= 1, "targets_per_step", self.targets_per_step, "at least 1")
        if self.corpus and self.targets:
            raise UsageError(f"{self.card.name} takes `targets` or a `corpus`, not both")
        if self.eps:
            Eps.parse(self.eps)
        pixel_step(self.step, "step")
        pixel_step(self.final_step, "final_step")

    def resolved(self) -> Mapping[str, str]:
        """The contents of the corpus."""
        return corpora.resolved(self.corpus)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The same picture for every case."""
        clean = ctx.shared_image(size_px=self.size_px, shapes=self.shapes)
        found = self.descend(clean, ctx)
        asked = {pair.prompt.last_user_text() for pair in self._pool(clean)}
        for case in cases:
            yield Draft(
                case=case,
                text=None,
                image=found.pixels[0],
                clean=clean if self.eps else None,
                trace=found.losses[0],
                checks=checks_of(found),
                cost=found.costs[0],
                shared=True,
                in_training_set=case.conversation.last_user_text() in asked,
                note=f"{found.stop_reasons[0]}; best at step {found.best[0].step}, "
                f"loss {found.best[0].loss:.3f}",
            )

    def descend(self, clean: Pixels, ctx: Craft) -> whitebox.SearchResult:
        """Equation 1: the picture that makes the corpus likely."""
        pool = self._pool(clean)
        levels = whitebox.from_pixels([clean], ctx.models[0].device)
        bounded = whitebox.LinfBall(clean=levels, eps=Eps.parse(self.eps), init="ball") if self.eps else None
        problem = whitebox.Problem(
            objective=whitebox.Objective(victims=ctx.models, rows=(whitebox.TargetNLL(),)),
            constraint=bounded or whitebox.Box(clean=levels, init="uniform"),
            optimizer=whitebox.SignGD(
                alpha=pixel_step(self.step, "step"),
                end=pixel_step(self.final_step, "final_step"),
                schedule="linear",
            ),
            sampler=whitebox.WithoutReplacement(pool, min(self.targets_per_step, len(pool))),
        )
        return ctx.minimize(problem, steps=self.steps)

    def _pool(self, clean: Pixels) -> tuple[whitebox.Pair, ...]:
        """The corpus as pairs of prompt and target."""
        rows = corpora.read_corpus(self.corpus) if self.corpus else ()
        sentences = rows or tuple(corpora.Dialogue(reply=text) for text in self.targets)
        if not sentences:
            raise UsageError(
                f"{self.card.name} needs a `corpus:` or `targets:` with the sentences to make likely "
                "(Sightline ships none but those of preset `testbed`)"
            )
        return tuple(
            whitebox.Pair(
                prompt=prompt_with_image(row.prompt, clean), target=row.reply, closed=bool(row.prompt)
            )
            for row in sentences
        )
