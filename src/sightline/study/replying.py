"""Replies of a target: one, with retries; and those to a script of several user turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeGuard

from sightline import registry
from sightline.cases import Conversation, Turn
from sightline.clocks import clocked
from sightline.contracts import Decoding, MakesCalls, Target
from sightline.errors import ContractError, TransientError, UsageError
from sightline.records import NO_COST, Call, Cost, Response
from sightline.study.call_log import AnswerCalls
from sightline.targets._asked import NOT_ENDED, UnfitError
from sightline.targets.remembered import RememberedTarget
from sightline.untrusted import sanitized

BACKOFF_SECONDS = 1.0
PLAYED_ON = frozenset({"stop", "length", "blocked_defense"})
"""Ends of a reply after which the user goes on; a provider's block or an error ends the dialogue."""


async def reply(
    target: Target,
    conversation: Conversation,
    decoding: Decoding,
    *,
    retries: int = 5,
    calls: AnswerCalls | None = None,
) -> Response:
    """One reply of a target: passing failures are retried with growing pauses, then become stop 'error'.

    Its latency and processor time hold all tries and the pauses between them.

    Raises:
        UsageError: what the user has to mend, such as a rejected key.
    """
    with clocked() as time_taken:
        response = await _tried(target, conversation, decoding, retries, calls)
    return replace(response, cost=time_taken.of(response.cost))


async def _tried(
    target: Target, conversation: Conversation, decoding: Decoding, retries: int, calls: AnswerCalls | None
) -> Response:
    """The first reply that does not fail, or what failed last."""
    started = time.perf_counter()
    failure = ""
    for attempt in range(retries + 1):
        try:
            response = sanitized(await _ask(target, conversation, decoding, calls))
        except TransientError as passing:
            failure = str(passing)
            if attempt < retries:
                await asyncio.sleep(BACKOFF_SECONDS * 2**attempt)
        except UnfitError as unfit:  # one request that this model cannot take
            failure = str(unfit)
            break
        except ImportError as broken:
            raise UsageError(f"{target.id}: a needed package cannot be imported: {broken}") from broken
        except (ContractError, UsageError):
            raise  # a wrong key or an unknown model: every further row would fail alike
        except Exception as bug:  # one poisoned row must not end a run of many; it is counted as an error
            failure = registry.told(bug)
            break
        else:
            if response.cost.seconds:
                return response  # a local model knows its share of the machine; waiting in line is no cost
            cost = response.cost + Cost(seconds=time.perf_counter() - started)
            return replace(response, cost=cost)
    cost = Cost(seconds=time.perf_counter() - started)
    return sanitized(Response(text="", stop="error", error=failure, cost=cost))


async def _ask(
    target: Target, conversation: Conversation, decoding: Decoding, calls: AnswerCalls | None
) -> Response:
    """One try. Of a target that asks others, the calls that have ended before are not made again."""
    if calls is None or not makes_calls(target):
        return await target.generate(conversation, decoding)
    calls.begin()
    return await target.generate_through(conversation, decoding, calls)


def makes_calls(target: Target) -> TypeGuard[MakesCalls]:
    """Whether a target asks others: `isinstance(target, MakesCalls)`, which is slow, once for each class."""
    return _makes_calls(type(target))


@cache
def _makes_calls(kind: type) -> bool:
    return issubclass(kind, MakesCalls)


@dataclass(frozen=True, slots=True)
class KeptCalls:
    """A target whose replies are taken from a log where they are there. Satisfies `Target`."""

    target: Target
    calls: AnswerCalls

    @property
    def id(self) -> str:
        """That of the target."""
        return self.target.id

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        """One try of the reply; of a defended target, the log holds the inner calls."""
        self.calls.begin()
        target = self.target.opened() if isinstance(self.target, RememberedTarget) else self.target
        if makes_calls(target):
            return await target.generate_through(conversation, decoding, self.calls)
        return await self.calls.ask(target, conversation, decoding)


async def play(
    target: Target,
    first: Conversation,
    follow_ups: Sequence[Turn],
    decoding: Decoding,
    *,
    retries: int = 5,
    calls: Callable[[int], AnswerCalls] | None = None,
) -> Response:
    """The reply to the last turn of a script: each user turn is sent after the reply to the one before.

    A turn that fails or is blocked ends the script: its response is the result.

    Args:
        target: answers.
        first: the conversation up to the first user turn.
        follow_ups: the user turns after it.
        decoding: of every turn.
        retries: of a failing call.
        calls: the log of a turn, by its number from 0.

    Raises:
        UsageError: as `reply`.
    """
    if first.turns and first.turns[-1].role != "user":
        raise UsageError(NOT_ENDED)
    if not follow_ups:
        logged = None if calls is None else calls(0)
        return await reply(target, first, decoding, retries=retries, calls=logged)
    conversation, replies, cost = first, list[str](), NO_COST
    made: list[Call] = []
    while True:
        number = len(replies)
        kept = target if calls is None else KeptCalls(target, calls(number))
        found = await reply(kept, conversation, decoding, retries=retries)
        cost = cost + found.cost
        made += [replace(call, purpose=f"turn {number + 1}/{call.purpose}") for call in found.calls]
        if number == len(follow_ups) or found.stop not in PLAYED_ON:
            return replace(found, replies=tuple(replies), calls=tuple(made), cost=cost)
        replies.append(found.text)
        conversation = first.played(follow_ups, replies)
