"""What a text is written in: its direction, whether letters join, names of its characters and scripts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

JOINERS = "\u200c\u200d\u200e\u200f"
Direction = Literal["", "ltr", "rtl"]
"""Of a line; '' where nothing has to be arranged."""
#: blocks of scripts whose letters take their form or place from others: India to Burma, Khmer, Mongolian,
#: those of the islands, Brahmi and its kin
_JOINED = (
    (0x0900, 0x109F),
    (0x1780, 0x18AF),
    (0x1900, 0x1CFF),
    (0xA800, 0xABFF),
    (0x11000, 0x11FFF),
)
_RIGHT_TO_LEFT = ("R", "AL")
_EAST_ASIAN = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
_EMOJI = (0x1F000, 0x1FAFF)


def is_shaped(text: str) -> bool:
    """Whether letters of a text run right to left or depend on those beside them."""
    return not text.isascii() and any(
        unicodedata.bidirectional(sign) in (*_RIGHT_TO_LEFT, "AN", "RLE", "RLO", "RLI")
        or any(first <= ord(sign) <= last for first, last in _JOINED)
        for sign in text
    )


def direction_of(text: str) -> Direction:
    """The direction of a paragraph, which is that of its first letter; '' if no letter needs shaping."""
    if not is_shaped(text):
        return ""
    for sign in text:
        if (kind := unicodedata.bidirectional(sign)) in (*_RIGHT_TO_LEFT, "L"):
            return "ltr" if kind == "L" else "rtl"
    return "ltr"


def is_mark(sign: str) -> bool:
    """Whether a character is set on the one before it."""
    return unicodedata.category(sign)[0] == "M"


def is_emoji(sign: str) -> bool:
    """Whether a character is one of the blocks of emoji, which most fonts lack or have in colors."""
    return _EMOJI[0] <= ord(sign) <= _EMOJI[1]


def is_wide(sign: str) -> bool:
    """Whether a character takes two columns: those of Chinese, Japanese and Korean."""
    return unicodedata.east_asian_width(sign) in "WF"


def is_hangul(sign: str) -> bool:
    """Whether a character is Korean."""
    return unicodedata.name(sign, "").startswith("HANGUL")


def named(sign: str) -> str:
    """Code point and name of a character."""
    return f"U+{ord(sign):04X} {unicodedata.name(sign, '')}".rstrip()


def scripts_of(signs: Iterable[str]) -> list[str]:
    """Scripts of characters in order of first appearance: 'Chinese', 'Thai', 'emoji'; of symbols none."""
    found = dict.fromkeys(_script(sign) for sign in signs)
    return [script for script in found if script]


def _script(sign: str) -> str:
    if is_emoji(sign):
        return "emoji"
    if unicodedata.category(sign)[0] not in "LM":
        return ""
    word = unicodedata.name(sign, "").partition(" ")[0].partition("-")[0]
    return _EAST_ASIAN.get(word, word.capitalize())
