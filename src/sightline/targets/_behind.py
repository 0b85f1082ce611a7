"""What stands behind a defense for one answer: target, helpers, the model from inside; all recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sightline.cases import Conversation
from sightline.contracts import Calls, Decoding, MakesCalls, Target
from sightline.defending import ANSWER, Floats, Inner, Inside, LooksInside
from sightline.digests import digest
from sightline.errors import ContractError, TransientError
from sightline.records import NO_COST, Call, Cost, Response
from sightline.targets._asked import checked
from sightline.untrusted import sanitized

PASSED_ON = frozenset({"content_filter", "error"})
TRIES = 4
"""Of a call to a helper that fails, the first one included."""
BACKOFF_SECONDS = 1.0


class InterruptedByTarget(Exception):  # noqa: N818 - not an error: control flow from a call to the wrapper
    """A call of the target ended in a block or an error: the defense is left at once."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.stop)
        self.response = response


@dataclass(frozen=True, slots=True)
class _FromInside:
    """The target, writing as a defense says. Satisfies `Target`."""

    target: Target
    inside: Inside
    how: Inner

    @property
    def id(self) -> str:
        return self.target.id

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        return await self.inside.write(conversation, decoding, self.how)


class Behind:
    """Asks on behalf of a defense, and keeps what was asked and answered. Satisfies `defending.Answers`."""

    def __init__(
        self, target: Target, helpers: Mapping[str, Target], decoding: Decoding, calls: Calls, defense: str
    ) -> None:
        self._target = target
        self._helpers = helpers
        self._decoding = decoding
        self._calls = calls
        self._defense = defense
        self._cost = NO_COST
        self.responses: list[Response] = []
        self.first: Response | None = None
        """The first reply to the request itself, which is the raw one: checks before it do not count."""
        self.calls: list[Call] = []

    async def generate(
        self, conversation: Conversation, purpose: str, changes: Mapping[str, Any], how: Inner | None
    ) -> Response:
        """See `Defending.generate`."""
        decoding = replace(self._decoding, **changes)
        target = self._target
        if how is not None:
            assert isinstance(target, LooksInside)  # `Defending.generate` has seen to it
            target = _FromInside(target, target.inside(), how)
        response = await self._asked(target, checked(conversation), decoding)
        self.responses.append(response)
        if self.first is None and purpose == ANSWER:
            self.first = response
        self._keep(purpose, conversation, response, response.cost)
        if response.stop in PASSED_ON:
            raise InterruptedByTarget(response)
        return response

    async def ask(
        self, role: str, conversation: Conversation, purpose: str, settings: Mapping[str, Any]
    ) -> Response:
        """See `Defending.ask`."""
        helper = self._helpers.get(role)
        if helper is None:
            raise ContractError(
                f"defense {self._defense!r} asks in the role {role!r}, which is none of its helpers"
            )
        response = await self._patiently(helper, checked(conversation), Decoding(**settings))
        calls = response.cost.calls_target + response.cost.calls_aux
        cost = replace(response.cost, calls_target=0, calls_judge=0, calls_aux=max(1, calls))
        self._keep(purpose, conversation, response, cost)
        return replace(response, cost=cost)

    async def states(self, conversation: Conversation, inside: Inside) -> Floats:
        """See `Defending.states`."""
        found = await inside.states(checked(conversation))
        self._looked("states", conversation)
        return found

    async def next_scores(self, conversation: Conversation, prefix: str, inside: Inside) -> Floats:
        """See `Defending.next_scores`."""
        found = await inside.next_scores(checked(conversation), prefix)
        self._looked("next_scores", conversation)
        return found

    @property
    def cost(self) -> Cost:
        """Of all calls so far."""
        return self._cost

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of all replies of the target, each once, in order."""
        return tuple(dict.fromkeys(flag for response in self.responses for flag in response.flags))

    async def _asked(self, target: Target, conversation: Conversation, decoding: Decoding) -> Response:
        if isinstance(target, MakesCalls):
            return await target.generate_through(conversation, decoding, self._calls)
        return await self._calls.ask(target, conversation, decoding)

    async def _patiently(self, helper: Target, conversation: Conversation, decoding: Decoding) -> Response:
        """One reply of a helper; passing failures are retried, then become stop 'error'."""
        failure = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
            try:
                return sanitized(await self._asked(helper, conversation, decoding))
            except TransientError as passing:
                failure = str(passing)
        return sanitized(Response(text="", stop="error", error=failure))

    def _keep(self, purpose: str, conversation: Conversation, response: Response, cost: Cost) -> None:
        """The record of one call: of a defended target, the calls that it made itself."""
        self._cost = self._cost + cost
        if response.calls:
            self.calls += [replace(call, purpose=f"{purpose}/{call.purpose}") for call in response.calls]
            return
        self.calls.append(
            Call(
                purpose=purpose,
                asked=conversation.last_user_text(),
                text=response.text,
                stop=response.stop,
                tokens_in=cost.tokens_in,
                tokens_out=cost.tokens_out,
            )
        )

    def _looked(self, purpose: str, conversation: Conversation) -> None:
        """A look into the model runs its prompt once."""
        self._cost = self._cost + Cost(forwards=1)
        self.calls.append(Call(purpose=purpose, asked=conversation.last_user_text(), text="", stop="stop"))


def seed_for(decoding: Decoding, conversation: Conversation) -> int:
    """The seed of what a defense draws at random for one answer; another try of sampling draws anew."""
    return int(digest("defending", decoding.seed, conversation), 16) % 2**63
