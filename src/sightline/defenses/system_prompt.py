"""Put a defensive instruction into the system turn (or around the request), from a bank of our own texts.

Kinds: `generic`; `detailed`, long lists of what may and may not be done, as in Wu et al. 2023 (arXiv
2311.09127, who recover and rewrite system prompts; their texts are not copied); `self_reminder`, before
and after the request (Xie et al., Nature Machine Intelligence 2023); `goal_priority` (Zhang et al., ACL
2024). The testbed_ wordings are in the small world's language. No further target calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending, Defense
from sightline.defenses._texts import wording
from sightline.records import Response
from sightline.whitebox import through

if TYPE_CHECKING:
    from sightline.whitebox.victim import Victim


@registry.defense(
    "system_prompt",
    paper="arXiv:2311.09127",
    source="own texts: defenses/texts/system_prompt.yaml",
    data=("texts/system_prompt.yaml",),
    presets={
        "detailed": {"prompt": "detailed"},
        "self_reminder": {"prompt": "self_reminder"},
        "goal_priority": {"prompt": "goal_priority"},
        "testbed": {"prompt": "testbed"},
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPrompt(Defense):
    """Settings.

    Attributes:
        prompt: name of a wording in the bank.
        placement: 'system' = the text's `before` goes to the system turn, ahead of one that is there;
            'user' = it goes before the last user turn, for targets that ignore the system role.
    """

    prompt: str = "generic"
    placement: Literal["system", "user"] = "system"

    def __post_init__(self) -> None:
        wording("system_prompt", self.prompt, "prompt of defense 'system_prompt'")

    @property
    def calls(self) -> int:
        """One: the request itself."""
        return 1

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Ask once, with the instruction in place."""
        return await ctx.generate(self.instructed(conversation))

    def through(self, victim: Victim) -> Victim:
        """See `through.PassesGradients`: the instruction is known, and the gradient exact."""
        return through.changed(self, victim, prompt=self.instructed)

    def instructed(self, conversation: Conversation) -> Conversation:
        """The conversation that the target sees."""
        texts = wording("system_prompt", self.prompt, "prompt")
        before = (texts["before"],) if self.placement == "user" else ()
        after = (texts["after"],) if "after" in texts else ()
        if before or after:
            conversation = conversation.with_last_user(*before, *conversation.last_user_turn.parts, *after)
        return conversation if self.placement == "user" else conversation.with_system(texts["before"])
