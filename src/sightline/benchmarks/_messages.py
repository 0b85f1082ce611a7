"""Conversations in cells of a user's table, as the OpenAI interface writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sightline.cases import Conversation, Image, Part, Role, Turn
from sightline.rows import Row

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
_TEXTS = frozenset({"text", "input_text", "output_text"})
_IMAGES = frozenset({"image", "image_url", "input_image"})
Picture = Callable[[Any], Image]


def conversation_in(row: Row, column: str, pictures: list[Image], picture: Picture) -> Conversation:
    """The conversation of a cell: a list of messages, or the JSON text of one.

    Args:
        row: of the table.
        column: with the messages, each with `role` and `content`: a text, or a list of parts.
        pictures: those of the row's own column, for parts that only say where one is shown; what is left
            over stands before the text of the first user turn.
        picture: makes a picture of what a part holds.

    Raises:
        RowProblem: for anything else, and if it does not end with a user's message.
    """
    left = list(pictures)
    turns = [
        Turn(_role(row, column, number, message), tuple(_parts(row, column, number, message, left, picture)))
        for number, message in enumerate(_messages(row, column), start=1)
    ]
    if not turns or turns[-1].role != "user":
        last = turns[-1].role if turns else "nobody"
        raise row.problem(f"{column!r} ends with a message of {last}; a request ends with one of the user")
    if left:
        first = next(index for index, turn in enumerate(turns) if turn.role == "user")
        turns[first] = Turn("user", (*left, *turns[first].parts))
    return Conversation(tuple(turns))


def _messages(row: Row, column: str) -> list[Any]:
    value = row.value(column)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as broken:
            raise row.problem(f"{column!r} is not a JSON list of messages ({broken})") from None
    if not isinstance(value, list):
        raise row.problem(f"{column!r} is {repr(value)[:60]}, not a list of messages")
    return value


def _role(row: Row, column: str, number: int, message: Any) -> Role:
    said = (message.get("role") or message.get("from")) if isinstance(message, Mapping) else None
    if not isinstance(said, str) or said.casefold() not in ROLES:
        known = "system, user or assistant"
        raise row.problem(f"{column!r}, message {number}: its role is {repr(said)[:40]}, not {known}")
    return ROLES[said.casefold()]


def _parts(
    row: Row, column: str, number: int, message: Mapping[str, Any], left: list[Image], picture: Picture
) -> list[Part]:
    content = message.get("content", message.get("value"))
    parts: list[Part] = []
    for each in content if isinstance(content, list) else [content]:
        part = {"type": "text", "text": each} if isinstance(each, str) else each
        kind = str(part.get("type")) if isinstance(part, Mapping) else ""
        if kind in _TEXTS and isinstance(part.get("text"), str):
            parts.append(part["text"])
        elif kind in _IMAGES:
            parts.append(_shown(row, column, number, part, left, picture))
        else:
            raise row.problem(
                f"{column!r}, message {number}: {repr(each)[:60]} is neither a text nor a picture"
            )
    if not any(not isinstance(part, str) or part.strip() for part in parts):
        raise row.problem(f"{column!r}, message {number} is empty")
    return parts


def _shown(
    row: Row, column: str, number: int, part: Mapping[str, Any], left: list[Image], picture: Picture
) -> Image:
    """The picture of a part; one that holds none shows the next of the row's."""
    keys = ("image_url", "image", "url", "path", "bytes")
    held = next((part[key] for key in keys if part.get(key) is not None), None)
    if isinstance(held, Mapping):
        held = held if "bytes" in held or "path" in held else held.get("url")
    if held is not None:
        return picture(held)
    if not left:
        raise row.problem(f"{column!r}, message {number} shows a picture, and the row has none (left) for it")
    return left.pop(0)
