"""Let the target review its own answer, ask whether it is sure, and withhold the answer if it says so.

Self-Moderation of Chen et al. 2023 (PrivQA, arXiv 2310.02224), after the project page's figure (no code
was released; the wording is ours): (1) answer; (2) moderation turn; (3) "are you sure?"; steps 2 and 3
are repeated `rounds` times, and the last decision counts. The picture stays in context. Target calls:
1 + 2 x rounds. Rounds are an axis to report, not a detail: in the paper one round helps GPT-4 and ruins
the small Llama-2 models. A reply that decides nothing keeps the previous state, is flagged
`moderation_unparsed`, and is never counted as a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sightline import registry
from sightline.cases import Conversation, Turn
from sightline.contracts import Defending, Defense
from sightline.defenses._texts import wording
from sightline.errors import require
from sightline.records import Response

Decision = Literal["abstain", "allow"]
_MARKUP = " \t*_#>`\"'-!"


@registry.defense(
    "self_moderation",
    paper="arXiv:2310.02224",
    source="llm-access-control/llm-access-control.github.io, index.html (figure); own texts",
    data=("texts/self_moderation.yaml",),
    presets={"testbed": {"wording": "testbed"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SelfModeration(Defense):
    """Settings.

    Attributes:
        rounds: how often the pair of moderation turn and "are you sure?" is asked; 0 = not at all.
        wording: name of a set of turns in `texts/self_moderation.yaml`.
    """

    rounds: int = 1
    wording: str = "natural"

    def __post_init__(self) -> None:
        require(0 <= self.rounds <= 16, "rounds", self.rounds, "0..16")
        wording("self_moderation", self.wording, "wording of defense 'self_moderation'")

    @property
    def calls(self) -> int:
        """The answer, and two turns per round."""
        return 1 + 2 * self.rounds

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Answer, moderate, decide."""
        texts = wording("self_moderation", self.wording, "wording")
        answer = await ctx.generate(conversation)
        state: Decision = "allow"
        unparsed = False
        dialogue, said = conversation, answer.text
        for _ in range(self.rounds):
            for purpose, question in (("moderate", texts["review"]), ("confirm", texts["again"])):
                dialogue = dialogue.then(Turn("assistant", (said,)), Turn("user", (question,)))
                said = (await ctx.generate(dialogue, purpose=purpose)).text
                decision = decision_of(said, texts)
                unparsed = unparsed or decision is None
                state = decision or state
        flags = (*answer.flags, "moderation_unparsed") if unparsed else answer.flags
        if state == "allow":
            return replace(answer, flags=flags)
        return replace(answer, text=texts["abstention"], stop="blocked_defense", flags=flags)


def decision_of(reply: str, texts: Mapping[str, str]) -> Decision | None:
    """What a moderation reply decides; None if it decides nothing, or two things, or goes on afterwards.

    A decision is a whole sentence or line of the agreed form, and the reply's last one.
    """
    words: dict[str, Decision] = {
        _normal(texts["decision"] + texts["abstain"]): "abstain",
        _normal(texts["decision"] + texts["allow"]): "allow",
    }
    sentences = [_normal(sentence) for sentence in re.split(r"[\n.]", reply)]
    sentences = [sentence for sentence in sentences if sentence]
    decisions = {words[sentence] for sentence in sentences if sentence in words}
    if len(decisions) != 1 or sentences[-1] not in words:
        return None
    return decisions.pop()


def _normal(sentence: str) -> str:
    """Lower case, without markup around it and without spaces around a colon or doubled ones."""
    plain = re.sub(r"\s*:[\s*_]*", ": ", sentence.strip(_MARKUP).lower())
    return " ".join(plain.strip(_MARKUP).split())
