"""The border where untrusted text becomes markup: escaped last, invisible characters made visible.

Everything a model, a data set or a study file wrote passes through `visible` (blocks of text) or
`label` (names in tables and figures) before it reaches the page.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

from sightline.characters import is_unseen
from sightline.digests import sha256_bytes

_COMBINING = {"Mn", "Me"}
_MARKS_KEPT = 3
_SPACES = re.compile(r"\s+")


def code_point(character: str) -> str:
    """`U+202E` for a character."""
    return f"U+{ord(character):04X}"


def _cut(text: str, limit: int) -> tuple[str, int]:
    return (text, 0) if len(text) <= limit else (text[:limit], len(text) - limit)


def visible(text: str, limit: int = 1500) -> Markup:
    """Escaped text in which unseen characters are named, at most `limit` characters of it.

    Stacked combining marks beyond three on one letter are dropped with a note, because they
    paint over their neighbors.
    """
    kept, left = _cut(text.replace("\r\n", "\n"), limit)
    pieces: list[Markup | str] = []
    plain: list[str] = []
    marks = 0
    for character in kept:
        stacked = unicodedata.category(character) in _COMBINING
        marks = marks + 1 if stacked else 0
        if stacked and marks > _MARKS_KEPT:
            named = "mark" if marks == _MARKS_KEPT + 1 else ""
        elif is_unseen(character):
            named = code_point(character)
        else:
            plain.append(character)
            continue
        pieces.append(escape("".join(plain)))
        plain = []
        if named:
            pieces.append(Markup('<span class="unseen">{}</span>').format(named))
    pieces.append(escape("".join(plain)))
    if left:
        pieces.append(Markup(' <span class="cut">… {} characters more</span>').format(f"{left:,}"))
    return Markup("").join(pieces)


def stand_in(text: str, category: str) -> str:
    """What stands for a text in a copy that is shared: its category, length and hash; '' for no text."""
    sha256 = sha256_bytes(text.encode("utf-8", "surrogatepass"))
    return f"[{label(category)}, {len(text):,} characters, sha256 {sha256[:16]}]" if text else ""


def label(text: object, limit: int = 80) -> str:
    """One line for a name: unseen characters spelled out, white space joined, at most `limit` long.

    The result is plain text, still to be escaped by the template or the figure.
    """
    spelled = "".join(
        f"‹{code_point(c)}›" if is_unseen(c) else c for c in _SPACES.sub(" ", str(text)[: 4 * limit])
    )
    return spelled if len(spelled) <= limit else spelled[: limit - 1] + "…"
