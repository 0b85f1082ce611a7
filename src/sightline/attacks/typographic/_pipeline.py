"""What pipelines share that move words of a request into a picture: who finds them, where they stand."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from sightline.attacks.text_files import texts
from sightline.cases import Case
from sightline.errors import UsageError

Extractor = Literal["role", "rule", "release"]
"""Who says which words carry the request: the attacker role, our rules, or the case's release."""


def ours(name: str, key: str) -> str:
    """A text of `texts/NAME.yaml`."""
    return texts(__package__, name)[key]


def released(case: Case, *names: str) -> tuple[str, ...]:
    """The wordings of a case by these names.

    Raises:
        UsageError: if its release lacks one.
    """
    found = [" ".join(case.wordings.get(name, "").split()) for name in names]
    lacking = [name for name, text in zip(names, found, strict=True) if not text]
    if lacking:
        raise UsageError(
            f"case {case.id}: its release has no {' and no '.join(lacking)}; set extractor='rule' to derive "
            "the words by rule, or extractor='role' to ask the attacker for them"
        )
    return tuple(found)


@cache
def standing(phrase: str) -> re.Pattern[str]:
    """Finds a phrase in a text as whole words, in any letter case, its last word with or without an s.

    Only letters and digits of ASCII bound words: other scripts may write them without spaces.
    """
    *words, last = phrase.split()
    stem = last.removesuffix("s") if len(last) > 3 else last
    plural = "s?" if stem.isascii() and stem[-1:].isalpha() else ""
    spelled = r"\s+".join([*map(re.escape, words), re.escape(stem) + plural])
    start = r"(?<![A-Za-z0-9])" if re.match("[A-Za-z0-9]", phrase) else ""
    end = r"(?![A-Za-z0-9])" if re.search("[A-Za-z0-9]$", phrase) else ""
    return re.compile(start + spelled + end, re.IGNORECASE)
