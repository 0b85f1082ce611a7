"""Pictures that rows of a run need and that are lost: looked for when a run is taken up, and said."""

from __future__ import annotations

from sightline.plain import pictures_in
from sightline.store import Blobs, Row
from sightline.study.progress import Progress


class LostPictures:
    """The pictures among those that rows need which are missing or damaged."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._lost: dict[str, None] = {}

    def among(self, row: Row) -> bool:
        """Whether a row needs a picture that is lost; it is remembered."""
        lost = [sha256 for sha256 in pictures_in(row) if not self._blobs.whole(sha256)]
        self._lost.update(dict.fromkeys(lost))
        return bool(lost)

    def tell(self, progress: Progress, done: str) -> None:
        """Say how many were lost, naming the first, and what was done; nothing if none was."""
        if self._lost:
            first = self._blobs.path(next(iter(self._lost)))
            progress.note(f"{len(self._lost)} pictures are missing or damaged, the first is {first}: {done}")
