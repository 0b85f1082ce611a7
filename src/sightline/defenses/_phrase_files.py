"""A file of phrases of the user's, one a line; empty lines and those that begin with # say nothing."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sightline.digests import digest, file_stamp
from sightline.errors import UsageError
from sightline.judges._text import contains, normal

MOST_BYTES = 5_000_000
_SHORTEST = 4
"""Letters of a phrase that is also looked for inside words, where pieces were put together."""


class PhraseFile(NamedTuple):
    """Phrases in normal form, and the digest of them."""

    phrases: tuple[str, ...]
    digest: str

    def found_in(self, text: str) -> str | None:
        """The first phrase that stands in a text; in one without spaces, anywhere in it."""
        whole = normal(text)
        for phrase in self.phrases:
            if contains(whole, phrase):
                return phrase
            joined = phrase.replace(" ", "")
            if " " not in whole and len(joined) >= _SHORTEST and joined in whole:
                return phrase
        return None


def phrase_file(name: str) -> PhraseFile:
    """The phrases of a file.

    Raises:
        UsageError: if there is no such file, it is no text, or holds no phrase.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(f"{path}: no such file; write one with a phrase a line")
    return _read(path, file_stamp(path))


@lru_cache(maxsize=8)
def _read(path: Path, stamp: object) -> PhraseFile:
    del stamp
    data = path.read_bytes()
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path}: {len(data)} bytes are no list of phrases")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8; save it as UTF-8") from None
    kept = (normal(line) for line in lines if line.strip() and not line.lstrip().startswith("#"))
    phrases = tuple(dict.fromkeys(phrase for phrase in kept if phrase))
    if not phrases:
        raise UsageError(f"{path}: no phrase in it; write one a line")
    return PhraseFile(phrases, digest(phrases))
