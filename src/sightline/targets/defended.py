"""`defended/DEFENSE:TARGET`: a defense around any target, itself a target.

What this wrapper guarantees, so that no defense can get it wrong:

* every call is recorded (`Response.calls`) and counted (`Response.cost`), of helpers and nested defenses too;
* `raw` keeps the first inner answer (no check before it) whenever the user sees another text;
* a provider's block or an error in an inner call is the result, whatever the defense makes of it:
  an exception never becomes a refusal, and a block never becomes the defense's success;
* a defense cannot answer on its own: a text with stop 'stop' needs an inner answer behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from sightline import registry
from sightline.cases import Conversation
from sightline.clocks import Clocked, clocked
from sightline.closure import code_of
from sightline.contracts import Calls, Decoding, Defense, Images, OpenTarget, Target
from sightline.defending import Defending, LooksInside, NeedsHelpers, NeedsInside, not_inside
from sightline.digests import digest
from sightline.errors import ContractError, UsageError
from sightline.fitting import Fits, not_fitted, refuse_foreign
from sightline.records import Response
from sightline.targets._asked import checked
from sightline.targets._behind import PASSED_ON, Behind, InterruptedByTarget, seed_for
from sightline.untrusted import sanitized


class Unrecorded:
    """Asks, and keeps nothing. Satisfies `contracts.Calls`."""

    async def ask(self, target: Target, conversation: Conversation, decoding: Decoding) -> Response:
        """See `Calls.ask`."""
        return await target.generate(conversation, decoding)


class _NoImages:
    """Where nobody said where pictures are kept."""

    def __getattr__(self, name: str) -> Any:
        raise ContractError("this defended target was made without a place for pictures: give it `images`")


class DefendedTarget:
    """A target behind a defense; its `id` holds the defense's settings, code and helpers, and the inner id.

    Args:
        defense: the method.
        inner: the target behind it.
        images: where pictures are kept; only for defenses that read or make some.
        open_target: opens the helpers that the defense names.

    Raises:
        UsageError: for a defense that looks into a target which cannot be looked into, one that has not
            learned, or on another target, and for a helper that cannot be opened.
    """

    def __init__(
        self,
        defense: Defense,
        inner: Target,
        images: Images | None = None,
        open_target: OpenTarget | None = None,
    ) -> None:
        self._defense = defense
        self._inner = inner
        self._images: Any = _NoImages() if images is None else images
        if isinstance(defense, NeedsInside) and defense.looks_inside and not isinstance(inner, LooksInside):
            raise UsageError(not_inside(defense.card.name, inner.id.partition("#")[0]))
        refuse_foreign(defense, inner)
        self._helpers = _opened(defense, open_target)
        helpers = [(role, helper.id) for role, helper in sorted(self._helpers.items())]
        code = digest(registry.identity(defense), code_of(__name__), *([helpers] if helpers else []))[:8]
        self.id = f"defended/{registry.spec(defense)}@{code}:{inner.id}"

    def __repr__(self) -> str:
        return f"DefendedTarget({self.id!r})"

    @property
    def defense(self) -> Defense:
        """The method."""
        return self._defense

    @property
    def inner(self) -> Target:
        """The target behind it."""
        return self._inner

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        """The reply that the user of the defended system sees; see `generate_through`."""
        return await self.generate_through(conversation, decoding, Unrecorded())

    async def generate_through(
        self, conversation: Conversation, decoding: Decoding, calls: Calls
    ) -> Response:
        """The reply that the user of the defended system sees, with the inner calls made by `calls`.

        Raises:
            ContractError: if the defense returns no `Response`, or an answer without asking the target.
        """
        name = self._defense.card.name
        behind = Behind(self._inner, self._helpers, decoding, calls, name)
        context = Defending(
            images=self._images,
            seed=seed_for(decoding, conversation),
            answers=behind,
            looks=self._inner if isinstance(self._inner, LooksInside) else None,
            target=self._inner.id.partition("#")[0],
            defense=name,
        )
        with clocked() as time:
            try:
                response = await self._defense.respond(checked(conversation), context)
            except InterruptedByTarget as interrupted:
                response = interrupted.response
            else:
                broken = next((found for found in behind.responses if found.stop in PASSED_ON), None)
                response = broken if broken is not None else self._kept(response, behind)
        return self._sealed(response, behind, time)

    def _kept(self, response: Response, behind: Behind) -> Response:
        """Check the defense's promise."""
        name = registry.spec(self._defense)
        if not isinstance(response, Response):
            raise ContractError(f"defense {name} returned {type(response).__name__}, not a Response")
        if not behind.responses and response.stop not in ("blocked_defense", "error"):
            raise ContractError(
                f"defense {name} answered with stop={response.stop!r} without asking its target"
            )
        return response

    def _sealed(self, response: Response, behind: Behind, time: Clocked) -> Response:
        """Add the record of inner calls, their cost, what all took, the first raw answer and all flags."""
        raw = None
        if behind.first is not None:
            first = behind.first
            bare = first.text if first.raw is None else first.raw
            raw = bare if bare != response.text else None
        return sanitized(
            replace(
                response,
                raw=raw,
                calls=tuple(behind.calls),
                cost=time.of(behind.cost),
                flags=tuple(dict.fromkeys((*behind.flags, *response.flags))),
            )
        )


def refuse_unready(defense: Defense, inner: str, *, provided: bool) -> None:
    """Tell what a defense lacks before its target is opened, which may lack something else, such as a key.

    Args:
        defense: the method.
        inner: target string of what stands behind it.
        provided: whether `inner` asks a provider, whose models cannot be looked into.

    Raises:
        UsageError: for a helper that no setting names, a defense that has not learned, and one that looks
            into a provider's model.
    """
    name = defense.card.name
    if isinstance(defense, NeedsInside) and defense.looks_inside and provided:
        raise UsageError(not_inside(name, inner))
    if isinstance(defense, NeedsHelpers):
        for role, helper in defense.helpers.items():
            if not helper:
                raise UsageError(_unnamed(defense, role))
    if isinstance(defense, Fits) and defense.must_learn and not defense.state:
        raise UsageError(not_fitted(name))


def _unnamed(defense: Defense, role: str) -> str:
    """What to say of a helper that no setting names: the setting is `model`, or called as its role."""
    settings = {each.name for each in fields(defense)}  # type: ignore[arg-type]  # methods are dataclasses
    key = "model" if "model" in settings else role
    head = ", or `head: FOLDER` (a trained classifier)" if key == "detector" and "head" in settings else ""
    return (
        f"defense {defense.card.name!r} asks a model of its own and none is named: write `{key}: TARGET` "
        f"beside it, such as {key}: openai/gpt-4o-mini or {key}: vlm/FOLDER{head}"
    )


def _opened(defense: Defense, open_target: OpenTarget | None) -> Mapping[str, Target]:
    """The helpers of a defense by role.

    Raises:
        UsageError: naming the role, for one that cannot be opened.
    """
    if not isinstance(defense, NeedsHelpers):
        return {}
    found: dict[str, Target] = {}
    for role, name in defense.helpers.items():
        where = f"defense {defense.card.name!r}, role {role!r}"
        if not name:
            raise UsageError(_unnamed(defense, role))
        if open_target is None:
            raise ContractError(f"{where}: nobody said how targets are opened")
        try:
            found[role] = open_target(name)
        except UsageError as wrong:
            raise UsageError(f"{where}: {wrong}") from None
    return found
