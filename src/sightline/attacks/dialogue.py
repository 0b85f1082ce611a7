"""What attacks that converse share: the dialogue with the target, helpers asked until read, side branches.

A reply that cannot be read, a refusal of a helper and an empty one end in an error of crafting that names
the helper and shows what it wrote; the calls are kept with the artifact (`Artifact.calls`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from sightline.budget import SpentError
from sightline.cases import Case, Conversation, Image, Part, Turn
from sightline.craft import Craft
from sightline.errors import UsageError
from sightline.records import WITHHELD, Draft, Outcome, Pixels, Response, Verdict
from sightline.stops import stopped
from sightline.store import encode_png

T = TypeVar("T")
SHOWN_CHARACTERS = 200
"""Of an unreadable reply, in the message."""
AGAIN = "That could not be read: {why}. Answer again, in exactly the form that was asked for."
PROGRESS = {Outcome.complied: 1.0, Outcome.partial: 0.5}


def progress(verdict: Verdict) -> float:
    """How far a reply goes towards what is asked, 0 to 1: complied 1, partial 0.5, all else 0."""
    return PROGRESS.get(verdict.outcome, 0.0)


def withheld(verdict: Verdict) -> bool:
    """Whether the answer was withheld: refused by the model, or blocked by a provider or a defense."""
    return verdict.outcome in WITHHELD


async def judged(ctx: Craft, case: Case, shown: Conversation, reply: Response) -> Verdict:
    """What a reply is to the loop: how it ended, where that decides (a block), else the judge's verdict.

    Raises:
        TransientError, SpentError: as `Craft.verdict`.
    """
    return stopped(reply, "how the reply ended") or await ctx.verdict(case, shown, reply)


class Settled(NamedTuple, Generic[T]):
    """What came of works side by side, in their order.

    Attributes:
        results: of each; None for one that the budget did not pay for.
        spent: the first error of the budget.
    """

    results: list[T | None]
    spent: SpentError | None


async def settled(works: Sequence[Awaitable[T]]) -> Settled[T]:
    """Results of works that run side by side, all of them ended: none goes on behind an error of another.

    Works begin in their order, so that calls that ask the same are told apart by it, however long they take.
    Where the budget ended one, what could not be read of another does not matter any more.

    Raises:
        Exception: the first error by order that is none of the budget.
    """
    ended = await asyncio.gather(*works, return_exceptions=True)
    errors = [each for each in ended if isinstance(each, BaseException)]
    spent = next((each for each in errors if isinstance(each, SpentError)), None)
    for error in errors:
        if spent is None or not isinstance(error, UsageError):
            raise error
    return Settled([None if isinstance(each, BaseException) else each for each in ended], spent)


def put(ctx: Craft, pixels: Pixels) -> Image:
    """A picture that a turn of a dialogue can show: written as PNG, uint8 height x width x 3."""
    return ctx.images.put(encode_png(pixels))


def prompt(system: str, *parts: Part) -> Conversation:
    """A question to a helper: what it is to do ('' = nothing is said of it), then text and pictures."""
    asked = Conversation.user(*parts)
    return asked.with_system(system) if system else asked


async def ask_until_read(
    ctx: Craft,
    role: str,
    question: Conversation,
    read: Callable[[str], T],
    *,
    tries: int = 3,
    max_tokens: int = 512,
    temperature: float = 0.0,
) -> T:
    """What a helper's reply says. An unreadable one is answered with what was wrong, up to `tries` times.

    Args:
        ctx: of the attack.
        role: of the helper.
        question: to it.
        read: gives what the text says; raises ValueError, whose words say what is missing.
        tries: calls at most.
        max_tokens: of a reply.
        temperature: of the helper.

    Raises:
        UsageError: if no reply could be read, with the last one's beginning.
        TransientError, SpentError: as `Craft.ask`.
    """
    why = text = ""
    for _ in range(tries):
        reply = await ctx.ask(role, question, max_tokens=max_tokens, temperature=temperature)
        text = reply.text
        try:
            return read(_whole(reply))
        except ValueError as unread:
            why = str(unread)
        said = Turn("assistant", (text,)) if text.strip() else Turn("assistant", ("(nothing)",))
        question = question.then(said, Turn("user", (AGAIN.format(why=why),)))
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."
    raise UsageError(
        f"{ctx.attack}: the {role} gave no answer that can be read in {tries} tries: {why}; "
        f"it last wrote {shown!r}"
    )


def _whole(reply: Response) -> str:
    """The text of a reply that ended by itself. Raises ValueError for one that did not, or is empty."""
    if reply.stop != "stop":
        endings = {"length": "it is cut off", "content_filter": "its provider blocked it"}
        raise ValueError(endings.get(reply.stop, f"it ended by {reply.stop}"))
    if not reply.text.strip():
        raise ValueError("it is empty")
    return reply.text


class Exchange(NamedTuple):
    """A user turn and the target's reply to it."""

    asked: Turn
    reply: Response


