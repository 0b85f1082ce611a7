"""The files of a run folder by name, its format, and its lock: for everything that reads one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.digests import digest, sha256_file
from sightline.documents import refuse_special
from sightline.errors import DamageError, UsageError
from sightline.sealed import damage_reported, read_note, read_yaml

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


NO_FILE = "a run folder holds none: delete it"


def read_lock(folder: Path, cure: str = WRITE_AGAIN) -> dict[str, Any]:
    """The lock of a run folder.

    Raises:
        UsageError: if the folder is not a run, or one of another format.
        DamageError: if its lock is damaged.
    """
    path = folder / LOCK
    _refuse_special_in(folder)
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


def _refuse_special_in(folder: Path) -> None:
    """Make sure that a run folder holds files and folders alone; pictures are checked as they are read.

    Raises:
        DamageError: naming a pipe, a socket or a device.
    """
    for pattern in ("*", "records/*", "records/*/*", "cards/*"):
        for path in folder.glob(pattern):
            refuse_special(path, NO_FILE)


def finished_lock(folder: Path) -> dict[str, Any]:
    """The lock of a run that has finished, with the table of results that it finished with.

    Raises:
        UsageError: as `read_lock`, or if the run is not finished.
        DamageError: as `refuse_other_run`.
    """
    lock = read_lock(folder)
    if not (folder / COMPLETE).is_file():
        raise UsageError(
            f"{folder}: this run is not finished ({COMPLETE} is missing), so its table may be older than its "
            "study: finish it with `sightline run`"
        )
    refuse_other_run(folder)
    return lock


def refuse_other_format(folder: Path) -> None:
    """Make sure that a folder is new, or a run of this format.

    Raises:
        UsageError: as `read_lock`.
    """
    if (folder / LOCK).exists():
        read_lock(folder)


def comparable(lock: dict[str, Any]) -> dict[str, Any]:
    """A lock without what may differ between runs of one study: where a release lies, what training cost.

    Of code only the digests that stand in keys count; the list of modules says which of them it was. Of what
    was trained, the targets count, which the lock lists.
    """
    same = {**lock, "benchmarks": [{**entry, "root": None} for entry in lock["benchmarks"]]}
    return {key: value for key, value in same.items() if key not in ("made_from", "code", "trained")}


def lock_digest(lock: dict[str, Any]) -> str:
    """Digest of what must not change between runs."""
    return digest(comparable(lock))


def refuse_other_run(folder: Path) -> None:
    """Make sure that the table of results and the lock are those that the run finished with.

    A folder without that note (a run that goes on) is not looked into, nor a lock that is lost.

    Raises:
        DamageError: if one of them is another.
    """
    if not (folder / COMPLETE).exists():
        return
    again = "`sightline run` or `sightline judge` finishes the run anew"
    mark = read_note(folder / COMPLETE, again)
    other = f"is not the file that this run finished with ({COMPLETE})"
    refuse_special(folder / RESULTS, NO_FILE)
    if mark.get("results") != sha256_file(folder / RESULTS):
        raise DamageError(folder / RESULTS, other, f"copy it back, or {again}")
    if (folder / LOCK).exists():
        lock = read_lock(folder)
        with damage_reported(folder / LOCK, WRITE_AGAIN):
            found = lock_digest(lock)
        if mark.get("lock") != found:
            raise DamageError(folder / LOCK, other, f"copy it back, or {WRITE_AGAIN}")
