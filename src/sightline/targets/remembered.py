"""Targets of a finished run whose ids are remembered, so that doing nothing loads no provider."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from sightline.cases import Conversation
from sightline.closure import with_code
from sightline.contracts import Calls, Decoding, MakesCalls, Target
from sightline.digests import digest
from sightline.errors import ContractError
from sightline.records import Response
from sightline.targets import asks_provider, modules_of

_ADDRESS = re.compile(r"URL|ENDPOINT|HOST|BASE|REGION|PROJECT|LOCATION")


def stamp(name: str) -> str | None:
    """Digest of all that a provider's target is known by; None for one that is opened in no time anyway.

    That is its name, our code and Inspect's version, and whatever the environment says of addresses.
    """
    if not asks_provider(name):
        return None
    places = sorted((key, value) for key, value in os.environ.items() if _ADDRESS.search(key.upper()))
    return with_code(digest(name, places), *modules_of(name), packages=("inspect-ai",))


class RememberedTarget:
    """A target whose id is known; it is opened when it is first asked. Satisfies `contracts.MakesCalls`."""

    def __init__(self, identity: str, open_target: Callable[[], Target]) -> None:
        self.id = identity
        self._open = open_target
        self._opened: Target | None = None

    def opened(self) -> Target:
        """The target itself.

        Raises:
            ContractError: if it is not the one that was remembered.
        """
        if self._opened is None:
            self._opened = self._open()
            if self._opened.id != self.id:
                raise ContractError(f"{self.id} was remembered, and {self._opened.id} opened in its place")
        return self._opened

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        """One reply of the target itself.

        Raises:
            ContractError: if it is not the one that was remembered.
        """
        return await self.opened().generate(conversation, decoding)

    async def first_token(self, conversation: Conversation, decoding: Decoding) -> Mapping[str, float]:
        """What the target itself tells of its first token; nothing if it does not."""
        asked = getattr(self.opened(), "first_token", None)
        return {} if asked is None else await asked(conversation, decoding)

    async def generate_through(
        self, conversation: Conversation, decoding: Decoding, calls: Calls
    ) -> Response:
        """As `generate`; a target that asks others makes its requests by `calls`."""
        target = self.opened()
        if isinstance(target, MakesCalls):
            return await target.generate_through(conversation, decoding, calls)
        return await target.generate(conversation, decoding)
