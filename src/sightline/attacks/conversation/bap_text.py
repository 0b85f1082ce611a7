"""A helper explains why a reply failed and rewrites the question by four strategies (BAP, text stage).

Ying et al., "Jailbreak Vision Language Models via Bi-Modal Adversarial Prompt", arXiv:2406.04031, the stage
after its adversarial picture. Official:
NY1024/BAP-Jailbreak-Vision-Language-Models-via-Bi-Modal-Adversarial-Prompt, CoT.py, commit 5350c0b.
Verified there: one template with intention, last question and last reply, the request to reason step by
step why the reply failed, four named strategies (contextual deception, semantic rephrasing, educational
inquiry, ethical exploration), the new question between marks, a helper without a history (GPT-3.5). The
loop over rounds is not in the released code: their number here (5) is ours.

Deviations. The template is ours. The first question is the case's own, beside its pictures, which stay:
BAP's adversarial picture is an attack on a surrogate of its own (`qi_visual`); give its pictures as the
cases' own. The in-loop judge says when to stop, and what it says is told to the helper. Tags stand for the
official marks, which no released code reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.answers import parts
from sightline.attacks.conversation._texts import texts
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.loops import (
    Attempt,
    Best,
    attempts,
    check_counts,
    check_threshold,
    goal_slots,
    result,
    shown_reply,
)
from sightline.attacks.templates import filled
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import UsageError
from sightline.records import Draft
from sightline.registry import attack

Strategy = Literal[
    "contextual_deception", "semantic_rephrasing", "educational_inquiry", "ethical_exploration"
]
ALL: tuple[Strategy, ...] = (
    "contextual_deception",
    "semantic_rephrasing",
    "educational_inquiry",
    "ethical_exploration",
)


@attack(
    "bap_text",
    paper="arXiv:2406.04031",
    source="NY1024/BAP-Jailbreak-Vision-Language-Models-via-Bi-Modal-Adversarial-Prompt: CoT.py",
    threat=ThreatModel(oracle="undefended", may_edit=frozenset({"text"})),
    presets={each: {"strategies": (each,)} for each in ALL},
    data=("texts/bap_text.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class BapText(ConversingAttack):
    """Settings.

    Attributes:
        rounds: rewritings, at most, after the question as it is.
        strategies: those that the helper is told of.
        threshold: how far a reply goes (1 all, 0.5 a part of what is asked) that ends the loop.
        tries: of a helper whose answer cannot be read.
        max_tokens: of a helper's answer.
        temperature: of the helper.
    """

    rounds: int = 5
    strategies: tuple[Strategy, ...] = ALL
    threshold: float = 1.0
    tries: int = 3
    max_tokens: int = 1024
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_counts(rounds=self.rounds, tries=self.tries)
        check_threshold(self.threshold)
        if not self.strategies or len(set(self.strategies)) < len(self.strategies):
            raise UsageError(
                f"strategies={self.strategies!r}: name one or more of {', '.join(ALL)}, each once"
            )

    @property
    def calls(self) -> Mapping[str, int]:
        """The question as it is, then a rewriting, a reply and a verdict per round."""
        asked = self.rounds + 1
        return {"attacker": self.rounds * self.tries, "target": asked, "in_loop_judge": asked}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The question whose reply went furthest."""
        slots, best = goal_slots(case), Best(ctx, case)
        question = slots["asked"]
        for number in range(self.rounds + 1):
            note = f"round {number} of {self.rounds}"
            best.untried(question, note)
            tried = await attempts(ctx, case, [question])
            if tried.spent is not None:
                raise tried.spent
            (made,) = [each for each in tried.made if each is not None]
            if best.tried(made.dialogue, made.verdict, note) >= self.threshold or number == self.rounds:
                break
            answer = await ask_until_read(
                ctx,
                "attacker",
                prompt(texts("bap_text")["system"], self._question(slots, question, made)),
                parts("analysis", "question"),
                tries=self.tries,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
            )
            question = answer["question"]
        return best.found()

    def _question(self, slots: Mapping[str, str], question: str, made: Attempt) -> str:
        told = [texts("bap_text")[each] for each in self.strategies]
        return filled(
            texts("bap_text")["question"],
            goal=slots["goal"],
            picture=slots["picture"],
            question=question,
            reply=shown_reply(made.reply),
            result=result(made.verdict),
            strategies="\n".join(f"{place}. {each}" for place, each in enumerate(told, start=1)),
        )
