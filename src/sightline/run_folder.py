"""The files of a run folder by name, its format, and its lock: for everything that reads one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.errors import UsageError
from sightline.sealed import read_yaml

LOCK = "study.lock.yaml"
RESULTS = "results.parquet"
COMPLETE = "records/complete.json"
"""What a finished run leaves: digests of what it was made from and found."""
FORMAT = 2
"""Number of the format of locks and rows; another one is not read."""
WRITE_AGAIN = (
    "delete it, then `sightline run STUDY.yaml` with this folder as --out writes it anew: "
    "rows that are still wanted are kept"
)


def read_lock(folder: Path, cure: str = WRITE_AGAIN) -> dict[str, Any]:
    """The lock of a run folder.

    Raises:
        UsageError: if the folder is not a run, or one of another format.
        DamageError: if its lock is damaged.
    """
    path = folder / LOCK
    if not path.exists():
        raise UsageError(f"{folder}: not a run folder ({LOCK} is missing); make one with `sightline run`")
    lock = read_yaml(path, cure)
    found = lock.get("format", 1)
    if found != FORMAT:
        other = "an older" if found in range(FORMAT) else "another"
        raise UsageError(
            f"{folder}: written by {other} version of Sightline (format {found}, this one reads {FORMAT}), "
            "whose rows have other names and keys: run the study again with another --out, or read this one "
            "with the version that wrote it (`versions` in its lock); docs/run_folders.md tells more"
        )
    return lock


def refuse_other_format(folder: Path) -> None:
    """Make sure that a folder is new, or a run of this format.

    Raises:
        UsageError: as `read_lock`.
    """
    if (folder / LOCK).exists():
        read_lock(folder)
