"""A defense that another harness ran, under the name that it has in a table of responses.

Comes with `responses:` alone (docs/responses.md): a label of recorded responses, which are what the defended
model sent. What the defense does is not recorded, and it cannot be run here.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending, Defense
from sightline.errors import UsageError
from sightline.records import Response


@registry.defense("recorded", source="Sightline", elsewhere=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded(Defense):
    """`name`: that of the table."""

    name: str = ""

    @property
    def calls(self) -> int:
        """None: nothing is asked."""
        return 0

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:  # noqa: ARG002
        """Never.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"the defense {self.name!r} was run by another harness: it comes with `responses:`")
