"""One normal form of text for lists, references and replies, and phrase search on word borders in it."""

from __future__ import annotations

import re
import unicodedata

_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4\u0060\u2032\uff07", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\uff02", '"'),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("*_~#", " "),  # markdown emphasis and headings
    }
)
_FENCE = re.compile(r"^\s*(?:```|~~~)[^\n]*$", re.MULTILINE)
_MARKER = re.compile(r"^\s*(?:>+|[-+\u2022]|\d{1,3}[.)])\s+", re.MULTILINE)
_EDGE = " \t'\"([{<>-:;,.!?|"


def normal(text: str) -> str:
    """`text` in lower case with plain apostrophes and single spaces, without markdown marks.

    Compatibility forms (full-width letters) become plain ones; zero-width characters vanish.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if "\n" in text:
        text = _MARKER.sub("", _FENCE.sub("", text))
    return " ".join(text.translate(_SAME).casefold().split())


def opening(text: str) -> str:
    """Normal form of `text` without the list mark, quotes and punctuation before its first word."""
    return normal(_MARKER.sub("", text)).lstrip(_EDGE)


def reference(answer: str | None) -> str:
    """Normal form of a reference answer, without the full stop at its end; '' if there is none."""
    return normal(answer or "").rstrip(" .!?")


def _bordered(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] neither begins nor ends inside a word."""
    inside_left = start > 0 and text[start].isalnum() and text[start - 1].isalnum()
    inside_right = end < len(text) and text[end - 1].isalnum() and text[end].isalnum()
    return not (inside_left or inside_right)


def starts_with(text: str, phrase: str) -> bool:
    """Whether normal `text` begins with normal `phrase`, ending on a word border."""
    return text.startswith(phrase) and _bordered(text, 0, len(phrase))


def contains(text: str, phrase: str) -> bool:
    """Whether normal `phrase` stands in normal `text` on word borders ("legal" is not in "illegally")."""
    start = text.find(phrase) if phrase else -1
    while start >= 0:
        if _bordered(text, start, start + len(phrase)):
            return True
        start = text.find(phrase, start + 1)
    return False
