"""Text broken into lines: between words, in Chinese and Japanese between characters, never before a mark.

Chinese and Japanese text has no spaces; a line does not begin with closing punctuation or a small kana, nor
end with an opening bracket (the common part of the kinsoku rules). Korean breaks between words. Thai, Lao,
Khmer and Burmese would need a dictionary: their runs count as words. A word that is wider than the line is
broken between characters, or kept whole.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from PIL import ImageFont

from sightline.attacks.scripts import JOINERS, is_hangul, is_mark, is_wide

_NO_START = frozenset('!%),.:;?]}¢°·’"”†‡›℃∶、。々〻ー・゛゜ヽヾゝゞ！％，．：；？～ｰﾞﾟ') | frozenset(
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿｧｨｩｪｫｯｬｭｮ"
)
_NO_END = frozenset("$(£¥[{‘“￡￥＄")


class Piece(NamedTuple):
    """Text that stands on one line, and whether a space stands before it in the text."""

    text: str
    spaced: bool


def clusters(text: str) -> list[str]:
    """Characters, each with the marks and joiners that belong to it."""
    found: list[str] = []
    for sign in text:
        if found and (_belongs(sign) or _waits(found[-1][-1])):
            found[-1] += sign
        else:
            found.append(sign)
    return found


def _belongs(sign: str) -> bool:
    """Whether a character is a part of the one before: marks, joiners, vowels and finals of Hangul jamo."""
    return is_mark(sign) or sign in JOINERS or "\u1160" <= sign <= "\u11ff"


def _waits(sign: str) -> bool:
    """Whether the next character belongs to this one: after a joiner, or a virama that joins consonants."""
    return sign == "\u200d" or unicodedata.combining(sign) == 9


def _stands_alone(cluster: str) -> bool:
    """Whether lines break beside a character: those of Chinese and Japanese."""
    return is_wide(cluster[0]) and not is_hangul(cluster[0])


def pieces(text: str) -> Iterator[Piece]:
    """Words, and those of Chinese and Japanese taken apart where a line may break."""
    for place, word in enumerate(text.split()):
        if word.isascii():
            yield Piece(word, place > 0)
            continue
        now, spaced = "", place > 0
        for cluster in clusters(word):
            if now and _may_break(now, cluster):
                yield Piece(now, spaced)
                now, spaced = "", False
            now += cluster
        yield Piece(now, spaced)


def _may_break(before: str, after: str) -> bool:
    last = clusters(before)[-1]
    if not (_stands_alone(last) or _stands_alone(after)):
        return False
    opens = last[0] in _NO_END or unicodedata.category(last[0]) in ("Ps", "Pi")
    closes = after[0] in _NO_START or unicodedata.category(after[0]) in ("Pe", "Pf")
    return not (opens or closes)


def wrap_measured(
    text: str, face: ImageFont.FreeTypeFont, width_px: int, lead: str = " ", *, break_words: bool = False
) -> list[str]:
    """Lines narrower than `width_px`; each that a space is broken for starts with `lead`.

    A word that is wider stands on a line of its own and sticks out; with `break_words` it is broken.
    """
    return _filled(text, face.getlength, width_px, lead, break_words)


def wrap_columns(text: str, columns: int) -> list[str]:
    """Lines of at most so many columns: a Chinese or Japanese character takes two, a mark none.

    Words longer than that are broken. Text without wide characters is broken as `textwrap` does it, unless
    that parts a mark from its letter.
    """
    if not any(is_wide(sign) for sign in text):
        lines = textwrap.wrap(text, columns)
        if not any(_belongs(after[0]) or _waits(before[-1]) for before, after in pairwise(lines)):
            return lines
    return _filled(text, _columns, columns + 1, "", True)


def _columns(text: str) -> int:
    return sum(0 if _belongs(sign) else 1 + is_wide(sign) for sign in text)


def _filled(
    text: str, measure: Callable[[str], float], limit: float, lead: str, break_words: bool
) -> list[str]:
    """Lines shorter than `limit`, each filled with as many pieces as it takes."""
    lines: list[str] = []
    length = 0.0
    for piece in pieces(text):
        whole, spaced = piece
        step = measure(f" {whole}" if spaced else whole)
        if lines and length + step < limit:
            lines[-1] += f" {whole}" if spaced else whole
            length += step
            continue
        start = lead + whole if spaced and lines else whole
        parts = _parts(start, measure, limit) if break_words and measure(start) >= limit else [start]
        lines += parts
        length = measure(parts[-1])
    return lines


def _parts(word: str, measure: Callable[[str], float], limit: float) -> list[str]:
    """A word broken between characters; one character that is too wide stands by itself."""
    parts = [""]
    for cluster in clusters(word):
        if parts[-1] and measure(parts[-1] + cluster) >= limit:
            parts.append("")
        parts[-1] += cluster
    return parts
