"""Texts with slots: filled in one pass, read from data files, and drawn by seed.

A slot is `{name}`. What fills one is never looked into again, and braces that name no slot stay as they are,
so that a request with braces is sent as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sightline.attacks.text_files import document
from sightline.attacks.wordings import key_phrase, request, statement
from sightline.cases import Case
from sightline.documents import MOST_BYTES, read_text, read_yaml
from sightline.errors import UsageError
from sightline.rng import numpy_rng

T = TypeVar("T")
Bank = Mapping[str, tuple[str, ...]]
"""Wordings by family."""
REQUEST_SLOTS = ("goal", "statement", "key_phrase")
"""How a template says what is asked: as it is asked, as the head of a list, by the words that name it."""
_SLOT = re.compile(r"\{(\w+)\}")


def asked(case: Case) -> str:
    """What a case asks in words: the text of its last user turn, as it stands, or the plain behavior.

    The behavior is asked where the turn shows pictures alone. A text that points at a picture stays one.

    Raises:
        UsageError: if the case has neither.
    """
    own = case.conversation.last_user_text()
    return own if own.strip() else request(case)


def filled(template: str, **slots: str) -> str:
    """A template with its slots filled."""
    return _SLOT.sub(lambda found: slots.get(found[1], found[0]), template)


def holds_request(template: str) -> bool:
    """Whether a template has a slot for what is asked."""
    return any(f"{{{slot}}}" in template for slot in REQUEST_SLOTS)


def with_request(template: str, case: Case, **slots: str) -> tuple[str, str]:
    """A template about what a case asks, and what a draft is to say of it: whether a form came by rule.

    Raises:
        UsageError: if the case asks nothing.
    """
    found, notes = {"goal": asked(case)}, []
    for slot, worded in (("statement", statement), ("key_phrase", key_phrase)):
        if f"{{{slot}}}" in template:
            form = worded(case)
            found[slot] = form.text
            notes.append(form.note)
    return filled(template, **found, **slots), next(filter(None, notes), "")


def drawn(options: Sequence[T], *key: object) -> T:
    """One of several, determined by `key`: the attack's name, its seed and the case."""
    return options[int(numpy_rng(*key).integers(len(options)))]


def drawn_wording(options: Sequence[str], *key: object) -> tuple[str, int]:
    """One of several wordings and its number, from 1; see `drawn`."""
    number = drawn(range(len(options)), *key)
    return options[number], number + 1


@cache
def shipped(name: str) -> Bank:
    """The wordings of `textual/texts/NAME.yaml`."""
    return bank_of(document("sightline.attacks.textual", name), name)


def read_bank(name: str) -> Bank:
    """The wordings of a file of the user's: YAML, families with a list of texts each.

    Raises:
        UsageError: for a file that cannot be read, and for a text without a slot for what is asked.
    """
    try:
        text = read_text(Path(name), MOST_BYTES)
    except OSError as broken:
        raise UsageError(f"templates {name!r} cannot be read ({broken})") from None
    bank = bank_of(read_yaml(text, name), name)
    for family, texts in bank.items():
        for number, each in enumerate(texts, start=1):
            if not holds_request(each):
                raise UsageError(
                    f"{name}: text {number} of {family!r} has no {{goal}}: "
                    "write it where the request is to stand"
                )
    return bank


def bank_of(read: Any, name: str) -> Bank:
    """Wordings by family, from the values of a YAML document.

    Raises:
        UsageError: if it is not a mapping from names to lists of texts; the first wrong entry is named.
    """
    if not isinstance(read, Mapping) or not read:
        raise UsageError(f"{name}: expected families with a list of texts each, such as `persona: ['...']`")
    for family, texts in read.items():
        whole = isinstance(texts, list) and texts and all(isinstance(t, str) and t.strip() for t in texts)
        if not isinstance(family, str) or not whole:
            raise UsageError(
                f"{name}: {family!r} is no list of texts: write each as an item, quoted or after `>-`"
            )
    return {family: tuple(texts) for family, texts in read.items()}
