"""A run of tokens behind each request that makes the model begin its answer as the attacker wants (GCG).

Zou et al., "Universal and Transferable Adversarial Attacks on Aligned Language Models", 2023, section 2, on
multimodal models: s minimizes the negative log-likelihood of the opening given the picture (where the case
has one), the request and s. Greedy coordinate gradient: the gradient to the one-hot tokens names 256 tokens
for each place; 512 candidates change one place each, evenly spread over the places, and the best one is taken
even if it is worse than what there was. Constants read in llm_attacks/gcg/gcg_attack.py and its configuration
template (through a fork): 20 times "!", 500 steps, 512 candidates of the 256 best, ASCII only. The search for
a single request in the same repository runs 1,000 steps; GraySwanAI/nanoGCG defaults to 250 steps, 20 times
"x", and places at random (preset `nanogcg`).

`targets` may hold the case's wordings, as in "Sure, here is {key_phrase}"; all of them are made likely at
once. Sightline ships none but the opening of a recipe of the invented world (preset `testbed`).

Deviations. Success is that greedy decoding writes one whole target, judged by the model's own argmax at every
step; the official code looks every 50 steps for refusal phrases. The best suffix is kept, not the last one.
Candidates that repeat each other are scored once. A suffix counts only if the target's tokenizer reads its
text as the tokens that were scored; the official filter compares lengths. Of several surrogates the losses
are summed; they have to share a tokenizer.

Control: preset `testbed_random` adds as many random words, without a search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline import whitebox
from sightline.attacks.gradients import readers
from sightline.attacks.toolkit import baseline_draft, openings, suffix_draft
from sightline.cards import Presets, Renamed
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import NO_COST, Cost, Draft
from sightline.registry import attack
from sightline.rng import seed_of

PRESETS: Presets = {"nanogcg": {"steps": 250, "start": "x", "places": "random"}}


@attack(
    "gcg",
    paper="arXiv:2307.15043",
    source="llm-attacks/llm-attacks: llm_attacks/gcg/gcg_attack.py (read in a fork); GraySwanAI/nanoGCG",
    threat=ThreatModel(access="white", may_edit=frozenset({"text"})),
    control_when={"baseline": (True,)},
    alike=("length", "place"),
    surrogate=True,
    scope="batched",
    presets=PRESETS,
    renamed={"said": Renamed("baseline", {True: "control", False: "found"}.get)},
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GCG(Attack):
    """Settings.

    Attributes:
        targets: beginnings of the answer; `{key_phrase}` is that of the case.
        length: tokens of the suffix.
        start: a word that is repeated at the start; '' draws words at random.
        place: behind the request, or before it.
        steps: of the search, at most.
        candidates: tried at a step.
        topk: tokens per place that they are drawn from.
        places: which places they change, all as often or any at random.
        baseline: no search: a control with the words that the search would begin with.
        check_every: steps from one entry of the record to the next.
    """

    targets: tuple[str, ...] = ()
    length: int = 20
    start: str = "!"
    place: Literal["behind", "before"] = "behind"
    steps: int = 500
    candidates: int = 512
    topk: int = 256
    places: Literal["even", "random"] = "even"
    baseline: bool = False
    check_every: int = 25

    def __post_init__(self) -> None:
        require(1 <= self.length <= 1024, "length", self.length, "1 to 1,024 tokens")
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(1 <= self.candidates <= 1_000_000, "candidates", self.candidates, "1 to 1,000,000")
        require(self.topk >= 1, "topk", self.topk, "at least 1")
        require(self.check_every >= 1, "check_every", self.check_every, "at least 1 step")

    def first_step(self, models: int) -> Cost:
        """The candidates, where the step begins, and the text alone, as written and as read back."""
        return NO_COST if self.baseline else Cost(forwards=models * (self.candidates + 4), backwards=models)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """A suffix of its own for every case."""
        suffix = whitebox.TokenSuffix(length=self.length, init=self.start, place=self.place)
        for case in cases:
            key = seed_of("suffix", case.id)
            models = readers(ctx, suffix, ctx.own_image(case))
            if self.baseline:
                yield baseline_draft(case, suffix, models[0], seed_of(ctx.seed, key))
                continue
            wanted = openings(self.targets, case, ctx)
            pairs = tuple(
                whitebox.Pair(prompt=case.conversation, target=text, closed=False) for text in wanted
            )
            found = self.search(models, pairs, ctx, key)
            written = "is" if found.best.greedy_share else "is not"
            yield suffix_draft(
                case, suffix, found, [f"{wanted[0]!r} {written} what greedy decoding begins with"]
            )

    def search(
        self,
        models: tuple[whitebox.SuffixReader, ...],
        pairs: tuple[whitebox.Pair, ...],
        ctx: Craft,
        key: int,
    ) -> whitebox.TokenSearchResult:
        """Greedy coordinate gradient on the likelihood of the openings, up to the first success."""
        problem = whitebox.TextProblem(
            readers=models,
            optimizer=whitebox.GCG(candidates=self.candidates, topk=self.topk, places=self.places),
            sampler=whitebox.FixedPairs(pairs),
            stop=whitebox.any_target_greedy,
        )
        return ctx.search(problem, steps=self.steps, key=key, every=self.check_every)
