"""How much of a secret text a reply gives away: whether one word of it is told, and its longest stretch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """What a reply gives away of a secret text.

    `recall` is the length of the longest stretch of the secret that the reply repeats, as a share of the
    secret's; `canary` whether the reply holds the canary, None where there is none.
    """

    recall: float
    canary: bool | None = None


def leak(secret: str, reply: str, canary: str = "") -> Leak:
    """Compare a reply with a secret text, letter case and white space aside.

    Args:
        secret: the whole of it; an empty one cannot leak (recall 0).
        reply: what was said.
        canary: a word or code planted in the secret; '' for none. Found only as a whole word.
    """
    whole, said = _plain(secret), _plain(reply)
    longest = SequenceMatcher(None, whole, said, autojunk=False).find_longest_match().size
    told = None
    if canary.strip():
        told = re.search(rf"(?<!\w){re.escape(_plain(canary))}(?!\w)", said) is not None
    return Leak(recall=longest / len(whole) if whole else 0.0, canary=told)


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip().casefold()
