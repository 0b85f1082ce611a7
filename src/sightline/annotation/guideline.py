"""The guideline of a round: a text for raters that comes along, is copied into the folder, and may be edited.

Its digest stands in the plan and in every answer: answers under another wording are another round.
"""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

from sightline.annotation.questions import GUIDELINE
from sightline.documents import read_text
from sightline.errors import UsageError
from sightline.store import write_atomically

CARE = "## Before you start"
"""Heading of the part that is shown with the page of consent."""
CONTACT = "(The coordinator writes here whom raters can call, and when.)"
"""What stands in the shipped guideline until the coordinator has written it."""
NO_CONTACT = "whoever gave you the address of this page: nobody else is named here yet."
SHORT = 8
"""Characters of the digest that stand in an answer."""
_BEGINS = re.compile(r"[#|>`]|\s*([*+-]|\d+[.)])\s|\s{4}")
"""Lines that do not go on with the one before."""


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


def without_contact(text: str) -> bool:
    """Whether nobody has written yet whom raters can call."""
    return CONTACT in text


def no_contact(folder: Path, round_: int) -> str:
    """What to tell the coordinator then."""
    return (
        f"{folder / GUIDELINE} does not say yet whom raters can call: write it there, then "
        f"`sample --round {round_ + 1}`, before anybody rates"
    )


def for_screen(text: str) -> str:
    """A guideline as raters see it: each paragraph and each point on one line, which the page wraps."""
    found: list[str] = []
    for line in text.replace(CONTACT, NO_CONTACT).splitlines():
        goes_on = line.strip() and not _BEGINS.match(line) and found and found[-1].strip()
        if goes_on and not found[-1].startswith(("#", "|")):
            found[-1] += " " + line.strip()
        else:
            found.append(line)
    return "\n".join(found)
