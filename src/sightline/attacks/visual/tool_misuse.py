"""A picture that makes a model call a tool, then answer the user as if nothing had happened.

Fu et al., "Misusing Tools in Large Language Models With Visual Adversarial Examples", arXiv 2310.03185. For
pairs (q, r) of a user's prompt and a natural reply, x minimizes

    NLL(call | x, q)  +  lambda_r * NLL(r | x, q, call)  +  lambda_i * sum over channels of ||x - x0||_2

over all pictures: the change is made small by the last term alone. The tool's call comes first, as the
application reads it, then the reply that the user reads.

No official code was found; the loss is quoted in public reviews of the paper, its per-channel norm and the
preference for a large lambda_r (about 1) too. Not verified, hence ours: optimizer (Adam), its rate, steps,
lambda_i, means over tokens. The paper takes the best of three runs on three pictures; here every picture is
run once, and the picture with the least loss on held-out pairs is kept.

The pairs are the study's (`dialogues`), never its cases: what is asked beside the case's own picture is
unseen; replies to questions about the picture are kept only as far as the pairs hold such questions. A
draft's note says on how many held-out pairs the call, and the call with the whole reply, is what
greedy decoding writes. In a study, judge the call with `target_string(target=..., mode=prefix)`; the natural
reply is kept where the benchmark's own judge still finds the answer. Cases that share a picture share its
attacked form, whose whole cost stands with each of them.

The testbed's calls are about a word that nobody said. `tool : delete ( all )`, whose last word no training
text of the testbed holds, is reached at the reply's expense only: "all" stays the hard token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline import whitebox
from sightline.attacks import corpora
from sightline.attacks.corpora import read_corpus
from sightline.attacks.scenes import check_scene
from sightline.attacks.toolkit import SourceImage, batches, checks_of, levels, pixel_step, prompt_with_image
from sightline.cards import Renamed
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "tool_misuse",
    paper="arXiv:2310.03185",
    source="none found; the loss is quoted in the paper's public reviews",
    threat=ThreatModel(attacker="third_party", access="white", may_edit=frozenset({"image"})),
    surrogate=True,
    scope="batched",
    applies_to=frozenset({"comply", "answer"}),
    renamed={
        "lr_levels": Renamed("lr", levels),
        "end_levels": Renamed("final_lr", levels),
        "corpus": Renamed("corpus", corpora.former),
    },
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolMisuse(Attack):
    """Settings.

    Attributes:
        call: what the application would take for a tool's call.
        dialogues: prompts and natural replies.
        corpus: a file or registered corpus of dialogues, instead.
        between: stands between call and reply.
        lambda_reply: weight of the reply's loss.
        lambda_image: weight of the change, of l2 norms in pixels of [0, 1].
        lr: Adam's first rate, such as '2/255'.
        final_lr: its last; between them a cosine (as `lr`: it stays).
        steps: of the descent.
        pairs_per_step: drawn without replacement.
        held_out: pairs that only choose the picture.
        batch: cases at a time, where their pictures are of one size.
        size_px: side of the drawing for cases without a picture.
        shapes: in that drawing.
    """

    call: str = ""
    dialogues: tuple[tuple[str, str], ...] = ()
    corpus: str = ""
    between: str = " "
    lambda_reply: float = 1.0
    lambda_image: float = 0.02
    lr: str = "2/255"
    final_lr: str = "2/255"
    steps: int = 2000
    pairs_per_step: int = 4
    held_out: int = 8
    batch: int = 8
    size_px: int = 224
    shapes: int = 5

    def __post_init__(self) -> None:
        require(0 < self.lambda_reply <= 1000, "lambda_reply", self.lambda_reply, "more than 0, at most 1000")
        require(0 < self.lambda_image <= 1000, "lambda_image", self.lambda_image, "more than 0, at most 1000")
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(self.pairs_per_step >= 1, "pairs_per_step", self.pairs_per_step, "at least 1 pair")
        require(self.held_out >= 1, "held_out", self.held_out, "at least 1 pair")
        require(self.batch >= 1, "batch", self.batch, "at least 1 case")
        check_scene(self.size_px, self.shapes)
        if self.corpus and self.dialogues:
            raise UsageError(f"{self.card.name} takes `dialogues` or a `corpus`, not both")
        pixel_step(self.lr, "lr")
        pixel_step(self.final_lr, "final_lr", zero=True)

    def resolved(self) -> Mapping[str, str]:
        """The contents of the corpus."""
        return corpora.resolved(self.corpus)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Each case's own picture, changed."""
        dialogues = self._dialogues()
        asked = {question for question, _ in dialogues}
        pictures = (ctx.source_image(case, size_px=self.size_px, shapes=self.shapes) for case in cases)
        for batch in batches(pictures, self.batch):
            unique = list({picture.clean.tobytes(): picture for picture in batch}.values())
            found = self.descend(unique, dialogues, ctx)
            notes = self._kept(unique, found, dialogues, ctx)
            place = {picture.clean.tobytes(): i for i, picture in enumerate(unique)}
            for picture in batch:
                i = place[picture.clean.tobytes()]
                best = found.best[i]
                yield Draft(
                    case=picture.case,
                    image=found.pixels[i],
                    clean=picture.clean,
                    trace=found.losses[i],
                    checks=checks_of(found, i),
                    cost=found.costs[i],
                    in_training_set=picture.case.conversation.last_user_text() in asked,
                    note=f"best at step {best.step}, loss {best.loss:.3f}; {notes[i]}",
                )

    def descend(
        self, pictures: Sequence[SourceImage], dialogues: Sequence[tuple[str, str]], ctx: Craft
    ) -> whitebox.SearchResult:
        """Adam on the three-part loss, for some pictures at once."""
        models = ctx.models
        clean = whitebox.from_pixels([picture.clean for picture in pictures], models[0].device)
        first, held = pictures[0], self.held_out
        length = _length(models, clean, self._pair(first, dialogues[0][0]))
        whole = [self._pair(first, asked, reply) for asked, reply in dialogues]

        def of_call(tokens: whitebox.Tokens) -> Any:
            return tokens.position < length

        def of_reply(tokens: whitebox.Tokens) -> Any:
            return tokens.position >= length

        problem = whitebox.Problem(
            objective=whitebox.Objective(
                victims=models,
                rows=(
                    whitebox.TargetNLL(weights=of_call),
                    whitebox.TargetNLL(weight=self.lambda_reply, weights=of_reply),
                ),
                pictures=(whitebox.ImageRegularizer(clean=whitebox.unit(clean), weight=self.lambda_image),),
            ),
            constraint=whitebox.Box(clean=clean),
            optimizer=whitebox.Adam(
                lr=pixel_step(self.lr, "lr"),
                end=pixel_step(self.final_lr, "final_lr", zero=True),
                schedule="cosine",
            ),
            sampler=whitebox.WithoutReplacement(
                tuple(whole[held:]), min(self.pairs_per_step, len(whole) - held)
            ),
            probe=tuple(whole[:held]),
        )
        keys = [picture.key for picture in pictures]
        return ctx.minimize(problem, steps=self.steps, keys=keys)

    def _kept(
        self,
        pictures: Sequence[SourceImage],
        found: whitebox.SearchResult,
        dialogues: Sequence[tuple[str, str]],
        ctx: Craft,
    ) -> list[str]:
        """On how many held-out pairs each picture brings about the call, and the reply behind it."""
        models, held = ctx.models, dialogues[: self.held_out]
        calls = [self._pair(pictures[0], asked) for asked, _ in held]
        whole = [self._pair(pictures[0], asked, reply) for asked, reply in held]
        objective = whitebox.Objective(victims=models, rows=(whitebox.TargetNLL(),))
        n, notes = len(held), []
        for pixels in found.pixels:
            x = whitebox.unit(whitebox.from_pixels([pixels], models[0].device))
            (row,) = objective.probe(x, [*calls, *whole]).target_is_greedy.tolist()
            calls_kept, all_kept = sum(row[:n]), sum(row[n:])
            notes.append(
                f"of {n} held-out prompts {calls_kept} get the call, {all_kept} the natural reply as well"
            )
        return notes

    def _pair(self, picture: SourceImage, asked: str, reply: str | None = None) -> whitebox.Pair:
        """A prompt with the call, or with the call and the reply behind it."""
        prompt = prompt_with_image(asked, picture.clean)
        if reply is None:
            return whitebox.Pair(prompt=prompt, target=self.call, closed=False)
        return whitebox.Pair(prompt=prompt, target=f"{self.call}{self.between}{reply}")

    def _dialogues(self) -> list[tuple[str, str]]:
        """Prompts and natural replies, those held out first."""
        rows = read_corpus(self.corpus) if self.corpus else ()
        given = [(row.prompt, row.reply) for row in rows] or self.dialogues
        found = list(dict.fromkeys(given))
        if not self.call:
            raise UsageError(
                f"{self.card.name} needs a `call`: the text that the application takes for a tool's call"
            )
        if len(found) <= self.held_out:
            raise UsageError(
                f"{self.card.name} has {len(found)} dialogues and holds {self.held_out} of them out: "
                "give more `dialogues` (a prompt and its natural reply each), lower held_out, or take preset "
                "`testbed`"
            )
        return found


def _length(models: Sequence[whitebox.Victim], clean: Any, call: whitebox.Pair) -> int:
    """How many tokens the call has.

    Raises:
        UsageError: if the models do not agree, so that one weight per place would not do.
    """
    x = whitebox.unit(clean[:1])
    lengths = {int(model.rows(x, [call]).ids.shape[0]) for model in models}
    if len(lengths) > 1:
        raise UsageError(
            f"the call has {sorted(lengths)} tokens in the surrogates: craft on each of them alone"
        )
    return lengths.pop()
