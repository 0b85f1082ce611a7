"""Attacks inside an attack: what they keep is not the outer one's draft yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sightline.cases import Case, Conversation
from sightline.contracts import Craft, converses
from sightline.craft import Talk
from sightline.errors import ContractError
from sightline.records import Draft, Pixels, Response, Verdict


@dataclass(slots=True)
class InnerTalk:
    """The talk of an inner attack: its calls are the outer one's, what it keeps stays here."""

    talk: Talk | None
    draft: Draft | None = None

    async def ask(
        self, role: str, conversation: Conversation, *, max_tokens: int, temperature: float
    ) -> Response:
        """See `Craft.ask`."""
        return await self._outer.ask(role, conversation, max_tokens=max_tokens, temperature=temperature)

    async def ask_target(self, conversation: Conversation) -> Response:
        """See `Craft.ask_target`."""
        return await self._outer.ask_target(conversation)

    async def verdict(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """See `Craft.verdict`."""
        return await self._outer.verdict(case, shown, response)

    async def picture_of(self, case: Case, prompt: str) -> Pixels:
        """See `Craft.picture_of`."""
        return await self._outer.picture_of(case, prompt)

    def keep(self, draft: Draft) -> None:
        """See `Craft.keep`."""
        self.draft = draft

    @property
    def _outer(self) -> Talk:
        if self.talk is None:
            raise ContractError("an inner attack asks models, and there is nobody to ask")
        return self.talk


async def run_inner(attack: Any, case: Case, ctx: Craft, talk: InnerTalk, seed: int) -> Draft:
    """The draft of one case, of an attack that converses or of one that does not.

    Raises:
        SpentError: if the budget ends it; `talk.draft` is what it kept by then.
    """
    world = replace(ctx, seed=seed, talk=talk)
    if converses(attack):
        made: Draft = await attack.converse(case, world)
        return made
    (draft,) = attack.craft([case], world)
    crafted: Draft = draft
    return crafted
