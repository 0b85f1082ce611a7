"""Tables that a release splits into several files."""

from __future__ import annotations

from sightline.contracts import Release
from sightline.errors import UsageError


def shards(release: Release, pattern: str, *folders: str) -> list[str]:
    """Names of the files of a table, by a shell's pattern, in the first of these folders that has any.

    Raises:
        UsageError: if none has: what was looked for, and the cure.
    """
    for folder in folders:
        found = release.names(folder, pattern)
        if found:
            return found
    looked = ", ".join(f"{folder}/{pattern}" if folder else pattern for folder in folders)
    raise UsageError(
        f"{release.root}: no file {pattern}; looked for {looked}. Set `root:` of the benchmark in the study "
        "to the folder or archive of the official release."
    )