@dataclass(slots=True)
class Dialogue:
    """A dialogue with the target, after what a case's conversation says before its last user turn."""

    ctx: Craft
    case: Case
    exchanges: list[Exchange] = field(default_factory=list)

    def shown(self, asked: Turn) -> Conversation:
        """All that the target sees if it is asked this now."""
        turns = _opening(self.case.conversation)
        for each in self.exchanges:
            turns += (each.asked, Turn("assistant", (each.reply.text,)))
        return Conversation((*turns, asked))

    @property
    def last_shown(self) -> Conversation:
        """What the target saw before its last reply.

        Raises:
            IndexError: before the first one.
        """
        before = Dialogue(self.ctx, self.case, self.exchanges[:-1])
        return before.shown(self.exchanges[-1].asked)

    async def say(self, text: str, *pictures: Image) -> Response:
        """The target's reply to the next user turn: pictures (see `put`), then text.

        Raises:
            TransientError, SpentError, ContractError: as `Craft.ask_target`.
        """
        return await self.send(Turn("user", (*pictures, text)))

    async def send(self, asked: Turn) -> Response:
        """The target's reply to a user turn as it stands, such as the case's own; as `say`."""
        reply = await self.ctx.ask_target(self.shown(asked))
        self.exchanges.append(Exchange(asked, reply))
        return reply

    def take_back(self) -> None:
        """Forget the last exchange, as if it had not been asked (backtracking)."""
        self.exchanges.pop()

    async def verdict(self) -> Verdict:
        """What the last reply is to the loop; see `judged`."""
        return await judged(self.ctx, self.case, self.last_shown, self.exchanges[-1].reply)

    def draft(self, note: str = "") -> Draft:
        """The script of the user turns said so far."""
        return script(self.ctx, self.case, [each.asked for each in self.exchanges], note)


def script(ctx: Craft, case: Case, turns: Sequence[Turn], note: str = "") -> Draft:
    """A draft of user turns, each sent after the target's reply to the one before; pictures by `put`.

    The case's own turn alone leaves the case as it is, whatever the order of its parts.
    """
    *before, last = turns
    if not before and last == case.conversation.last_user_turn:
        return Draft(case=case, note=note)
    own = case.conversation.last_user_turn.images
    kept = last.images == own
    images = () if kept else tuple(ctx.images.pixels(image) for image in last.images)
    return Draft(case=case, text=last.text, images=images, before=tuple(before), keep_images=kept, note=note)


def turns_of(draft: Draft, ctx: Craft) -> tuple[Turn, ...]:
    """The user turns that a draft stands for, as they are shown once it is sealed; see `script`."""
    own = draft.case.conversation.last_user_turn
    pixels = (draft.image,) if draft.image is not None else draft.images
    if draft.text is None and not pixels and draft.keep_images:
        return (*draft.before, own)
    kept = own.images if draft.keep_images else ()
    images = tuple(put(ctx, each) for each in pixels) or kept
    return (*draft.before, Turn("user", (*images, own.text if draft.text is None else draft.text)))


def _opening(conversation: Conversation) -> tuple[Turn, ...]:
    """The turns before the last user turn."""
    for index in range(len(conversation.turns) - 1, -1, -1):
        if conversation.turns[index].role == "user":
            return conversation.turns[:index]
    return conversation.turns
