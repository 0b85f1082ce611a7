"""Try any attack with several seeds on the target and keep the draft whose reply goes furthest (best of n).

Hughes et al., "Best-of-N Jailbreaking", arXiv:2412.03556: sample perturbed prompts until one succeeds.
Official: jplhughes/bon-jailbreaking, bon/attacks/run_text_bon.py and run_image_bon.py,
experiments/1a_run_text_bon.sh, commit c118210. Verified there: 7,200 draws per request (120 steps of 60),
target temperature 1, an end at the first success. Its perturbations are the attacks `augment` (of texts,
the default here) and `augment_drawn`; any other can be named, such as `text_template(family=persona_dual)`
or one that asks models itself.

Deviations. `n` is 10: state it beside every rate. A success in the loop is the in-loop judge's word; the
script that was found is asked again and scored by the study's judges, once (the paper counts the success of
the draw itself, so that a sampled reply need not come again).

`best_of_n(attack='none')` asks the plain request `n` times: the control for what comes of sampling alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sightline import registry
from sightline.attacks.conversation._inner import InnerTalk, run_inner
from sightline.attacks.dialogue import Dialogue, turns_of
from sightline.attacks.loops import Best, check_counts, check_threshold
from sightline.attacks.wordings import request
from sightline.budget import SpentError
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import IN_LOOP_JUDGE, TARGET, ConversingAttack, Craft
from sightline.errors import UsageError
from sightline.records import Draft
from sightline.registry import attack
from sightline.rng import seed_of

PRESETS: Presets = {"drawn": {"attack": "augment_drawn"}, "resampled": {"attack": "none"}}


@attack(
    "best_of_n",
    paper="arXiv:2412.03556",
    source="jplhughes/bon-jailbreaking: bon/attacks/run_text_bon.py",
    threat=ThreatModel(oracle="undefended"),
    control_when={"attack": ("none",)},
    presets=PRESETS,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN(ConversingAttack):
    """Settings.

    Attributes:
        attack: the attack that makes the drafts, as `name` or `name(setting=value)`.
        n: drafts, at most, each of its own seed.
        threshold: how far a reply goes (1 all, 0.5 a part of what is asked) that ends the search.
        turns: of the attack's scripts, at most: the target is asked once for each.
    """

    attack: str = "augment"
    n: int = 10
    threshold: float = 1.0
    turns: int = 1
    _inner: tuple[Any, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_counts(n=self.n, turns=self.turns)
        check_threshold(self.threshold)
        inner = registry.inner_attack(self.attack)
        card = inner.card
        if card.surrogate or card.scope == "universal":
            what = "is crafted on gradients" if card.surrogate else "makes one thing for all cases"
            raise UsageError(f"best_of_n: {card.name} {what}; name an attack that makes one draft per case")
        object.__setattr__(self, "_inner", (inner,))
        object.__setattr__(self, "attack", registry.spec(inner))

    @property
    def inner(self) -> tuple[Any, ...]:
        """The attack that makes the drafts."""
        return self._inner

    @property
    def eps(self) -> Any:
        """What the inner attack promises for every file."""
        return registry.promised(self._inner[0])

    @property
    def calls(self) -> Mapping[str, int]:
        """`n` times those of the attack, a call to the target per turn, and a verdict."""
        own = Counter({TARGET: self.turns, IN_LOOP_JUDGE: 1}) + Counter(getattr(self._inner[0], "calls", {}))
        return {role: self.n * number for role, number in own.items()}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The draft whose reply went furthest; of several that went equally far, the first."""
        request(case)  # there is something to ask
        (inner,), best = self._inner, Best(ctx, case)
        for number in range(1, self.n + 1):
            note, talk = f"draw {number} of {self.n}", InnerTalk(ctx.talk)
            try:
                draft = await run_inner(inner, case, ctx, talk, seed_of("draw", ctx.seed, number, bits=62))
            except SpentError:
                if talk.draft is not None:
                    best.untried_draft(talk.draft, note)
                raise
            best.untried_draft(draft, note)
            dialogue = await self._shown(draft, case, ctx)
            verdict = await dialogue.verdict()
            if best.tried_draft(draft, verdict, note) >= self.threshold:
                break
        return best.found()

    async def _shown(self, draft: Draft, case: Case, ctx: Craft) -> Dialogue:
        """The dialogue in which the target was shown a draft."""
        turns = turns_of(draft, ctx)
        if len(turns) > self.turns:
            raise UsageError(
                f"best_of_n: {self._inner[0].card.name} makes scripts of {len(turns)} turns; set turns="
                f"{len(turns)} or more, so that its calls can be counted"
            )
        dialogue = Dialogue(ctx, case)
        for turn in turns:
            await dialogue.send(turn)
        return dialogue
