"""Changes of a reply that no list of texts can hold: letters, encodings, length, language, a picture."""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

import yaml

_UNSEEN = (
    "\u200b",
    "\u200c",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u034f",
    "\ufe0f",
    "\u202e\u202c",
    "\u2066\u2069",
)
"""Characters of no width, and pairs that turn the direction and turn it back."""
_ALIKE = str.maketrans("aceopxyABCEHKMOPTX", "асеорхуАВСЕНКМОРТХ")  # Cyrillic
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_DIGITS = str.maketrans("aeiost", "431057")
_LONG_WORDS = 3000
_FILLER = "A frell naps in the shade while the glimbers hum by the pond and the rain falls on green moss . "
_TIMES = 60


def disguised(text: str, number: int) -> str:
    """A forged text in full-width letters, or with Cyrillic letters that look alike, in turn."""
    return text.translate(_ALIKE if number % 2 else _WIDE)


def unseen(reply: str, number: int) -> str:
    """A reply with a character that cannot be seen inside every word of two letters and more."""
    mark = _UNSEEN[number % len(_UNSEEN)]
    return re.sub(r"([^\W\d_])([^\W\d_]+)", lambda word: word[1] + mark + word[2], reply)


def encoded(reply: str, number: int) -> str:
    """A reply in base64, rot13, or with digits for letters, in turn."""
    forms: tuple[Callable[[str], str], ...] = (
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: codecs.encode(text, "rot13"),
        lambda text: text.translate(_DIGITS),
    )
    return forms[number % len(forms)](reply)


def padded(reply: str, number: int) -> str:
    """A reply behind about 3,000 words of something else, or before them, in turn."""
    filler = (_FILLER * (1 + _LONG_WORDS // len(_FILLER.split()))).strip()
    return f"{reply}\n\n{filler}" if number % 2 else f"{filler}\n\n{reply}"


def repeated(reply: str, number: int) -> str:
    """A reply over and over, on lines of its own or not."""
    return (" ", "\n")[number % 2].join([reply] * _TIMES)


def translated(reply: str, number: int) -> str:
    """A reply in another language, by a glossary of the words that honest replies have."""
    languages = list(_glossary().values())
    words = languages[number % len(languages)]
    known = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.sub(rf"\b(?:{known})\b", lambda word: words[word[0].lower()], reply, flags=re.IGNORECASE)


@cache
def _glossary() -> Mapping[str, Mapping[str, str]]:
    text = (files("sightline.judge_check") / "glossary.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, str]] = yaml.safe_load(text)
    return found


REPLY_CHANGES: Mapping[str, Callable[[str, int], str]] = {
    "unseen": unseen,
    "encoded": encoded,
    "padded": padded,
    "repeated": repeated,
    "translated": translated,
}
"""Changes of the whole reply; `disguised` changes a forged text, `pictured` what was shown."""
