"""Does a reply look like English prose? Its script and its share of the commonest words tell."""

from __future__ import annotations

import re

_LETTERS_READ = 4000
_WORD = re.compile(r"[^\W\d_]+")
_COMMON = frozenset({
    "and", "are", "be", "but", "by", "can", "for", "from", "have", "how", "if", "it", "more", "not", "or",
    "that", "the", "there", "they", "this", "to", "what", "when", "which", "will", "with", "you", "your",
})  # fmt: skip
"""The commonest words of English that are not common in another language of Latin script as well."""
_FEWEST_WORDS = 20
_LEAST_COMMON = 0.04


def looks_english(text: str) -> bool:
    """Whether `text` may be English: in Latin script and, if it is long enough, with its commonest words.

    A few words of Latin script may be anything, and count as English. Code, tables and bare lists do not look
    like prose.
    """
    words = _WORD.findall(text[:_LETTERS_READ].casefold())
    letters = "".join(words)
    latin = sum(letter < "\u0250" for letter in letters)
    if 2 * latin < len(letters):
        return False
    if len(words) < _FEWEST_WORDS:
        return True
    return sum(word in _COMMON for word in words) >= _LEAST_COMMON * len(words)
