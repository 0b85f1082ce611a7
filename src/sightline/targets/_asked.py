"""What every target checks before it answers: a request is sent whole or not at all."""

from __future__ import annotations

from sightline.cases import Conversation
from sightline.errors import UsageError

NOT_ENDED = "a request must end with a user turn"


class UnfitError(UsageError):
    """A request that this model cannot take (too long, too many pictures): an error outcome, not a crash."""


def checked(conversation: Conversation) -> Conversation:
    """The same conversation, fit to be sent.

    Raises:
        UsageError: if a picture could not be read (sending the text alone would be another request),
            or if the last turn is neither the user's nor a reply to one, about which a guard model is asked.
    """
    for turn in conversation.turns:
        for part in turn.parts:
            if not isinstance(part, str) and part.problem is not None:
                raise UsageError(f"a picture of the request cannot be sent: {part.problem}")
    roles = [turn.role for turn in conversation.turns[-2:]]
    if not roles or (roles[-1] != "user" and roles != ["user", "assistant"]):
        raise UsageError(NOT_ENDED)
    return conversation
