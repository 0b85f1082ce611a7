"""Requests with other pictures."""

from __future__ import annotations

from collections.abc import Callable

from sightline.cases import Conversation, Image, Turn


def redrawn(conversation: Conversation, change: Callable[[Image], Image]) -> Conversation:
    """The conversation with every picture of every turn changed, in order."""
    turns = (
        Turn(turn.role, tuple(part if isinstance(part, str) else change(part) for part in turn.parts))
        for turn in conversation.turns
    )
    return Conversation(tuple(turns))
