"""Ask the question, and only while the reply is a refusal, follow up with a reason to answer after all.

The conversing form of `follow_up` (Chen et al. 2023; its card says what was read and what is not known): the
in-loop judge reads each reply, and the first one that does not withhold the answer ends the dialogue. The
artifact is the script of the turns that were said: one turn for a case that was answered at once. Replayed
on another target, which may refuse where this one did not, it has no more turns than here.

In the paper a person decided when to follow up; the rule is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.attacks.conversation._texts import chosen, texts
from sightline.attacks.conversation.follow_up import MEETS, WHAT, check_turns, follow_ups, told
from sightline.attacks.dialogue import Dialogue
from sightline.cases import Case, ThreatModel
from sightline.contracts import IN_LOOP_JUDGE, TARGET, ConversingAttack, Craft
from sightline.records import WITHHELD, Draft
from sightline.registry import attack


@attack(
    "follow_up_live",
    paper="arXiv:2310.02224",
    source="llm-access-control/llm-access-control.github.io: static/images/gpt-4v-1.png",
    threat=ThreatModel(oracle="undefended", may_edit=frozenset({"text"})),
    applies_to=MEETS,
    presets={"insist": {"wording": "insist"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpLive(ConversingAttack):
    """`wording`, `texts`: as of `follow_up`; several are tried in their order."""

    wording: str = "need"
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_turns(self.wording, self.texts)

    @property
    def calls(self) -> Mapping[str, int]:
        """One turn more than follow-ups, each judged."""
        turns = 1 + len(self.texts or chosen(texts("follow_up"), self.wording, WHAT))
        return {TARGET: turns, IN_LOOP_JUDGE: turns}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The turns up to the first reply that withholds nothing."""
        left = list(follow_ups(self.wording, self.texts, case))
        talk = Dialogue(ctx, case)
        await talk.send(case.conversation.last_user_turn)
        while (await talk.verdict()).outcome in WITHHELD and left:
            ctx.keep(talk.draft(told(len(talk.exchanges) - 1)))
            await talk.say(left.pop(0))
        return talk.draft(told(len(talk.exchanges) - 1))
