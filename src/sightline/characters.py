"""Characters that cannot be seen and that a terminal or a page may obey: control, direction, zero-width."""

from __future__ import annotations

import unicodedata

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u2800\u3164\uffa0")
"""Letters and marks that are drawn as nothing: joiners, Hangul and Braille blanks, Khmer inherent vowels."""

_JOINING = frozenset({"\u034f", "\u180b", "\u180c", "\u180d", *map(chr, range(0xFE00, 0xFE10))})
"""Marks of no width that stand within a word: the grapheme joiner and variation selectors."""


def is_unseen(character: str) -> bool:
    """Whether a character is a control, a direction override, a zero-width or an unassigned one."""
    return character not in "\n\t" and unicodedata.category(character) in _UNSEEN


def without_unseen(text: str) -> str:
    """Text without format characters, joiners and variation selectors: what is left is what a reader sees.

    Control characters stay: some of them stand between words.
    """
    if text.isascii():
        return text
    return "".join(c for c in text if c not in _JOINING and unicodedata.category(c) != "Cf")


def is_blank(character: str) -> bool:
    """Whether a character has no ink of its own in any font: space, control, zero-width, filler, selector."""
    return (
        character.isspace()
        or unicodedata.category(character) in _UNSEEN - {"Co"}
        or character in _FILLERS
        or 0xFE00 <= ord(character) <= 0xFE0F
        or 0xE0100 <= ord(character) <= 0xE01EF
    )


def printable(text: str) -> str:
    r"""Text that a terminal only shows: unseen characters are spelled out (`\x1b`), lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if is_unseen(c) else c for c in text)
