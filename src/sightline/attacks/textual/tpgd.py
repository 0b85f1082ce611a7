"""Reword a request, a few tokens at a time, until the model answers otherwise: T-PGD on embeddings.

Yuan et al., "Bridge the Gap Between CV and NLP! A Gradient-based Textual Adversarial Attack Framework",
Findings of ACL 2023: delta is added to a proxy's hidden state and rises along the gradient of
``CE_task + beta CE_rec`` in steps of a set l2 length (adv_lr times the text's length over the usual one),
without projection; after each step every attackable place is decoded to a token, and a candidate that is
more like the text than the best one until now is asked of the victim. Official: Phantivia/T-PGD,
utils/Attacker.py, Block.py, Prober.py, LaunchTPGD.ipynb. Constants read there, for SST-2: 100 random starts
of 20 steps, adv_lr 5, start magnitude 3, beta -0.5, similarity limits 0.30 and 0.95; one random word is
masked in each start.

Deviations, most of them because the paper's victims are classifiers and its proxy is a masked language model.
The task is the margin between an answer to be reached (`reach`) and one to be avoided (`avoid`), the two
classes of the decision; without `reach` it is untargeted. Causal models have no masked-LM head: delta stands
at the input embeddings, and a place decodes to the token whose embedding is nearest in direction, if that is
nearer than its own. The masked word starts at the mean embedding. Similarity is the cosine of mean input
embeddings, where the paper asks the Universal Sentence Encoder; antonyms are not filtered. Proxy and victim
are one model, which is asked without sampling; transfer is measured by other targets of a study. The usual
length is not read off a data set: `usual_length`, our choice. A phrase that names what is asked stays.

Where no rewording works, the draft is the request as it is, and says so. Control: preset `testbed_random`
puts random words in all places that may change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline import whitebox
from sightline.attacks.toolkit import openings
from sightline.cards import Presets, Renamed
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import NO_COST, Cost, Draft
from sightline.registry import attack
from sightline.rng import seed_of

PRESETS: Presets = {"ag_news": {"rate": 10.0}, "mnli": {"rate": 1.0, "beta": -10.0}}


@attack(
    "tpgd",
    paper="arXiv:2110.15317",
    source="Phantivia/T-PGD: utils/Attacker.py, Block.py, Prober.py, LaunchTPGD.ipynb",
    threat=ThreatModel(access="white", may_edit=frozenset({"text"})),
    control_when={"baseline": (True,)},
    alike=("keep",),
    surrogate=True,
    scope="batched",
    presets=PRESETS,
    renamed={
        "said": Renamed("baseline", {True: "control", False: "found"}.get),
        "segments": Renamed("restarts"),
        "least": Renamed("min_similarity"),
        "most": Renamed("max_similarity"),
    },
    extra="local",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TPGD(Attack):
    """Settings.

    Attributes:
        avoid: beginnings of the answer that is given now; `{key_phrase}` is that of the case.
        reach: beginnings of the answer that is wanted; () only drives away from `avoid`.
        keep: the case's wording whose tokens stay; '' lets everything change.
        restarts: random starts.
        steps: of each.
        rate: length of a step in the embeddings' unit, times the text's length over `usual_length`.
        usual_length: tokens.
        start_length: of a random start, divided by length and width of the text.
        beta: weight of the reconstruction, not positive.
        min_similarity: similarity below which a start is given up.
        max_similarity: similarity at which the search ends.
        baseline: no search: a control with random words in all places that may change.
    """

    avoid: tuple[str, ...] = ()
    reach: tuple[str, ...] = ()
    keep: str = "key_phrase"
    restarts: int = 100
    steps: int = 20
    rate: float = 5.0
    usual_length: float = 20.0
    start_length: float = 3.0
    beta: float = -0.5
    min_similarity: float = 0.3
    max_similarity: float = 0.95
    baseline: bool = False

    def __post_init__(self) -> None:
        require(1 <= self.restarts <= 1_000_000, "restarts", self.restarts, "1 to 1,000,000")
        require(1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000")
        require(self.rate > 0, "rate", self.rate, "more than 0")
        require(self.usual_length > 0, "usual_length", self.usual_length, "more than 0 tokens")
        require(self.start_length >= 0, "start_length", self.start_length, "at least 0")
        require(self.beta <= 0, "beta", self.beta, "at most 0")
        require(
            -1 <= self.min_similarity <= self.max_similarity <= 1,
            "min_similarity",
            self.min_similarity,
            "-1 to `max_similarity`, which is at most 1",
        )

    def first_step(self, models: int) -> Cost:
        """A step of the distributions, and the text that it writes."""
        return NO_COST if self.baseline else Cost(forwards=3, backwards=1)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """A rewording of its own for every case."""
        for case in cases:
            key = seed_of("rewording", case.id)
            problem = self.problem(case, ctx)
            if self.baseline:
                text = whitebox.scrambled(problem, seed=ctx.seed, key=key)
                yield Draft(case=case, text=text.strip(), note="control: random words")
                continue
            found = ctx.rewrite(problem, restarts=self.restarts, steps=self.steps, key=key)
            changed = found.best.step > 0
            told = f"found at step {found.best.step}" if changed else "nothing found"
            yield Draft(
                case=case,
                text=found.text.strip() if changed else None,
                trace=found.losses,
                checks=tuple((check.step, check.loss, check.greedy_share) for check in found.checks),
                cost=found.cost,
                note=f"{found.stop_reason}; {told}",
            )

    def problem(self, case: Case, ctx: Craft) -> whitebox.Rewriting:
        """Margin and reconstruction of a case's text."""
        reader, prompt = whitebox.whole_text(ctx.model, case.conversation, ctx.own_image(case))
        return whitebox.Rewriting(
            reader=reader,
            prompt=prompt,
            avoid=openings(self.avoid, case, ctx, "avoid") if self.avoid or not self.reach else (),
            reach=openings(self.reach, case, ctx, "reach") if self.reach else (),
            kept=case.wordings.get(self.keep, "") if self.keep else "",
            beta=self.beta,
            rate=self.rate,
            usual_length=self.usual_length,
            start_length=self.start_length,
            min_similarity=self.min_similarity,
            max_similarity=self.max_similarity,
        )
