"""Every picture of a release decoded once, on all cores: what is wrong with it, and what it looks like."""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PilImage

from sightline._trees import Member
from sightline.cases import Image
from sightline.digests import sha256_bytes
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.release import OfficialRelease
from sightline.store import FORMATS, MAX_PIXELS, ORIENTATION, decode_picture

SIDE = 16
"""Pixels of the gray miniature by which pictures that look alike are told."""
DRAFT = (64, 64)
"""A JPEG is decoded at an eighth of its size or more, but all of its data are read: a cut one is found."""
BATCH_BYTES = 2_000_000


class Look(NamedTuple):
    """A picture: what is wrong with it, or its pixels, type, bytes, hash of 64 bits and gray miniature."""

    problem: str = ""
    width: int = 0
    height: int = 0
    kind: str = ""
    size: int = 0
    hash: int = 0
    miniature: bytes = b""


class Shown(NamedTuple):
    """A picture that a case shows: SHA-256 of its file, and its place."""

    sha256: str
    where: str


def look_at(data: bytes) -> Look:
    """Decode a picture file as `sightline run` would, at less cost where that finds the same."""
    try:
        width, height, kind, gray = _draft(data) or _whole(data)
    except UsageError as broken:
        return Look(str(broken), size=len(data))
    small = np.asarray(gray.resize((9, 8), PilImage.Resampling.BOX), dtype=np.int16)
    steps = np.packbits(small[:, 1:] > small[:, :-1])
    miniature = gray.resize((SIDE, SIDE), PilImage.Resampling.BOX).tobytes()
    return Look("", width, height, kind, len(data), int.from_bytes(steps.tobytes()), miniature)


def _draft(data: bytes) -> tuple[int, int, str, PilImage.Image] | None:
    """Size, type and gray pixels of an upright JPEG; None for whatever has to be decoded wholly."""
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        with PilImage.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            if picture.mode not in ("L", "RGB", "CMYK") or width * height > MAX_PIXELS:
                return None
            picture.draft("L", DRAFT)
            gray = picture.convert("L")
            turned = picture.getexif().get(ORIENTATION, 1) not in (0, 1)
    except Exception:  # a damaged file makes Pillow raise almost anything; the whole decoding tells
        return None
    return None if turned else (width, height, "JPEG", gray)


def _whole(data: bytes) -> tuple[int, int, str, PilImage.Image]:
    pixels: Pixels = decode_picture(data)
    kinds = {b"\x89PNG": "PNG", b"\xff\xd8": "JPEG", b"GIF": "GIF", b"RIFF": "WebP"}
    kind = next((name for start, name in kinds.items() if data.startswith(start)), "")
    return pixels.shape[1], pixels.shape[0], kind, PilImage.fromarray(pixels, "RGB").convert("L")


class Looker:
    """Looks at pictures in threads: Pillow decodes outside of Python's lock. Satisfies `contracts.Images`.

    What is put in comes back as an image that is only a number: its place in `shown`.
    """

    def __init__(self, workers: int = 0) -> None:
        self.shown: list[Shown] = []
        self.looks: dict[str, Look] = {}
        self._workers = workers or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._workers)
        self._waiting: deque[Future[dict[str, Look]]] = deque()
        self._batch: dict[str, bytes] = {}
        self._submitted: set[str] = set()
        self._bytes = 0

    @contextmanager
    def working(self) -> Iterator[Looker]:
        """While the block runs, threads work; at its end all pictures have been looked at."""
        with warnings.catch_warnings():  # around all threads: each changes the filters for itself
            try:
                yield self
                self._flush()
                while self._waiting:
                    self._take()
            finally:
                self._pool.shutdown(wait=True, cancel_futures=True)

    def show(self, data: bytes, where: str) -> Image:
        """Look at a picture file, once for each content."""
        sha256 = sha256_bytes(data)
        self.shown.append(Shown(sha256, where))
        if sha256 not in self._submitted:
            self._submitted.add(sha256)
            self._batch[sha256] = data
            self._bytes += len(data)
            if self._bytes > BATCH_BYTES:
                self._flush()
        return Image(str(len(self.shown) - 1), 0, 0)

    def put(self, data: bytes) -> Image:
        """As `show`, of a picture that a benchmark draws."""
        return self.show(data, "a drawn picture")

    def read(self, sha256: str) -> bytes:
        """Nothing is kept."""
        raise UsageError(f"picture {sha256} is not kept")

    def pixels(self, image: Image) -> Pixels:
        """Nothing is kept."""
        raise UsageError(f"picture {image.sha256} is not kept")

    def _flush(self) -> None:
        batch, self._batch, self._bytes = self._batch, {}, 0
        while len(self._waiting) >= 2 * self._workers:
            self._take()
        self._waiting.append(self._pool.submit(_look_at_all, batch))

    def _take(self) -> None:
        self.looks |= self._waiting.popleft().result()


def _look_at_all(batch: Mapping[str, bytes]) -> dict[str, Look]:
    return {sha256: look_at(data) for sha256, data in batch.items()}


class WatchedRelease(OfficialRelease):
    """A release whose pictures are looked at, and not kept."""

    def __init__(self, root: Path | None, looker: Looker) -> None:
        super().__init__(root, looker)
        self.members: list[Member] = []
        self._looker = looker

    def _noted(self, name: str) -> Member:
        member = super()._noted(name)
        self.members.append(member)
        return member

    def kept(self, data: bytes, where: str) -> Image:
        """Look at a picture file."""
        return self._looker.show(data, where)
