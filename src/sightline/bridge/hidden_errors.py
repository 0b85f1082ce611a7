"""Errors that a provider sends as HTTP 200: they get the status that they should have had.

Routers and local servers answer `{"error": {"message": ..., "code": 502}}` with status 200, some of them
inside a choice. An SDK takes that for a completion without choices, and the provider's words are lost. With
the right status SDK and Inspect do with it what they do with any failure: keep its words, try again, give up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import orjson
from inspect_ai.model import ModelAPI

OK, BAD_REQUEST, BAD_GATEWAY = 200, 400, 502
_MARK = "sightline.disguised"
_LASTING = frozenset(
    {"content_filter", "context_length_exceeded", "invalid_request_error", "BadRequestError"}
)
"""Codes and types of errors that another try would meet again."""


def unmask_errors(api: ModelAPI) -> None:
    """Look at every reply that the provider's HTTP client gets, where it is one that can be looked at."""
    client = getattr(getattr(api, "client", None), "_client", None)  # of httpx, or httpx2 since openai 3
    hooks = getattr(client, "event_hooks", None)
    if isinstance(hooks, dict):
        hooks["response"].append(_unmask)


def words_of(failure: BaseException) -> str | None:
    """What a reply that came as HTTP 200 said, if a provider's exception stands for one."""
    extensions = getattr(getattr(failure, "response", None), "extensions", {})
    return str(extensions[_MARK]) if _MARK in extensions else None


class Disguised(NamedTuple):
    """An error inside a reply: the status that it should have had, and what it says."""

    status: int
    words: str


class _HttpReply(Protocol):
    """What is needed of an HTTP client's response."""

    status_code: int
    headers: Mapping[str, str]
    extensions: dict[str, Any]

    async def aread(self) -> bytes: ...


async def _unmask(response: _HttpReply) -> None:
    """Streams are left alone: the SDK finds errors in them itself."""
    if response.status_code != OK or "json" not in response.headers.get("content-type", ""):
        return
    found = error_inside(await response.aread())
    if found is not None:
        response.status_code = found.status
        response.extensions[_MARK] = found.words


def error_inside(content: bytes) -> Disguised | None:
    """The error that a reply is; None if it is none."""
    if b'"error"' not in content:
        return None
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    error = _error(body) if isinstance(body, dict) else None
    if not error:
        return None
    facts = error if isinstance(error, dict) else {}
    said = {str(facts.get("code")), str(facts.get("type"))}
    statuses = [int(word) for word in said if word.isdigit() and 400 <= int(word) <= 599]
    status = (statuses or [BAD_REQUEST if said & _LASTING else BAD_GATEWAY])[0]
    return Disguised(status, str(facts.get("message") or error))


def _error(body: Mapping[str, Any]) -> object:
    """What the body says of an error; objects of the Responses interface tell theirs otherwise."""
    if body.get("object") == "error":
        return body
    choices = body.get("choices") or []
    inside = [choice["error"] for choice in choices if isinstance(choice, dict) and choice.get("error")]
    if inside:
        return inside[0]
    return None if choices or body.get("object") == "response" else body.get("error")
