"""Versioned phrase lists (`lists/NAME.yaml`): data with provenance, known by name and hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

from sightline.digests import digest
from sightline.errors import UsageError, nearest
from sightline.judges._text import contains, further, normal, openings, plain, starts_with

Mode = Literal["prefix", "anywhere"]
LANGUAGES = {
    "ar": "arabic",
    "zh": "chinese",
    "fa": "farsi",
    "fr": "french",
    "de": "german",
    "hi": "hindi",
    "it": "italian",
    "ko": "korean",
    "ru": "russian",
    "es": "spanish",
}
"""The ten languages of MSTS beside English, by ISO 639-1 code: each has a list of its name."""
LISTS = ("anywhere", *sorted(LANGUAGES.values()), "common", "testbed", "xstest")
_MOST_PLACES = 24  # where a phrase is looked for in one reply


@dataclass(frozen=True, slots=True)
class Harmless:
    """A phrase that ends with one of `after` declines nothing if it goes on with one of `next`."""

    after: tuple[str, ...]
    next: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phrases:
    """A list of phrases in normal form, where they are looked for, and where they come from.

    Attributes:
        before: openings that decide nothing, such as a greeting; what follows them is read.
        harmless: how phrases of the list go on where they decide nothing.
        language: the language that the list is written in, '' if that does not matter.
        id: the name with a hash of all phrases, for example `common@1f2e3d4c`.
    """

    name: str
    mode: Mode
    provenance: str
    phrases: tuple[str, ...]
    before: tuple[str, ...]
    harmless: tuple[Harmless, ...]
    language: str
    id: str

    def first_in(self, text: str, mode: Mode) -> str | None:
        """The first phrase of the list that `text` (as the model wrote it) starts with or contains."""
        if mode == "anywhere":
            whole = plain(text)
            return next((phrase for phrase in self.phrases if contains(whole, phrase)), None)
        places = list(openings(text))
        for place in places:  # grows while it is read
            found = self._beginning(place)
            if found is not None and not self._goes_on_harmlessly(place, found):
                return found
            if (found or any(starts_with(place, each) for each in self.before)) and len(
                places
            ) < _MOST_PLACES:
                places += further(place)
        return None

    def _beginning(self, place: str) -> str | None:
        if not place.startswith(self.phrases):
            return None  # the common case, decided in one call
        return next((phrase for phrase in self.phrases if starts_with(place, phrase)), None)

    def _goes_on_harmlessly(self, place: str, phrase: str) -> bool:
        rest = place[len(phrase) :].lstrip(" ,-")
        return any(
            phrase.endswith(each.after) and any(starts_with(rest, words) for words in each.next)
            for each in self.harmless
        )


@cache
def phrases(name: str) -> Phrases:
    """Read the list `name`, or that of a language's code.

    Raises:
        UsageError: for an unknown name; the nearest is offered.
    """
    name = LANGUAGES.get(name, name)
    if name not in LISTS:
        raise UsageError(nearest(name, LISTS, "phrase list"))
    text = (files("sightline.judges") / "lists" / f"{name}.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    entries, before = _normal(data["phrases"]), _normal(data.get("before", ()))
    harmless = tuple(
        Harmless(_normal(each["after"]), _normal(each["next"])) for each in data.get("harmless", ())
    )
    further_entries = (before, harmless) if before or harmless else ()
    return Phrases(
        name=name,
        mode=data["mode"],
        provenance=data["provenance"],
        phrases=entries,
        before=before,
        harmless=harmless,
        language=data.get("language", ""),
        id=f"{name}@{digest(entries, *further_entries)[:8]}",
    )


def _normal(entries: Sequence[str]) -> tuple[str, ...]:
    return tuple(normal(entry) for entry in entries)
