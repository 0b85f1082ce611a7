"""The guideline of a round: a text for raters that comes along, is copied into the folder, and may be edited.

Its digest stands in the plan and in every answer: answers under another wording are another round.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from sightline.annotation.questions import GUIDELINE
from sightline.documents import read_text
from sightline.errors import UsageError
from sightline.store import write_atomically

CARE = "## Before you start"
"""Heading of the part that is shown with the page of consent."""
SHORT = 8
"""Characters of the digest that stand in an answer."""


def shipped_guideline() -> str:
    """The guideline that comes with Sightline."""
    return (files("sightline.annotation") / "data" / GUIDELINE).read_text(encoding="utf-8")


def write_guideline(folder: Path, own: Path | None = None) -> str:
    """Copy a guideline (the shipped one, if none is given) into an annotation folder; returns its digest.

    Raises:
        UsageError: for one without the part about care, or one that cannot be read.
    """
    text = shipped_guideline() if own is None else read_text(own)
    care_of(text, str(own or GUIDELINE))
    write_atomically(folder / GUIDELINE, text.encode())
    return guideline_digest(text)


def read_guideline(folder: Path) -> str:
    """The guideline of an annotation folder.

    Raises:
        UsageError: if there is none.
    """
    path = folder / GUIDELINE
    if not path.is_file():
        raise UsageError(f"{path} is missing: restore it from a copy; its digest stands in the plan")
    return read_text(path)


def guideline_digest(text: str) -> str:
    """SHA-256 of a guideline, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def care_of(text: str, where: str = GUIDELINE) -> str:
    """The part of a guideline that says what raters may meet, and what helps: shown before they consent.

    Raises:
        UsageError: if it has no such part.
    """
    lines = text.splitlines()
    if CARE not in lines:
        raise UsageError(f"{where}: has no part {CARE!r}, which raters read before they consent")
    start = lines.index(CARE) + 1
    end = next((at for at in range(start, len(lines)) if lines[at].startswith("## ")), len(lines))
    return "\n".join(lines[start:end]).strip()
