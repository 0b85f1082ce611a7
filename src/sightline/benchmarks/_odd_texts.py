"""Texts of a release that no person wrote: what a program leaves for an absent or a structured value."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sightline.contracts import Release

_NO_WORDS = re.compile(r"(?:nan|none|null|n/?a|#n/a|<na>|\[.*\]|\{.*\})", re.IGNORECASE | re.DOTALL)


def warn_of_odd_texts(release: Release, where: str, texts: Iterable[tuple[str, str]]) -> None:
    """Warn of such texts, each with its place; they are asked all the same: no row is left out."""
    odd = [f"{place} {text.strip()[:40]!r}" for place, text in texts if _NO_WORDS.fullmatch(text.strip())]
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        release.warn(
            f"{where}: no words of a person: {', '.join(odd[:3])}{more}; asked and drawn as they are"
        )
