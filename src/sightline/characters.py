"""Characters that cannot be seen and that a terminal or a page may obey: control, direction, zero-width."""

from __future__ import annotations

import unicodedata

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def is_unseen(character: str) -> bool:
    """Whether a character is a control, a direction override, a zero-width or an unassigned one."""
    return character not in "\n\t" and unicodedata.category(character) in _UNSEEN


def printable(text: str) -> str:
    r"""Text that a terminal only shows: unseen characters are spelled out (`\x1b`), lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if is_unseen(c) else c for c in text)
