"""Conversations as Inspect messages and back, with pictures as data URIs of the exact file bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentReasoning,
    ContentText,
)

from sightline.cases import Conversation, Image, Part, Turn
from sightline.contracts import Images
from sightline.errors import UsageError

MESSAGES: dict[str, type[ChatMessageSystem | ChatMessageUser | ChatMessageAssistant]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


def data_uri(image: Image, images: Images) -> str:
    """A picture as a data URI.

    Raises:
        UsageError: if the picture has a problem, or its blob is absent or damaged.
    """
    if image.problem is not None:
        raise UsageError(image.problem)
    encoded = base64.b64encode(images.read(image.sha256)).decode("ascii")
    return f"data:{image.media};base64,{encoded}"


def from_data_uri(uri: str, images: Images) -> Image:
    """Keep the picture of a data URI and return its name by hash.

    Raises:
        UsageError: if `uri` is no base64 data URI or holds no readable picture.
    """
    head, _, encoded = uri.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise UsageError(f"a picture must come as a base64 data URI, got {head[:60]!r}")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as broken:
        raise UsageError(f"a picture's data URI is not base64: {broken}") from None
    return images.put(data)


def _content(parts: Sequence[Part], images: Images) -> str | list[Content]:
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return [
        ContentText(text=part) if isinstance(part, str) else ContentImage(image=data_uri(part, images))
        for part in parts
    ]


def to_messages(conversation: Conversation, images: Images) -> list[ChatMessage]:
    """Inspect messages with the same roles, parts and order; a turn of one text part is plain text.

    Raises:
        UsageError: if a picture cannot be read. The request must then not be sent.
    """
    return [MESSAGES[turn.role](content=_content(turn.parts, images)) for turn in conversation.turns]


def _parts(content: str | list[Content], images: Images) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (content,)
    parts: list[Part] = []
    for item in content:
        match item:
            case ContentText():
                parts.append(item.text)
            case ContentImage():
                parts.append(from_data_uri(item.image, images))
            case ContentReasoning():
                continue
            case _:
                raise UsageError(f"Sightline targets read text and pictures, not {item.type!r} content")
    return tuple(parts)


def to_conversation(messages: Sequence[ChatMessage], images: Images) -> Conversation:
    """The inverse of `to_messages`; reasoning of earlier replies is left out.

    Raises:
        UsageError: for tool messages, audio, video, documents, or unreadable pictures.
    """
    turns = []
    for message in messages:
        if message.role == "tool":
            raise UsageError("Sightline targets do not call tools; use a task without tools")
        turns.append(Turn(message.role, _parts(message.content, images)))
    return Conversation(tuple(turns))


def keep_pictures(messages: Sequence[ChatMessage], images: Images) -> None:
    """Keep the pictures of logged messages, so that a judge of a later day can look at them.

    What a log no longer holds (`log_images=False`) is left out; a judge that needs it will say so.
    """
    for message in messages:
        for item in message.content if isinstance(message.content, list) else ():
            if isinstance(item, ContentImage) and item.image.startswith("data:"):
                from_data_uri(item.image, images)
