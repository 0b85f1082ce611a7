"""Versioned phrase lists (`lists/NAME.yaml`): data with provenance, known by name and hash."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

from sightline.digests import digest
from sightline.errors import UsageError, nearest
from sightline.judges._text import contains, normal, opening, starts_with

Mode = Literal["prefix", "anywhere"]
HEAD_LETTERS = 400  # more than any phrase, markup and quotes before it included
LISTS = ("anywhere", "common", "testbed", "xstest")


@dataclass(frozen=True, slots=True)
class Phrases:
    """A list of phrases in normal form, where they are looked for, and where they come from.

    `id` is the name with a hash of the phrases, for example `common@1f2e3d4c`.
    """

    name: str
    mode: Mode
    provenance: str
    phrases: tuple[str, ...]
    id: str

    def first_in(self, text: str, mode: Mode) -> str | None:
        """The first phrase of the list that `text` (as the model wrote it) begins with or contains."""
        if mode == "anywhere":
            whole = normal(text)
            return next((phrase for phrase in self.phrases if contains(whole, phrase)), None)
        head = opening(text.lstrip()[:HEAD_LETTERS])
        if not head.startswith(self.phrases):
            return None  # the common case, decided in one call
        return next((phrase for phrase in self.phrases if starts_with(head, phrase)), None)


@cache
def phrases(name: str) -> Phrases:
    """Read the list `name`.

    Raises:
        UsageError: for an unknown name; the nearest is offered.
    """
    if name not in LISTS:
        raise UsageError(nearest(name, LISTS, "phrase list"))
    text = (files("sightline.judges") / "lists" / f"{name}.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    entries = tuple(normal(phrase) for phrase in data["phrases"])
    return Phrases(name, data["mode"], data["provenance"], entries, f"{name}@{digest(entries)[:8]}")
