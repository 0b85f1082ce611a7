"""One picture that makes a model behave as the attacker says, whatever the user asks beside it.

Bailey et al., "Image Hijacks: Adversarial Images can Control Generative Models at Runtime", ICML 2024,
arXiv 2309.00236, behavior matching: x minimizes the mean over contexts of the loss to B(context), x in K.

Behaviors. `string`: always the answer `target`. `leak`: `target` holds `{context}`, the user's own text, as
in a tool call. `jailbreak`: each context's own reply of `replies`, as an affirmative opening.
`prompt_matching`: the distributions that the same model predicts along `replies` behind the system text
`secret`, so that the picture stands in for a prompt that is not there (a false fact, a persona).
Bounds K. `linf`: a ball of `eps` around a drawing. `patch`: a square of free pixels, its center at a fifth of
the height and half of the width. `moving_patch`: the same square at random places, at other ones when shown.

Official: euanong/image-hijacks, snapshot of September 2023. Read there: SGD on the raw gradient, lr 0.03, its
l2 norm clipped at 20 (also signed steps of 1/255: `optimizer: fgsm`); one context a step, cut at 200
characters, behind one of several system texts drawn anew; one epoch of about 118,000 contexts, a look at
held-out ones every 2,000 steps; 336 x 336 pixels; radii of 4, 8, 32, 255; a patch of 50 x 50. From the
paper, not in that code: prompt matching, the text along which distributions are compared (here `replies`).

Contexts are given by the study and never taken from its cases; a draft's note says whether its request was
among them all the same. The attacker is a third party that only places the picture (with `jailbreak`: the
user). Judge with `target_string`. Deviations: pixels are float32 (there float16, in which late steps of
dark gradients vanish); the picture kept is the one with the least loss on held-out contexts, not the most
successful; a moving patch is judged at a few fixed places while it is made, not at new ones each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sightline import whitebox
from sightline.attacks import corpora
from sightline.attacks.toolkit import checks_of, levels, pixel_step, prompt_with_image
from sightline.attacks.visual._behaviors import CONTEXT, NEEDS, Behavior, BehaviorSpec, spec_of, teacher_probs
from sightline.cards import Presets, Renamed
from sightline.cases import Case, Conversation, Eps, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import NO_COST, Cost, Draft, Pixels
from sightline.registry import attack
from sightline.rng import numpy_rng

if TYPE_CHECKING:
    import numpy as np

    Bounded: TypeAlias = whitebox.LinfBall | whitebox.Patch

Bound = Literal["linf", "patch", "moving_patch"]

#: the patch's center, as shares of height and width
CENTER = (0.2, 0.5)
PRESETS: Presets = {
    **{f"eps{levels}": {"eps": f"{levels}/255"} for levels in (4, 8, 32, 255)},
    "patch": {"bound": "patch"},
    "moving_patch": {"bound": "moving_patch", "patch_px": 160},
}


@attack(
    "image_hijack",
    paper="arXiv:2309.00236",
    source="euanong/image-hijacks: image_hijacks/components, experiments/exp_demo_imgs/config.py",
    threat=ThreatModel(attacker="third_party", access="white", may_edit=frozenset({"image"})),
    surrogate=True,
    scope="universal",
    applies_to=frozenset({"refuse", "comply", "answer"}),
    presets=PRESETS,
    renamed={"corpus": Renamed("corpus", corpora.former), "alpha_levels": Renamed("step", levels)},
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHijack(Attack):
    """Settings.

    Attributes:
        behavior: what the model is to do.
        target: for `string` the answer; for `leak` it holds `{context}`.
        contexts: what users may ask.
        replies: one per context, for `jailbreak` and `prompt_matching`.
        secret: the system text that `prompt_matching` stands in for.
        systems: system texts that the user's application may have; '' is none.
        corpus: a file or registered corpus of contexts and what each is answered with, instead; its system
            text is the `secret`.
        bound: where and how far the picture may change.
        eps: for `linf`.
        patch_px: side of the patch.
        places_per_step: of a moving patch, for each context; 1 in the release.
        judged_places: fixed places at which a moving patch is judged while it is made.
        optimizer: `sgd` with `lr` and `clip`, or `fgsm` with `step`.
        lr: of the gradient in pixels of [0, 1].
        clip: its largest l2 norm.
        step: size of a signed step, such as '1/255'.
        steps: of the descent.
        contexts_per_step: drawn in rounds.
        held_out: contexts that only choose the picture.
        check_every: steps from one look at the held-out contexts to the next.
        cut_chars: longest context.
        size_px: side of the picture's file.
        shapes: number of shapes in the drawing.
    """

    behavior: Behavior = "string"
    target: str = ""
    contexts: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    secret: str = ""
    systems: tuple[str, ...] = ("",)
    corpus: str = ""
    bound: Bound = "linf"
    eps: str = "8/255"
    patch_px: int = 50
    places_per_step: int = 1
    judged_places: int = 4
    optimizer: Literal["sgd", "fgsm"] = "sgd"
    lr: float = 0.03
    clip: float = 20.0
    step: str = "1/255"
    steps: int = 118_000
    contexts_per_step: int = 1
    held_out: int = 16
    check_every: int = 2000
    cut_chars: int = 200
    size_px: int = 336
    shapes: int = 5

    def __post_init__(self) -> None:
        require(16 <= self.size_px <= 4096, "size_px", self.size_px, "16..4096 pixels")
        require(1 <= self.patch_px <= self.size_px, "patch_px", self.patch_px, "1 to size_px pixels")
        require(self.places_per_step >= 1, "places_per_step", self.places_per_step, "at least 1 place")
        require(self.judged_places >= 1, "judged_places", self.judged_places, "at least 1 place")
        require(self.lr > 0, "lr", self.lr, "more than 0")
        require(self.clip > 0, "clip", self.clip, "more than 0")
        require(1 <= self.steps <= 10_000_000, "steps", self.steps, "1 to 10,000,000")
        require(self.contexts_per_step >= 1, "contexts_per_step", self.contexts_per_step, "at least 1")
        require(self.held_out >= 1, "held_out", self.held_out, "at least 1 context")
        require(self.check_every >= 1, "check_every", self.check_every, "at least 1 step")
        require(self.cut_chars >= 1, "cut_chars", self.cut_chars, "at least 1 character")
        require(len(self.systems) >= 1, "systems", self.systems, "at least one text; '' is none")
        Eps.parse(self.eps)
        given = self.target or self.contexts or self.replies or self.secret
        if self.corpus and given:
            raise UsageError(
                f"{self.card.name} takes a corpus, or target, contexts, replies and secret; not both"
            )
        pixel_step(self.step, "step")

    def resolved(self) -> Mapping[str, str]:
        """The contents of the corpus."""
        return corpora.resolved(self.corpus)

    def first_step(self, models: int) -> Cost:
        """Every place of a moving patch, and where it is judged: twice, with a look at the start."""
        moving = self.bound == "moving_patch"
        places, judged = (self.places_per_step, self.judged_places) if moving else (1, 1)
        return Cost(forwards=models * (places + 2 * judged + 1), backwards=models * places)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The same picture for every case; a moving patch is at another place in each."""
        spec = self._spec()
        clean = ctx.shared_image(size_px=self.size_px, shapes=self.shapes)
        bounded = self._bounded(whitebox.from_pixels([clean], ctx.models[0].device))
        found = self.descend(clean, bounded, spec, ctx)
        best, trained = found.best[0], {context.casefold() for context in spec.replies}
        made = (
            f"{self.behavior}, {self.bound}: {found.stop_reasons[0]}; best at step {best.step}, loss "
            f"{best.loss:.3f}, forced on {best.greedy_share:.0%} of the held-out contexts"
        )
        for case in cases:
            text = case.conversation.last_user_text()[: self.cut_chars].casefold()
            yield Draft(
                case=case,
                image=self._shown(found, bounded, numpy_rng("place", ctx.seed, case.id)),
                clean=clean,
                trace=found.losses[0],
                checks=checks_of(found),
                cost=found.costs[0],
                shared=True,
                in_training_set=text in trained,
                note=f"{made}; the request was {'seen' if text in trained else 'not seen'} while crafting",
            )

    def descend(
        self, clean: Pixels, bounded: Bounded, spec: BehaviorSpec, ctx: Craft
    ) -> whitebox.SearchResult:
        """The picture in K beside which contexts are answered as B says."""
        models = ctx.models
        shown, held = self._contexts(clean, spec, ctx.seed)
        sampler = whitebox.Contexts(
            shown, spec.reply, self.systems, min(self.contexts_per_step, len(shown)), spec.closed
        )
        judged = whitebox.Contexts(held, spec.reply, self.systems, len(held), spec.closed)
        likely: whitebox.TargetNLL | whitebox.SoftLogits = whitebox.TargetNLL()
        before = NO_COST
        if spec.secret:
            soft = teacher_probs(ctx.model, spec.secret, (sampler, judged), bounded)
            likely, before = whitebox.SoftLogits(soft=soft), Cost(forwards=len(soft))
        problem = whitebox.Problem(
            objective=whitebox.Objective(victims=models, rows=(likely,)),
            constraint=bounded,
            optimizer=self._optimizer(),
            sampler=sampler,
            probe=judged.draw(0, ctx.seed),
            eval_constraints=self._eval_constraints(bounded, ctx.seed),
        )
        return ctx.minimize(problem, steps=self.steps, every=self.check_every, before=before)

    def _contexts(
        self, clean: Pixels, spec: BehaviorSpec, seed: int
    ) -> tuple[tuple[Conversation, ...], tuple[Conversation, ...]]:
        """Contexts to descend on, and those that only choose the picture."""
        prompts = [prompt_with_image(text, clean) for text in spec.replies]
        if len(prompts) <= self.held_out:
            raise UsageError(
                f"{self.card.name} has {len(prompts)} contexts and holds {self.held_out} of them out: "
                "give more contexts, or lower held_out"
            )
        order = numpy_rng("contexts", seed).permutation(len(prompts))
        mixed = [prompts[int(i)] for i in order]
        return tuple(mixed[self.held_out :]), tuple(mixed[: self.held_out])

    def _bounded(self, clean: Any) -> Bounded:
        """K."""
        if self.bound == "linf":
            return whitebox.LinfBall(clean=clean, eps=Eps.parse(self.eps))
        top, left = (self.size_px * share - self.patch_px / 2 for share in CENTER)
        most = self.size_px - self.patch_px
        place = (min(max(round(top), 0), most), min(max(round(left), 0), most))
        side, moving = self.patch_px, self.bound == "moving_patch"
        samples = self.places_per_step if moving else 1
        return whitebox.Patch(
            clean=clean, height=side, width=side, place=place, moving=moving, samples=samples
        )

    def _eval_constraints(self, bounded: Bounded, seed: int) -> tuple[whitebox.Constraint, ...]:
        """A moving patch where it is judged: always the same places, drawn apart from the cases' own."""
        if not (isinstance(bounded, whitebox.Patch) and bounded.moving):
            return ()
        places = numpy_rng("judged places", seed).integers(
            0, self.size_px - self.patch_px + 1, (self.judged_places, 2)
        )
        return tuple(replace(bounded, place=(int(top), int(left))) for top, left in places)

    def _optimizer(self) -> whitebox.SGD | whitebox.SignGD:
        if self.optimizer == "sgd":
            return whitebox.SGD(lr=self.lr, clip=self.clip)
        return whitebox.SignGD(alpha=pixel_step(self.step, "step"))

    def _shown(self, found: whitebox.SearchResult, bounded: Bounded, rng: np.random.Generator) -> Pixels:
        """The picture of a case."""
        if not (isinstance(bounded, whitebox.Patch) and bounded.moving):
            return found.pixels[0]
        top, left = rng.integers(0, self.size_px - self.patch_px + 1, size=2)
        return whitebox.as_pixels(replace(bounded, place=(int(top), int(left))).finalize(found.theta))[0]

    def _spec(self) -> BehaviorSpec:
        """B: what each context is to be answered with."""
        if self.corpus:
            return spec_of(self.behavior, corpora.read_corpus(self.corpus), self.cut_chars)
        contexts = tuple(context[: self.cut_chars] for context in self.contexts)
        needs = NEEDS[self.behavior]
        absent = " and ".join(name for name in needs if not getattr(self, name))
        if absent:
            raise UsageError(
                f"{self.card.name} with behavior {self.behavior!r} needs {' and '.join(needs)}; "
                f"empty: {absent} (Sightline ships none; preset `testbed` has the invented world's)"
            )
        if "replies" in needs and len(self.replies) != len(contexts):
            raise UsageError(
                f"{self.card.name} has {len(contexts)} contexts, {len(self.replies)} replies: "
                "give one for each"
            )
        if self.behavior == "leak" and CONTEXT not in self.target:
            raise UsageError(
                f"{self.card.name}: a leaking target holds {CONTEXT}, where the user's text is to stand"
            )
        replies = self.replies if "replies" in needs else [self.target.replace(CONTEXT, c) for c in contexts]
        return BehaviorSpec(
            dict(zip(contexts, replies, strict=True)), self.secret, closed=self.behavior != "jailbreak"
        )
