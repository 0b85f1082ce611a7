"""One recorded response, as every format gives it: who answered what, under which attack and defense."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sightline.errors import UsageError
from sightline.records import Stop

Part = str | Mapping[str, str]
"""A text, `{"image": NAME}` (a file beside the table, or a data URI), or `{"data": BASE64}`."""
PlainTurn = Mapping[str, Any]
"""`{"role": ..., "parts": [...]}`."""
ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user"} | dict.fromkeys(
    ("assistant", "simulated_assistant", "model", "ai", "gpt"), "assistant"
)
STOPS: Mapping[str, Stop] = {
    **dict.fromkeys(
        ("stop", "end_turn", "eos", "stop_sequence", "stop_token", "tool_calls", "complete", "unknown"),
        "stop",
    ),
    **dict.fromkeys(("length", "max_tokens", "model_length", "truncated"), "length"),
    **dict.fromkeys(
        ("content_filter", "blocked", "safety", "recitation", "blocked_provider"), "content_filter"
    ),
    **dict.fromkeys(("blocked_defense", "defense_blocked"), "blocked_defense"),
    **dict.fromkeys(("error", "failed", "failure", "timeout"), "error"),
}
"""How an answer ended, in our words."""
MARKERS = (
    "$ERROR$",
    "Failed to obtain answer via API.",
    *("nan", "NaN", "None", "null", "NULL", "<NA>"),
    *("#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!"),
)
"""Texts that harnesses, table writers and spreadsheets put where there was no response."""
_ERROR_CODE = re.compile(r"Error code: [45]\d\d\b")
_ERROR_KEYS = frozenset(("error", "type", "code", "status", "status_code", "message", "request_id", "detail"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A row of a table of responses; what the file does not say is at its default.

    Attributes:
        place: file and row, for messages.
        case: the case's id in the file.
        behavior: what is asked, plainly.
        turns: what the model was shown; empty if it is not known.
        text: the response; None if the file has none.
        model: '' if unknown.
        attack: '' for none.
        defense: '' for none.
        stop: how the response ended.
        error: why there is none.
        expected: what a safe model does; '' if the file does not say.
        reference: the reference answer of a question.
        attempt: which try it is, from 0.
        verdicts: what the file says of the response, by the name that it has there.
        queries: to the model that the attack made.
        about: what else the row says, as it stands there.
        problems: why the row cannot be used as it is.
    """

    place: str
    case: str | None = None
    behavior: str | None = None
    turns: Sequence[PlainTurn] = ()
    text: str | None = None
    model: str = ""
    attack: str = ""
    defense: str = ""
    stop: Stop = "stop"
    error: str | None = None
    expected: str = ""
    reference: str | None = None
    category: str = ""
    hazard: str = ""
    group: str = ""
    twin: str | None = None
    attempt: int = 0
    verdicts: Mapping[str, Any] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    queries: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[str] = ()

    @property
    def prompt(self) -> str:
        """The texts of the last user turn."""
        last = next((turn for turn in reversed(self.turns) if turn["role"] == "user"), {"parts": ()})
        return "\n".join(part for part in last["parts"] if isinstance(part, str))


def dumped(answer: Answer) -> bytes:
    """An answer as JSON; half a surrogate pair is escaped."""
    plain = {name: getattr(answer, name) for name in Answer.__slots__}
    try:
        return orjson.dumps(plain, default=str, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):
        return json.dumps(plain, default=str).encode()


def loaded(data: bytes) -> Answer:
    """Back from `dumped`."""
    try:
        return Answer(**orjson.loads(data))
    except orjson.JSONDecodeError:
        return Answer(**json.loads(data))


def user_turn(*parts: Part) -> tuple[PlainTurn, ...]:
    """A conversation of one user turn."""
    return ({"role": "user", "parts": list(parts)},)


def turns_of(messages: Any) -> tuple[PlainTurn, ...]:
    """Turns of OpenAI-style messages: role and content, which is a text or a list of parts.

    Raises:
        UsageError: for what is none.
    """
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except ValueError:
            raise UsageError("messages is a text that is not JSON") from None
    if not isinstance(messages, Sequence) or not messages:
        raise UsageError(f"messages is a list of {{role, content}}, got {messages!r:.60}")
    return tuple(map(_turn, messages))


def _turn(message: Any) -> PlainTurn:
    if not isinstance(message, Mapping) or message.get("role") not in ROLES:
        known = ", ".join(ROLES)
        raise UsageError(f"a message has a role (one of {known}) and content, got {message!r:.60}")
    content = message.get("content", message.get("value"))
    parts = [content] if isinstance(content, str) else [_part(each) for each in content or ()]
    return {"role": ROLES[message["role"]], "parts": parts}


def _part(part: Any) -> Part:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        if isinstance(part.get("text"), str):
            return str(part["text"])
        picture = part.get("image_url", part.get("image"))
        picture = picture.get("url") if isinstance(picture, Mapping) else picture
        if isinstance(picture, str):
            return {"image": picture}
    raise UsageError(f"a part of a message is a text or a picture, got {part!r:.60}")


def is_failure(text: str) -> bool:
    """Whether a text is the message of a failed call: a JSON error object, or `Error code: 429 - ...`."""
    stripped = text.strip()
    if _ERROR_CODE.match(stripped):
        return True
    if not stripped.startswith("{") or '"error"' not in stripped[:200]:
        return False
    try:
        found = json.loads(stripped)
    except (ValueError, RecursionError):
        return False
    return bool(found.get("error")) and found.keys() <= _ERROR_KEYS


def count_of(value: Any) -> int:
    """A number of tokens or queries; 0 for none or what is no count."""
    return value if type(value) is int and 0 <= value < 10**9 else 0
