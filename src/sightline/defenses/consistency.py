"""Ask the same request in text; if the target refuses it there, withhold its answer to the picture.

Ours; the simplest baseline for `ecso` and for a guard that reads pictures: the target is its own reader and
its own guard. (1) answer; a refusal is the result; (2) read the words in the pictures; (3) put request and
words to the target without the picture: if it refuses those, the answer is withheld. Two further calls. What
a picture shows without words is not checked, and what the target misreads is checked wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending, Defense
from sightline.defenses._guarding import blocked
from sightline.defenses._refusals import read_refusal, refusal_judge
from sightline.defenses._texts import filled, with_last_text, without_pictures, wording
from sightline.records import WITHHELD, Response

_BARE = " \t\n.,;:!?\"'"


@registry.defense(
    "consistency",
    source="Sightline; own texts: defenses/texts/consistency.yaml",
    data=("texts/consistency.yaml",),
    presets={"testbed": {"wording": "testbed", "refusals": "refusal_prefix(phrases='anywhere')"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency(Defense):
    """Settings.

    Attributes:
        wording: name of a set of questions in `texts/consistency.yaml`.
        refusals: the judge by rule that says whether a reply is a refusal: `name` or `name(setting=value)`.
    """

    wording: str = "natural"
    refusals: str = "refusal_prefix"
    _judge: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wording("consistency", self.wording, "wording of defense 'consistency'")
        object.__setattr__(self, "_judge", refusal_judge(self.refusals))

    @property
    def inner(self) -> tuple[Any, ...]:
        """The judge of refusals."""
        return (self._judge,)

    @property
    def calls(self) -> int:
        """Answer, read, ask in text."""
        return 3

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Answer, unless the same request is refused in text."""
        answer = await ctx.generate(conversation)
        if not any(True for _ in conversation.images) or await self._refused(conversation, answer):
            return answer
        texts = wording("consistency", self.wording, "wording")
        read = await ctx.generate(with_last_text(conversation, texts["read"]), purpose="read")
        words = read.text.strip(_BARE)
        typed = filled(texts["typed"], request=conversation.last_user_text(), words=words)
        said = await ctx.generate(without_pictures(conversation, typed), purpose="typed")
        if await self._refused(conversation, said):
            return blocked(answer, texts["refusal"], "refused_in_text")
        return answer

    async def _refused(self, conversation: Conversation, reply: Response) -> bool:
        return (await read_refusal(self._judge, conversation, reply)).outcome in WITHHELD
