"""The language of a reply as an ISO 639 code, `und` where it cannot be told: short, empty or mixed texts.

Most scripts are of one language alone, so that a few letters tell it. Texts in Latin, Cyrillic, Arabic,
Devanagari and Bengali letters are named by py3langid (extra `languages`) from some twenty letters on. A text
is mixed, and undetermined, where no script has two thirds of its letters, or the halves of a long one differ.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from sightline.judges._language import LEAST_SURE, identified

UND = "und"
_LETTERS_READ = 4000
_WORD = re.compile(r"[^\W\d_]+")
_OF_ONE = {
    "th": "\u0e00-\u0e7f",
    "lo": "\u0e80-\u0eff",
    "ko": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "he": "\u0590-\u05ff",
    "hy": "\u0530-\u058f",
    "ka": "\u10a0-\u10ff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "kn": "\u0c80-\u0cff",
    "ml": "\u0d00-\u0d7f",
    "gu": "\u0a80-\u0aff",
    "pa": "\u0a00-\u0a7f",
    "km": "\u1780-\u17ff",
    "my": "\u1000-\u109f",
    "si": "\u0d80-\u0dff",
}
_OF_MANY = {
    "latin": "a-z\u00aa-\u024f\u1e00-\u1eff",
    "cyrillic": "\u0400-\u04ff",
    "arabic": "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff",
    "devanagari": "\u0900-\u097f",
    "bengali": "\u0980-\u09ff",
}
_EASTERN = {"han": "\u3400-\u9fff\uf900-\ufaff", "kana": "\u3040-\u30ff"}
_SCRIPTS = {name: re.compile(f"[{letters}]") for name, letters in {**_OF_ONE, **_OF_MANY, **_EASTERN}.items()}
_DENSE = {"han": 3, "kana": 2, "ko": 3}
"""Letters that say as much as so many of an alphabet."""
_FEWEST = 2
_FEWEST_OF_MANY = 20
_MOSTLY = 2 / 3
_KANA = 0.1
"""Share of kana among kana and han from which a text is Japanese."""
_LONG = 40
_HALF_SURE = 0.9


class Tag(NamedTuple):
    """A language by its ISO 639 code, `und` if unknown, and how sure that is, 0 to 1."""

    code: str
    sure: float


def tag(text: str) -> Tag:
    """The language of a text by its first characters. Needs the extra `languages`."""
    words = _WORD.findall(text[:_LETTERS_READ].casefold())
    letters = "".join(words)
    counts = Counter({name: len(script.findall(letters)) for name, script in _SCRIPTS.items()})
    weighed = Counter({name: n * _DENSE.get(name, 1) for name, n in counts.items()})
    eastern = weighed.pop("han") + weighed.pop("kana")
    weighed["eastern"] = eastern
    script, most = weighed.most_common(1)[0]
    total = weighed.total()
    if not most or most < _MOSTLY * total:
        return Tag(UND, 0.0)
    if script == "eastern":
        own = counts["han"] + counts["kana"]
        code = "ja" if counts["kana"] >= _KANA * own else "zh"
        return Tag(code, most / total) if own >= _FEWEST else Tag(UND, 0.0)
    if script in _OF_ONE:
        return Tag(script, most / total) if counts[script] >= _FEWEST else Tag(UND, 0.0)
    if counts[script] < _FEWEST_OF_MANY:
        return Tag(UND, 0.0)
    return _named(words)


def _named(words: list[str]) -> Tag:
    """Of a script of many languages: what py3langid says, if both halves of a long text agree."""
    code, sure = identified(" ".join(words))
    if sure < LEAST_SURE or code in _OF_ONE or code in ("zh", "ja"):
        return Tag(UND, sure)
    if len(words) >= _LONG:
        half = len(words) // 2
        first, second = (identified(" ".join(part)) for part in (words[:half], words[half:]))
        if first[0] != second[0] and min(first[1], second[1]) >= _HALF_SURE:
            return Tag(UND, 0.0)
    return Tag(code, sure)
