"""What callers of the front door name a prompt: strings, pictures, conversations, cases and results."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sightline.api.pictures import Picture, Pictures, is_image
from sightline.cases import Case, Conversation, Expected, Turn
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.plain import case_of as case_of_row
from sightline.plain import conversation_of as conversation_of_row
from sightline.plain import plain_case, plain_conversation
from sightline.untrusted import sanitized_row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PilImage

    from sightline.api.attacking import Result
    from sightline.api.pictures import ImageLike

    Prompt: TypeAlias = (
        str | Case | Conversation | Result | Picture | PilImage | NDArray[np.uint8] | os.PathLike[str]
    )
else:
    Prompt = Any
"""A text, a case, a conversation, the result of an attack, or a picture without a text."""


def conversation_of(prompt: Any, image: ImageLike | None, pictures: Pictures) -> Conversation:
    """The conversation that a prompt starts; `image` is shown before its text.

    Raises:
        UsageError: for what is no prompt, or a picture that cannot be read.
    """
    if isinstance(prompt, str):
        found = Conversation.user(prompt)
    elif is_image(prompt):
        found = Conversation.user(pictures.seal(prompt), "")
    elif isinstance(prompt, Conversation):
        found = prompt
    elif isinstance(getattr(prompt, "conversation", None), Conversation):
        found = prompt.conversation
    else:
        raise UsageError(
            f"{type(prompt).__name__} is no prompt: give a string, a picture, a Case, a Conversation or the "
            "result of an attack; several in a list"
        )
    return found if image is None else found.with_image(pictures.seal(image))


def follow_ups_of(prompt: Any) -> tuple[Turn, ...]:
    """The user turns that a result's script sends after its conversation; none of any other prompt."""
    found: tuple[Turn, ...] = getattr(prompt, "follow_ups", ())
    return found


def case_of(prompt: Any, image: ImageLike | None, pictures: Pictures) -> Case:
    """A prompt as a test case: a request that a safe model refuses, unless the prompt is a case already.

    Its texts have whole characters only, as those of a release have.
    """
    conversation = conversation_of(prompt, image, pictures)
    known = prompt if isinstance(prompt, Case) else getattr(prompt, "case", None)
    if isinstance(known, Case):
        known = replace(known, conversation=conversation)
        return case_of_row(sanitized_row(plain_case(known))) if isinstance(prompt, Case) else known
    conversation = conversation_of_row(sanitized_row(plain_conversation(conversation)))
    name = f"prompt/{digest(plain_conversation(conversation))[:12]}"
    return Case(
        id=name,
        conversation=conversation,
        behavior=conversation.last_user_text(),
        expected=Expected.refuse,
        category="prompt",
        group=name,
    )
