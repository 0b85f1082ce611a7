"""The kinds of failure that leave Sightline as exceptions; everything else is an `Outcome`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class SightlineError(Exception):
    """Root of our exceptions, so that the command line can print one line instead of a traceback."""


class UsageError(SightlineError):
    """The user can mend it. The message says what is wrong, where (file, row), and the cure."""


class DamageError(UsageError):
    """A file of a run is missing, damaged or unreadable; `path` is that file."""

    def __init__(self, path: Path, what: str, cure: str) -> None:
        super().__init__(f"{path}: {what}; {cure}")
        self.path = path


class ContractError(SightlineError):
    """One of our own methods broke its promise (for example an attack that exceeds its declared eps)."""


class MethodError(SightlineError):
    """A method raised an exception of its own: the message says which, on what, and where in its code."""


class EncodingError(UsageError):
    """A text that is not in the encoding in which it is read."""


class TransientError(SightlineError):
    """The environment failed for now (rate limit, time-out, a broken stream): worth another try later."""


class AbsentExtraError(UsageError):
    """A part of Sightline was asked for whose optional packages are not installed."""

    def __init__(self, what: str, extra: str, module: str, after: str = "") -> None:
        told = f"{what} needs the Python package {module!r}: pip install 'sightline[{extra}]'"
        super().__init__(f"{told}; {after}" if after else told)


class StoppedError(SightlineError):
    """The user stopped the work; what is done is kept."""


def nearest(name: str, known: Iterable[str], what: str) -> str:
    """One sentence for an unknown `name`: the nearest known names first, then all of them."""
    options = sorted(known)
    close = difflib.get_close_matches(str(name), options, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return f"unknown {what} {name!r}.{hint} Known: {', '.join(options) or 'none'}."


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Check a setting on construction.

    Raises:
        UsageError: naming the setting, its value and what was expected.
    """
    if not condition:
        raise UsageError(f"{name}={value!r} is out of range: expected {expected}")
