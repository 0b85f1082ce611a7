"""`defended/DEFENSE:TARGET`: a defense around any target, itself a target.

What this wrapper guarantees, so that no defense can get it wrong:

* every inner call is recorded (`Response.calls`) and counted (`Response.cost`), of nested defenses too;
* `raw` keeps the first inner answer whenever the user sees another text;
* a provider's block or an error in an inner call is the result, whatever the defense makes of it:
  an exception never becomes a refusal, and a block never becomes the defense's success;
* a defense cannot answer on its own: a text with stop 'stop' needs an inner answer behind it.
"""

from __future__ import annotations

from dataclasses import replace

from sightline import registry
from sightline.cases import Conversation
from sightline.closure import code_of
from sightline.contracts import Calls, Decoding, Defense, MakesCalls, Target
from sightline.digests import digest
from sightline.errors import ContractError
from sightline.records import NO_COST, Call, Cost, Response
from sightline.targets._asked import checked
from sightline.untrusted import sanitized

_PASSED_ON = frozenset({"content_filter", "error"})


class _Interrupted(Exception):  # noqa: N818 - not an error: control flow from `generate` to the wrapper
    """An inner call ended in a block or an error: the defense is left at once."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.stop)
        self.response = response


class _Unrecorded:
    """Asks, and keeps nothing. Satisfies `contracts.Calls`."""

    async def ask(self, target: Target, conversation: Conversation, decoding: Decoding) -> Response:
        """See `Calls.ask`."""
        return await target.generate(conversation, decoding)


class _Recorder:
    """The `generate` that a defense gets: asks the inner target, keeps what was asked and answered."""

    def __init__(self, inner: Target, decoding: Decoding, calls: Calls) -> None:
        self._inner = inner
        self._decoding = decoding
        self._calls = calls
        self.responses: list[Response] = []
        self.calls: list[Call] = []

    async def __call__(self, conversation: Conversation, *, purpose: str = "answer") -> Response:
        request = checked(conversation)
        if isinstance(self._inner, MakesCalls):
            response = await self._inner.generate_through(request, self._decoding, self._calls)
        else:
            response = await self._calls.ask(self._inner, request, self._decoding)
        self.responses.append(response)
        self.calls.extend(_calls(purpose, conversation, response))
        if response.stop in _PASSED_ON:
            raise _Interrupted(response)
        return response

    def cost(self) -> Cost:
        """Sum over the inner calls."""
        return sum((response.cost for response in self.responses), NO_COST)

    def flags(self) -> tuple[str, ...]:
        """Flags of all inner responses, each once, in order."""
        return tuple(dict.fromkeys(flag for response in self.responses for flag in response.flags))


def _calls(purpose: str, conversation: Conversation, response: Response) -> list[Call]:
    """The record of one inner call: of a defended inner target, the calls that it made itself."""
    if response.calls:
        return [replace(call, purpose=f"{purpose}/{call.purpose}") for call in response.calls]
    return [
        Call(
            purpose=purpose,
            asked=conversation.last_user_text(),
            text=response.text,
            stop=response.stop,
            tokens_in=response.cost.tokens_in,
            tokens_out=response.cost.tokens_out,
        )
    ]


class DefendedTarget:
    """A target behind a defense; its `id` holds the defense's settings, its code and the inner id."""

    def __init__(self, defense: Defense, inner: Target) -> None:
        self._defense = defense
        self._inner = inner
        code = digest(registry.identity(defense), code_of(__name__))[:8]
        self.id = f"defended/{registry.spec(defense)}@{code}:{inner.id}"

    def __repr__(self) -> str:
        return f"DefendedTarget({self.id!r})"

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        """The reply that the user of the defended system sees; see `generate_through`."""
        return await self.generate_through(conversation, decoding, _Unrecorded())

    async def generate_through(
        self, conversation: Conversation, decoding: Decoding, calls: Calls
    ) -> Response:
        """The reply that the user of the defended system sees, with the inner calls made by `calls`.

        Raises:
            ContractError: if the defense returns no `Response`, or an answer without asking the target.
        """
        recorder = _Recorder(self._inner, decoding, calls)
        try:
            response = await self._defense.respond(checked(conversation), recorder)
        except _Interrupted as interrupted:
            response = interrupted.response
        else:
            broken = next((found for found in recorder.responses if found.stop in _PASSED_ON), None)
            response = broken if broken is not None else self._kept(response, recorder)
        return self._sealed(response, recorder)

    def _kept(self, response: Response, recorder: _Recorder) -> Response:
        """Check the defense's promise."""
        name = registry.spec(self._defense)
        if not isinstance(response, Response):
            raise ContractError(f"defense {name} returned {type(response).__name__}, not a Response")
        if not recorder.responses and response.stop != "blocked_defense":
            raise ContractError(
                f"defense {name} answered with stop={response.stop!r} without asking its target"
            )
        return response

    def _sealed(self, response: Response, recorder: _Recorder) -> Response:
        """Add the record of inner calls, their cost, the first raw answer and all flags."""
        raw = None
        if recorder.responses:
            first = recorder.responses[0]
            bare = first.text if first.raw is None else first.raw
            raw = bare if bare != response.text else None
        return sanitized(
            replace(
                response,
                raw=raw,
                calls=tuple(recorder.calls),
                cost=recorder.cost(),
                flags=tuple(dict.fromkeys((*recorder.flags(), *response.flags))),
            )
        )
