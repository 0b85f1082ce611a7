"""Requests and replies of OpenAI's chat completions, in our words and back; what is not supported is refused.

A picture is a data URI in the request: an address is never fetched.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.cases import Conversation, Part, Role, Turn
from sightline.contracts import Decoding, Images
from sightline.errors import SightlineError
from sightline.records import Response

MOST_MESSAGES, MOST_PICTURES = 200, 32
MOST_TOKENS = 32_768
IGNORED = frozenset(
    {"user", "metadata", "store", "service_tier", "stream_options", "model", "safety_identifier"}
)
"""What changes nothing in the reply."""
DEFAULTS: Mapping[str, Sequence[Any]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "stop": ([], ""),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
}
"""What this server does not do, and the values that ask for nothing of it."""
_DATA = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_FINISH = {"stop": "stop", "length": "length", "content_filter": "content_filter"}


class RefusedError(SightlineError):
    """A request that is not served, with the status and the code that say why."""

    def __init__(self, status: int, message: str, code: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request in our words; `stream` asks for the reply as events."""

    conversation: Conversation
    decoding: Decoding
    stream: bool
    usage_streamed: bool
    model: str


def read(body: Any, images: Images, default: Decoding) -> Asked:
    """A request's body.

    Raises:
        RefusedError: for what is no such request, or asks for what is not supported, naming the field.
    """
    if not isinstance(body, dict):
        raise RefusedError(400, "the body has to be a JSON object")
    given = {name: value for name, value in body.items() if value is not None}
    for name, nothing in DEFAULTS.items():
        if name in given and given.pop(name) not in nothing:
            raise RefusedError(400, f"{name}: not supported by this server", "unsupported_parameter")
    known = {"messages", "temperature", "top_p", "seed", "max_tokens", "max_completion_tokens", "stream"}
    for name in given:
        if name not in known | IGNORED:
            raise RefusedError(400, f"{name[:40]}: not supported by this server", "unsupported_parameter")
    tokens = "max_completion_tokens" if "max_completion_tokens" in given else "max_tokens"
    options = given.get("stream_options")
    return Asked(
        conversation=_conversation(given.get("messages"), images),
        decoding=Decoding(
            max_tokens=int(_number(given, tokens, default.max_tokens, 1, MOST_TOKENS, whole=True) or 1),
            temperature=_number(given, "temperature", default.temperature, 0, 10),
            top_p=_number(given, "top_p", default.top_p, 1e-6, 1) or 1.0,
            seed=int(_number(given, "seed", default.seed, -(2**63), 2**63 - 1, whole=True) or 0),
        ),
        stream=_flag(given, "stream"),
        usage_streamed=isinstance(options, dict) and options.get("include_usage") is True,
        model=str(given.get("model", ""))[:200],
    )


def _number(
    given: Mapping[str, Any],
    name: str,
    default: float | None,
    least: float,
    most: float,
    *,
    whole: bool = False,
) -> float | None:
    value = given.get(name, default)
    if value is None:
        return None
    fit = type(value) is int or (type(value) is float and not whole)
    if not fit or not least <= value <= most:
        raise RefusedError(
            400, f"{name}: expected {'a whole' if whole else 'a'} number from {least:g} to {most:g}"
        )
    return float(value) if not whole else int(value)


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if type(value) is not bool:
        raise RefusedError(400, f"{name}: expected true or false")
    return value


def _conversation(messages: Any, images: Images) -> Conversation:
    if not isinstance(messages, list) or not 0 < len(messages) <= MOST_MESSAGES:
        raise RefusedError(400, f"messages: expected a list of 1 to {MOST_MESSAGES} messages")
    found = Conversation(
        tuple(_turn(each, f"messages[{number}]", images) for number, each in enumerate(messages))
    )
    if found.turns[-1].role != "user":
        raise RefusedError(400, "messages: the last one has to be the user's")
    if sum(1 for _ in found.images) > MOST_PICTURES:
        raise RefusedError(400, f"messages: at most {MOST_PICTURES} pictures")
    return found


def _turn(message: Any, where: str, images: Images) -> Turn:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise RefusedError(400, f"{where}: expected a role, one of {', '.join(_ROLES)}, and content")
    if message.get("tool_calls") or message.get("function_call"):
        raise RefusedError(400, f"{where}: calls of tools are not supported", "unsupported_parameter")
    content = message.get("content")
    if isinstance(content, str):
        return Turn(_ROLES[message["role"]], (content,))
    if not isinstance(content, list) or not content:
        raise RefusedError(400, f"{where}.content: expected a text or a list of parts")
    parts = (_part(each, f"{where}.content[{number}]", images) for number, each in enumerate(content))
    return Turn(_ROLES[message["role"]], tuple(parts))


def _part(part: Any, where: str, images: Images) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind != "image_url":
        raise RefusedError(400, f"{where}: expected a part of type text or image_url")
    url = part.get("image_url")
    url = url.get("url") if isinstance(url, dict) else url
    head = _DATA.match(url) if isinstance(url, str) else None
    if not isinstance(url, str) or head is None:
        raise RefusedError(
            400, f"{where}: send the picture itself, as data:image/png;base64,...; nothing is fetched"
        )
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
        return images.put(data)
    except (binascii.Error, ValueError):
        raise RefusedError(400, f"{where}: its base64 is broken") from None
    except SightlineError as broken:
        raise RefusedError(400, f"{where}: {broken}") from None


def finish_of(response: Response) -> str:
    """Why a reply ended: a block of the defense or the provider is a filter's."""
    return _FINISH.get(response.stop, "content_filter")


def usage_of(response: Response) -> dict[str, Any]:
    """What a reply cost: the tokens of all calls that it took, and how many these were, by whom."""
    cost = response.cost
    return {
        "prompt_tokens": cost.tokens_in,
        "completion_tokens": cost.tokens_out,
        "total_tokens": cost.tokens_in + cost.tokens_out,
        "sightline": {
            "calls_target": cost.calls_target,
            "calls_aux": cost.calls_aux,
            "purposes": [call.purpose for call in response.calls],
            "stop": response.stop,
            "flags": list(response.flags),
        },
    }


def completion(response: Response, *, id_: str, model: str, created: int) -> dict[str, Any]:
    """The body of a reply."""
    message = {"role": "assistant", "content": response.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": finish_of(response), "logprobs": None}
    return {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage_of(response),
    }


def events(response: Response, *, id_: str, model: str, created: int, usage: bool) -> list[dict[str, Any]]:
    """The same as events: the whole text in one, for it is only sent when the defense has let it pass."""
    head = {"id": id_, "object": "chat.completion.chunk", "created": created, "model": model}

    def one(delta: Mapping[str, Any], finish: str | None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish}]}

    found = [one({"role": "assistant", "content": response.text}, None), one({}, finish_of(response))]
    return [*found, {**head, "choices": [], "usage": usage_of(response)}] if usage else found


def problem(message: str, code: str) -> dict[str, Any]:
    """The body of a refusal."""
    return {"error": {"message": message, "type": code, "param": None, "code": code}}
