"""The texts of defenses: YAML files next to the modules, read once; and requests with other texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from sightline.cases import Conversation, Turn
from sightline.errors import UsageError, nearest

Wordings = Mapping[str, Mapping[str, str]]


@cache
def wordings(name: str) -> Wordings:
    """All wordings of `texts/NAME.yaml`, by name."""
    found: Any = yaml.safe_load((resources.files(__package__) / "texts" / f"{name}.yaml").read_text("utf-8"))
    return {key: dict(value) for key, value in found.items()}


def wording(name: str, choice: str, what: str) -> Mapping[str, str]:
    """One wording of `texts/NAME.yaml`; `what` names the setting in the complaint.

    Raises:
        UsageError: for an unknown wording; the nearest names are offered.
    """
    known = wordings(name)
    if choice not in known:
        raise UsageError(nearest(choice, known, what))
    return known[choice]


def filled(text: str, **values: str) -> str:
    """A text with its places filled in one pass: what fills one is not searched for places."""
    return re.sub(r"\{(\w+)\}", lambda place: values.get(place[1], place[0]), text)


def with_last_text(conversation: Conversation, text: str) -> Conversation:
    """The conversation, with this text in place of the texts of its last user turn; pictures stay first."""
    pictures = (part for part in conversation.last_user_turn.parts if not isinstance(part, str))
    return conversation.with_last_user(*pictures, text)


def without_pictures(conversation: Conversation, text: str) -> Conversation:
    """The conversation without any picture, with this text as its last user turn."""
    turns = (
        Turn(turn.role, tuple(part for part in turn.parts if isinstance(part, str)))
        for turn in conversation.turns
    )
    *before, last = turns
    return Conversation((*(turn for turn in before if turn.parts), last)).with_last_user(text)


def deciding_word(said: str, texts: Mapping[str, str]) -> str | None:
    """Which of the words `safe` and `unsafe` of a wording a reply is; None for any other reply.

    The whole reply is that word or, where the texts say `reads: last`, its last sentence and no other one.
    """
    sentences = re.split(r"[.\n]", said) if texts.get("reads") == "last" else [said]
    words = [bare for each in sentences if (bare := each.strip(" \t\n\"'*.!").casefold())]
    found = [word for word in words if word in (texts["safe"], texts["unsafe"])]
    return found[0] if len(found) == 1 and words[-1] == found[0] else None
