"""A lock on a run folder: one process at a time; the system releases it when that process ends."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from sightline.errors import UsageError
from sightline.store import sweep

try:
    import fcntl
except ImportError:  # no such lock on Windows: two processes in one folder are the user's care there
    fcntl = None  # type: ignore[assignment]

BUSY = "records/.busy"
_locked: dict[Path, IO[bytes]] = {}


def lock_folder(folder: Path) -> None:
    """Lock `folder` for this process and delete what killed ones left there; a second call does nothing.

    Raises:
        UsageError: if another process works there, or the folder cannot be written.
    """
    try:
        path = folder.resolve() / BUSY
        if path in _locked and path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    except (OSError, RuntimeError) as unfit:  # before Python 3.13, a loop of links is a RuntimeError
        what = getattr(unfit, "strerror", None) or "a loop of symbolic links"
        raise UsageError(f"{folder}: not a folder that can be written ({what})") from None
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            cure = "wait for it, or choose another --out"
            raise UsageError(f"{folder}: another sightline process works in this folder; {cure}") from None
    _locked[path] = file
    sweep(folder)


def remove_folder(folder: Path, parents: Sequence[Path]) -> None:
    """Remove a folder that `lock_folder` made, with everything in it.

    `parents` are those that were made for it; they go, too, if nothing else lies in them.
    """
    path = folder.resolve() / BUSY
    if path in _locked:
        _locked.pop(path).close()
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        for parent in parents:
            parent.rmdir()
