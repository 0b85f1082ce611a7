"""Codes that a text can be written in, and back: what is encoded decodes to the text exactly.

Every code takes any text. Those of Latin letters (`LATIN`) leave others as they are, so that a text in
another script may come out unchanged; `left` counts them. Characters are Unicode code points. Morse has no
letter case: a text comes back with its letters A-Z small. In leetspeak, a figure that stands for a letter and
stood in the text itself has `#` before it.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sightline.errors import UsageError

LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}
"""Small letters alone: the other case tells them apart from the figures of a text."""
ESCAPE = "#"
ZERO_WIDTH = "\u200b"
SPELLED = {" ": "/", "/": "(slash)", "\n": "(newline)"}
A_TO_M = ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. --"
N_TO_Z = "-. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
FIGURES = "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
MARKS = {
    ".": ".-.-.-",
    ",": "--..--",
    "?": "..--..",
    "'": ".----.",
    "!": "-.-.--",
    "/": "-..-.",
    "(": "-.--.",
    ")": "-.--.-",
    "&": ".-...",
    ":": "---...",
    ";": "-.-.-.",
    "=": "-...-",
    "+": ".-.-.",
    "-": "-....-",
    "_": "..--.-",
    '"': ".-..-.",
    "@": ".--.-.",
}
"""International Morse code (ITU-R M.1677-1) and the marks in common use beside it."""
MORSE = {
    **dict(zip(string.ascii_lowercase, f"{A_TO_M} {N_TO_Z}".split(), strict=True)),
    **dict(zip(string.digits, FIGURES.split(), strict=True)),
    **MARKS,
    " ": "/",
}


@dataclass(frozen=True, slots=True)
class Code:
    """A way to write a text.

    Attributes:
        encode: the text in it.
        decode: back; for what `encode` wrote.
    """

    encode: Callable[[str], str]
    decode: Callable[[str], str]


def _bytes(text: str) -> bytes:
    """UTF-8. Raises UsageError for half of a surrogate pair, which no text on a disk or a wire holds."""
    try:
        return text.encode()
    except UnicodeEncodeError as broken:
        raise UsageError(f"character {broken.start + 1} is half of a pair and cannot be encoded") from None


def _shifted(by: int) -> dict[int, str]:
    """Letters A-Z and a-z moved along the alphabet."""
    return {
        ord(case[i]): case[(i + by) % 26]
        for case in (string.ascii_lowercase, string.ascii_uppercase)
        for i in range(26)
    }


def _mirrored() -> dict[int, str]:
    """A for Z, b for y."""
    return {
        ord(case[i]): case[25 - i]
        for case in (string.ascii_lowercase, string.ascii_uppercase)
        for i in range(26)
    }


def _substituted(there: Mapping[int, str], back: Mapping[int, str]) -> Code:
    return Code(lambda text: text.translate(there), lambda text: text.translate(back))


def _tokens(table: Mapping[str, str]) -> Code:
    """One token per character, with a space between them; a character that the table lacks is its own."""
    back = {token: character for character, token in table.items()}

    def encode(text: str) -> str:
        return " ".join(table.get(character, character) for character in text)

    def decode(text: str) -> str:
        return "".join(back.get(token, token) for token in text.split(" ")) if text else ""

    return Code(encode, decode)


def _leet() -> Code:
    back = {figure: letter for letter, figure in LEET.items()}
    meant = {*back, ESCAPE}  # where these stand in the text itself

    def encode(text: str) -> str:
        return "".join(ESCAPE + c if c in meant else LEET.get(c, c) for c in text)

    def decode(text: str) -> str:
        return re.sub(r"#(.)|([013457])", lambda found: found[1] or back[found[2]], text)

    return Code(encode, decode)


def _words_reversed(text: str) -> str:
    """Words in the opposite order, white space between them included."""
    return "".join(reversed(re.split(r"(\s+)", text)))


def _small(text: str) -> str:
    """Letters A-Z as a-z; no other character changes."""
    return text.translate(dict(zip(map(ord, string.ascii_uppercase), string.ascii_lowercase, strict=True)))


_MORSE = _tokens(MORSE)
CODES: Mapping[str, Code] = MappingProxyType(
    {
        "atbash": _substituted(_mirrored(), _mirrored()),
        "base64": Code(
            lambda text: base64.b64encode(_bytes(text)).decode(),
            lambda text: base64.b64decode(text).decode(),
        ),
        "binary": Code(
            lambda text: " ".join(f"{byte:08b}" for byte in _bytes(text)),
            lambda text: bytes(int(byte, 2) for byte in text.split()).decode(),
        ),
        "caesar": _substituted(_shifted(3), _shifted(-3)),
        "code_points": Code(
            lambda text: " ".join(str(ord(character)) for character in text),
            lambda text: "".join(chr(int(number)) for number in text.split()),
        ),
        "hex": Code(lambda text: _bytes(text).hex(), lambda text: binascii.unhexlify(text).decode()),
        "leetspeak": _leet(),
        "morse": Code(lambda text: _MORSE.encode(_small(text)), _MORSE.decode),
        "reversed_characters": Code(lambda text: text[::-1], lambda text: text[::-1]),
        "reversed_words": Code(_words_reversed, _words_reversed),
        "rot13": _substituted(_shifted(13), _shifted(13)),
        "spelled": _tokens(SPELLED),
        "zero_width": Code(ZERO_WIDTH.join, lambda text: text[::2]),
    }
)
"""By name."""


LATIN = frozenset({"atbash", "caesar", "leetspeak", "morse", "rot13"})
"""Codes that have signs for A-Z alone, among letters."""


def left(name: str, text: str) -> int:
    """How many letters of a text its code leaves as they are, for want of a sign."""
    return sum(c.isalpha() and not c.isascii() for c in text) if name in LATIN else 0
