"""Replies with HTTP status 200 that an SDK would misread: errors get their status, odd token counts a number.

Routers and local servers answer `{"error": {"message": ..., "code": 502}}` with status 200, some of them
inside a choice, beside half an answer, or in a form of their own (`detail`, `errors`, `base_resp`). An SDK
takes that for a completion, and the provider's words are lost. With the right status SDK and Inspect do
with it what they do with any failure: keep its words, try again, give up. So it is with a body that is
empty or no JSON.

Some also send `"usage": {"prompt_tokens": null}` or a text in parts, over which Inspect loses the whole
reply. A count that is no number becomes -1, which `untrusted` counts as 0 and flags; parts become one text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from inspect_ai._util.http_defaults import default_async_client
from inspect_ai.model import ModelAPI

BAD_REQUEST, BAD_GATEWAY = 400, 502
_MARK = "sightline.disguised"
_LASTING = frozenset(
    {"content_filter", "context_length_exceeded", "invalid_request_error", "BadRequestError"}
)
"""Codes and types of errors that another try would meet again."""
_STATUSES = {1004: 401, 1008: 402, 1026: BAD_REQUEST, 1027: BAD_REQUEST, 2013: BAD_REQUEST}
"""HTTP statuses of MiniMax's codes that another try would meet again: key, balance, filters, parameters."""
_USAGE: Mapping[str, tuple[str, ...]] = {
    "chat/completions": ("prompt_tokens", "completion_tokens", "total_tokens"),
    "responses": ("input_tokens", "output_tokens", "total_tokens"),
    "messages": ("input_tokens", "output_tokens"),
}
"""Counts in `usage` that Inspect needs, by the end of the address: two interfaces of OpenAI, Anthropic's."""
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
    request: Any
    _content: bytes

    async def aread(self) -> bytes: ...


async def _mend(response: _HttpReply) -> None:
    """Streams are left alone: the SDK finds errors in them itself."""
    path = str(response.request.url.path).rstrip("/")
    interface = next((each for each in _USAGE if path.endswith(each)), "")
    kind = response.headers.get("content-type", "")
    readable = "event-stream" not in kind and bool(interface or "json" in kind)
    if not 200 <= response.status_code < 300 or not readable:
        return
    content = await response.aread()
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        words = f"the reply is not JSON: {content[:200].decode(errors='replace')!r}"
        body, found = None, Disguised(BAD_GATEWAY, words) if interface else None
        response._content = b"{}" if interface else content  # an SDK would stumble over it again
    else:
        found = error_inside(body, interface)
    if found is not None:
        response.status_code = found.status
        response.extensions[_MARK] = found.words
    elif isinstance(body, dict) and mend(body, interface):
        response._content = json.dumps(body).encode()  # no client offers a public way to change what was read


def mend(body: dict[str, Any], interface: str = "") -> bool:
    """Make a reply's token counts numbers and its text one text, in place; False if they were."""
    return any([_mend_usage(body, interface), *map(_mend_text, _choices(body))])


def _mend_usage(body: dict[str, Any], interface: str) -> bool:
    """Put -1 for each count that is no whole number, and drop counts beside them that are not."""
    name = "usage" if body.get("usage") is not None else "usageMetadata"
    counts = body.get(name)
    if counts is None:
        return False
    if not isinstance(counts, dict):
        body[name] = None
        return True
    wanted = _USAGE.get(interface, ()) if name == "usage" else [n for n in _GOOGLE_USAGE if n in counts]
    bad = {each: -1 for each in wanted if type(counts.get(each)) is not int}
    if list(bad) == ["total_tokens"] and "total_tokens" not in counts:
        bad = {"total_tokens": sum(int(counts[each]) for each in wanted[:2])}
    odd = [each for each, value in counts.items() if each.endswith("_details") and not _whole_counts(value)]
    counts.update({**bad, **dict.fromkeys(odd)})
    return bool(bad or odd)


def _whole_counts(details: object) -> bool:
    if details is None:
        return True
    return isinstance(details, dict) and all(each is None or type(each) is int for each in details.values())


def _choices(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = body.get("choices")
    return [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []


def _mend_text(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if content is None or isinstance(content, str):
        return False
    choice["message"]["content"] = _text_of(content)
    return True


def _text_of(content: object) -> str:
    """The text of a message's content: of its parts, in order, with what is thought between marks."""
    if isinstance(content, list):
        return "".join(map(_text_of, content))
    if not isinstance(content, dict):
        return "" if content is None else str(content)
    thought = next((content[name] for name in ("thinking", "reasoning") if content.get(name)), None)
    return _text_of(content.get("text")) if thought is None else f"<think>{_text_of(thought)}</think>"


def error_inside(body: object, interface: str = "") -> Disguised | None:
    """The error that a reply is; None if it is none."""
    error = _error(body, interface) if isinstance(body, dict) else interface and f"not a reply: {body!r:.200}"
    if not error:
        return None
    facts = error if isinstance(error, dict) else {}
    codes = [str(facts.get(name)) for name in ("code", "status", "status_code", "type")]
    known = [_STATUSES.get(int(code), int(code)) for code in codes if code.isdecimal() and len(code) < 6]
    statuses = [status for status in known if 400 <= status <= 599]
    status = (statuses or [BAD_REQUEST if _LASTING & set(codes) else BAD_GATEWAY])[0]
    said = next((facts[name] for name in ("message", "status_msg", "detail") if facts.get(name)), error)
    return Disguised(status, str(said))


def _error(body: Mapping[str, Any], interface: str) -> object:
    """What the body says of an error; objects of the Responses interface tell theirs otherwise."""
    if body.get("object") == "error":
        return body
    choices = _choices(body)
    inside = [choice["error"] for choice in choices if choice.get("error")]
    if inside or body.get("object") == "response":
        return inside[0] if inside else None
    if body.get("error"):
        return body["error"]
    base = body.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return base
    if interface != "chat/completions":
        return None
    if any(choice.get("finish_reason") == "error" for choice in choices):
        return "the reply ended with an error"
    answered = all(isinstance(choice.get("message"), dict) for choice in choices)
    if answered and (choices or body.get("choices") == []):
        return None
    errors = body.get("errors")
    return errors[0] if isinstance(errors, list) and errors else body
