"""One run of words for every request, made to raise the likelihood of a small corpus of answers.

Qi et al., "Visual Adversarial Examples Jailbreak Aligned Large Language Models", AAAI 2024: the text
counterpart of `qi_visual`, to which the paper compares its cost. 32 words stand where the picture would; one
place after the other, the 50 single-token words with the best first-order change are tried on 8 sentences of
the corpus, and the best one is kept if it is better (HotFlip; Wallace et al., "Universal Adversarial
Triggers", 2019). Official: Unispac/Visual-Adversarial-Examples-Jailbreak-Large-Language-Models,
minigpt_utils/text_attacker.py. Constants read there and in its README: 32 random words to begin with, 50
candidates, 8 sentences. A step here is one place: 32 steps are one of its rounds. How many rounds were run
was not found; `steps` is our choice of 100 rounds.

The corpus is the user's (`targets:`, a list of sentences): Sightline ships none but that of the invented
world (preset `testbed`: requests of training topics; the cases of `testbed_requests` are about other topics
in other words). There the words stand behind the request, where they reach more unseen requests than before
it, and of each answer only the beginning counts.

Deviations. The official script joins words by spaces and flips a fixed offset, where a word that is read as
two tokens shifts everything; here a word is tried only if the target reads the text as the tokens that were
scored, else the next one. The best words on 16 fixed sentences are kept.

Control: preset `testbed_random` says as many random words, without a search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline import whitebox
from sightline.attacks import corpora
from sightline.attacks.gradients import readers
from sightline.attacks.toolkit import baseline_draft, suffix_draft
from sightline.cards import Renamed
from sightline.cases import Case, Conversation, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import NO_COST, Cost, Draft
from sightline.registry import attack


@attack(
    "qi_text",
    paper="arXiv:2306.13213",
    source="Unispac/Visual-Adversarial-Examples-Jailbreak-Large-Language-Models: text_attacker.py",
    threat=ThreatModel(access="white", may_edit=frozenset({"text"})),
    control_when={"baseline": (True,)},
    alike=("length", "place"),
    surrogate=True,
    scope="universal",
    renamed={
        "said": Renamed("baseline", {True: "control", False: "found"}.get),
        "corpus": Renamed("corpus", corpora.former),
    },
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class QiText(Attack):
    """Settings.

    Attributes:
        targets: sentences whose likelihood is raised, beside an empty prompt.
        corpus: a file or registered corpus of them, with their prompts if it has such, instead of `targets`.
        target_words: of each answer only so many words count; 0 for all.
        length: words.
        place: before the request, where a picture stands, or behind it.
        steps: of the search; each changes one place, in turn.
        candidates: words tried at a step.
        targets_per_step: sentences a step.
        baseline: no search: a control with the words that the search would begin with.
        check_every: steps from one look at the probe to the next.
    """

    targets: tuple[str, ...] = ()
    corpus: str = ""
    target_words: int = 0
    length: int = 32
    place: Literal["behind", "before"] = "before"
    steps: int = 3200
    candidates: int = 50
    targets_per_step: int = 8
    baseline: bool = False
    check_every: int = 32

    def __post_init__(self) -> None:
        require(self.target_words >= 0, "target_words", self.target_words, "at least 1, or 0 for all")
        require(1 <= self.length <= 1024, "length", self.length, "1 to 1,024 words")
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(self.candidates >= 1, "candidates", self.candidates, "at least 1")
        require(self.targets_per_step >= 1, "targets_per_step", self.targets_per_step, "at least 1")
        require(self.check_every >= 1, "check_every", self.check_every, "at least 1 step")
        if self.corpus and self.targets:
            raise UsageError(f"{self.card.name} takes `targets` or a `corpus`, not both")

    def resolved(self) -> Mapping[str, str]:
        """The contents of the corpus."""
        return corpora.resolved(self.corpus)

    def first_step(self, models: int) -> Cost:
        """The candidates, where the step begins, and the text alone, as written and as read back."""
        return NO_COST if self.baseline else Cost(forwards=models * (self.candidates + 4), backwards=models)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The same words for every case."""
        suffix = whitebox.TokenSuffix(length=self.length, init="", place=self.place, allowed="words")
        models = readers(ctx, suffix)
        if self.baseline:
            for case in cases:
                own = case.conversation
                text_alone = Conversation.user(own.last_user_text()) if any(own.images) else own
                yield baseline_draft(case, suffix, models[0], ctx.seed, shared=True, prompt=text_alone)
            return
        pool = self._pool()
        found = self.search(models, pool, ctx)
        asked = {pair.prompt.last_user_text() for pair in pool}
        for case in cases:
            seen = case.conversation.last_user_text() in asked
            yield suffix_draft(case, suffix, found, shared=True, seen=seen)

    def search(
        self, models: tuple[whitebox.SuffixReader, ...], pool: tuple[whitebox.Pair, ...], ctx: Craft
    ) -> whitebox.TokenSearchResult:
        """HotFlip on the likelihood of a few sentences at a time."""
        problem = whitebox.TextProblem(
            readers=models,
            optimizer=whitebox.HotFlip(candidates=self.candidates),
            sampler=whitebox.WithoutReplacement(pool, min(self.targets_per_step, len(pool))),
        )
        return ctx.search(problem, steps=self.steps, every=self.check_every)

    def _pool(self) -> tuple[whitebox.Pair, ...]:
        """The corpus as pairs of prompt and target."""
        rows = corpora.read_corpus(self.corpus) if self.corpus else ()
        sentences = rows or tuple(corpora.Dialogue(reply=text) for text in self.targets)
        if not sentences:
            raise UsageError(
                f"{self.card.name} needs a `corpus:` or `targets:` with the sentences to make likely "
                "(Sightline ships none but those of preset `testbed`)"
            )
        return tuple(self._pair(row.prompt, row.reply) for row in sentences)

    def _pair(self, asked: str, answer: str) -> whitebox.Pair:
        """A request and its answer, or the beginning of it."""
        target = " ".join(answer.split()[: self.target_words]) if self.target_words else answer
        closed = bool(asked) and not self.target_words
        return whitebox.Pair(prompt=Conversation.user(asked), target=target, closed=closed)
