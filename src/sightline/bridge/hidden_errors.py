"""Replies with HTTP status 200 that an SDK would misread: errors get their status, odd token counts a number.

Routers and local servers answer `{"error": {"message": ..., "code": 502}}` with status 200, some of them
inside a choice. An SDK takes that for a completion without choices, and the provider's words are lost. With
the right status SDK and Inspect do with it what they do with any failure: keep its words, try again, give up.

Some also send `"usage": {"prompt_tokens": null}`, over which Inspect loses the whole reply. A count that is
no number becomes -1, which `untrusted` counts as 0 and flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import orjson
from inspect_ai._util.http_defaults import default_async_client
from inspect_ai.model import ModelAPI

OK, BAD_REQUEST, BAD_GATEWAY = 200, 400, 502
_MARK = "sightline.disguised"
_LASTING = frozenset(
    {"content_filter", "context_length_exceeded", "invalid_request_error", "BadRequestError"}
)
"""Codes and types of errors that another try would meet again."""
_USAGE: Mapping[str, tuple[str, ...]] = {
    "chat.completion": ("prompt_tokens", "completion_tokens", "total_tokens"),
    "response": ("input_tokens", "output_tokens", "total_tokens"),
    "message": ("input_tokens", "output_tokens"),
}
"""Counts in `usage` that Inspect needs, by what a reply calls itself: two kinds of OpenAI's, Anthropic's."""
_GOOGLE_USAGE = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")
"""Counts in `usageMetadata`; each may be absent."""


def unmask_errors(api: ModelAPI) -> None:
    """Look at every reply that the provider's HTTP client gets, where it is one that can be looked at."""
    client = getattr(getattr(api, "client", None), "_client", None)  # of httpx, or httpx2 since openai 3
    hooks = getattr(client, "event_hooks", None)
    if isinstance(hooks, dict):
        hooks["response"].append(_mend)
    open_client = getattr(api, "model_client", None)
    if open_client is not None:  # Google's: a client per request, of aiohttp if it is given none
        shared = default_async_client(event_hooks={"response": [_mend]})

        def through_ours(http_options: Any) -> Any:
            http_options.httpx_async_client = shared
            return open_client(http_options)

        vars(api).update(model_client=through_ours)


def words_of(failure: BaseException) -> str | None:
    """What a reply that came as HTTP 200 said, if a provider's exception stands for one."""
    for each in _causes(failure):
        extensions = getattr(getattr(each, "response", None), "extensions", {})
        if _MARK in extensions:
            return str(extensions[_MARK])
    return None


def _causes(failure: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = failure
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


class Disguised(NamedTuple):
    """An error inside a reply: the status that it should have had, and what it says."""

    status: int
    words: str


class _HttpReply(Protocol):
    """What is needed of an HTTP client's response."""

    status_code: int
    headers: Mapping[str, str]
    extensions: dict[str, Any]
    _content: bytes

    async def aread(self) -> bytes: ...


async def _mend(response: _HttpReply) -> None:
    """Streams are left alone: the SDK finds errors in them itself."""
    if response.status_code != OK or "json" not in response.headers.get("content-type", ""):
        return
    content = await response.aread()
    found = error_inside(content)
    if found is not None:
        response.status_code = found.status
        response.extensions[_MARK] = found.words
    mended = with_numbers(content)
    if mended is not None:
        response._content = mended  # no client offers a public way to change what was read


def with_numbers(content: bytes) -> bytes | None:
    """A reply with -1 for each token count that is no whole number; None if there is none such."""
    if b'"usage' not in content:
        return None
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict):
        return None
    wanted = _USAGE.get(str(body.get("object") or body.get("type")), ())
    counts = body.get("usage")
    if isinstance(counts, dict):
        bad = [name for name in wanted if type(counts.get(name)) is not int]
    else:
        counts = body.get("usageMetadata")
        if not isinstance(counts, dict):
            return None
        bad = [name for name in _GOOGLE_USAGE if name in counts and type(counts[name]) is not int]
    counts.update(dict.fromkeys(bad, -1))
    return orjson.dumps(body) if bad else None


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
