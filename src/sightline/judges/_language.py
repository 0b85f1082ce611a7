"""Which language is a reply in? What its letters and its commonest words tell, or py3langid.

`looks_like` needs no package and only says what a text cannot be; `language_of` names a language.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sightline.errors import AbsentExtraError
from sightline.judges._phrases import LANGUAGES

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_LETTERS_READ = 4000
_WORD = re.compile(r"[^\W\d_]+")
_COMMON = {
    "english": "and are be but by can for from have how if it more not or that the there they this to what"
    " when which will with you your",
    "french": "au aux avec ce ces cette dans des donc du elle elles est et il ils je la le les leur mais ne"
    " nous ou par pas plus pour que qui sa sont sur un une vous",
    "german": "aber als an auch auf aus bei bis das dem den der des die dies ein eine einem einen einer es"
    " f\u00fcr ich im in ist mit nicht oder sich sie sind und von wenn wie wird zu zum zur",
    "italian": "al alla anche che ci come con da dal dalla dei del della delle di e gli ha i il in la le lo"
    " ma nel nella non per pi\u00f9 questo se si sono un una",
    "spanish": "al como con cuando de del el ella en es esta este la las lo los m\u00e1s no o para pero por"
    " que se si su sus un una y",
}
"""The commonest words of the languages in Latin script; of English those that no other one has as well."""
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_SCRIPTS = {
    "arabic": re.compile("[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff]"),
    "chinese": re.compile("[\u3400-\u9fff]"),
    "hindi": re.compile("[\u0900-\u097f]"),
    "korean": re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    "russian": re.compile("[\u0400-\u04ff]"),
}
_SCRIPTS["farsi"] = _SCRIPTS["arabic"]
_LATIN = re.compile("[a-z\u00aa-\u024f]")
_FEWEST_WORDS = 20
_LEAST_COMMON = 0.04
LEAST_SURE = 0.3
"""Probability below which a language is not named: short texts may be anything."""


class Language(NamedTuple):
    """A language by its name if there is a list for it, else by its ISO 639 code; '' if unknown."""

    name: str
    sure: float


def looks_like(text: str, language: str) -> bool:
    """Whether `text` may be in a language: in its script and, if in Latin script and long, with its words.

    A few words of the script may be anything, and count. Code, tables and bare lists do not look like prose.
    """
    words = _WORD.findall(text[:_LETTERS_READ].casefold())
    letters = "".join(words)
    of_script = _SCRIPTS.get(language, _LATIN)
    if 2 * len(of_script.findall(letters)) < len(letters):
        return False
    if language not in _WORDS or len(words) < _FEWEST_WORDS:
        return True
    return sum(word in _WORDS[language] for word in words) >= _LEAST_COMMON * len(words)


def need_languages(what: str) -> None:
    """Make sure that languages can be named.

    Raises:
        AbsentExtraError: if the package is not installed.
    """
    if importlib.util.find_spec("py3langid") is None:
        raise AbsentExtraError(what, "languages", "py3langid")


def language_of(text: str) -> Language:
    """The language of a text, by its first characters. Needs the extra `languages`."""
    read = " ".join(_WORD.findall(text[:_LETTERS_READ]))
    code, sure = identified(read)
    if not read or sure < LEAST_SURE:
        return Language("", sure)
    return Language({"en": "english", **LANGUAGES}.get(code, code), sure)


def identified(words: str) -> tuple[str, float]:
    """ISO 639 code and probability of a text of words alone, by py3langid."""
    code, sure = _identifier().classify(words)
    return str(code), float(sure)


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
