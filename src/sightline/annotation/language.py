"""The language of a reply, for the reader's page (pronunciation, fonts) and as a stratum."""

from __future__ import annotations

from sightline.errors import AbsentExtraError
from sightline.judges._language import language_of, need_languages
from sightline.judges._phrases import LANGUAGES

_CODES = {"english": "en", **{name: code for code, name in LANGUAGES.items()}}


def tag_of(text: str) -> str:
    """A BCP 47 tag, '' where none is sure or the extra `languages` is not installed."""
    try:
        need_languages("the language of a reply")
    except AbsentExtraError:
        return ""
    name = language_of(text).name
    return _CODES.get(name, name)
