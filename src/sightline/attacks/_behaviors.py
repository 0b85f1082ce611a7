"""B of behavior matching (Bailey et al.): what each context is to be answered with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import _invented
from sightline.cases import Conversation
from sightline.testbed import wordings
from sightline.testbed.world import SEND

Behavior = Literal["string", "leak", "jailbreak", "prompt_matching"]

#: where the user's text stands in the target of `leak`
CONTEXT = "{context}"
#: the settings that define each behavior
NEEDS: Mapping[Behavior, tuple[str, ...]] = {
    "string": ("contexts", "target"),
    "leak": ("contexts", "target"),
    "jailbreak": ("contexts", "replies"),
    "prompt_matching": ("contexts", "replies", "secret"),
}


@dataclass(frozen=True, slots=True)
class Plot:
    """Contexts and their replies; for prompt matching, the system text behind which these are given.

    `closed` says whether a reply ends the turn, or is only its beginning.
    """

    replies: Mapping[str, str]
    secret: str = ""
    closed: bool = True

    def reply(self, context: Conversation) -> str:
        """B of a context."""
        return self.replies[context.last_user_text()]


def testbed_plot(behavior: Behavior) -> Plot:
    """Contexts and replies of the invented world."""
    if behavior == "string":
        return Plot(dict.fromkeys(_invented.asked(), _invented.SAID))
    if behavior == "leak":
        return Plot({noun: wordings.TOOL_CALL.format(tool=SEND, noun=noun) for noun in _invented.nouns()})
    if behavior == "jailbreak":
        return Plot(dict(_invented.withheld()))
    secret = wordings.SHARED_PROMPTS[0].format(noun=_invented.SECRET)
    return Plot(dict(_invented.secrets()), secret)
