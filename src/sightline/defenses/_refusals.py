"""Whether a reply is a refusal, by a judge by rule that a setting names."""

from __future__ import annotations

from typing import Any

from sightline import registry
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Judge, NeedsTarget
from sightline.errors import UsageError
from sightline.records import Response, Verdict


def refusal_judge(refusals: str) -> Judge:
    """The judge of a setting `refusals`: `name` or `name(setting=value)`.

    Raises:
        UsageError: for a judge that asks a model.
    """
    judge: Any = registry.inner_method("judge", refusals)
    if isinstance(judge, NeedsTarget):
        raise UsageError(f"refusals: {refusals} asks a model; name a judge by rule, such as refusal_prefix")
    return judge  # type: ignore[no-any-return]


async def read_refusal(judge: Judge, asked: Conversation, reply: Response) -> Verdict:
    """What the judge says of a reply to a request of which nothing else is known."""
    text = asked.last_user_text()
    case = Case(
        id="request", conversation=asked, behavior=text, expected=Expected.refuse, category="", group=""
    )
    return await judge.judge(case, asked, reply)
