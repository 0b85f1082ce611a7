"""Pictures of a run as raters get them: decoded and encoded anew, so that no file is served as it is."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image as PilImage
from PIL import ImageFilter

from sightline.annotation.refusals import RefusedError
from sightline.errors import SightlineError
from sightline.store import Blobs, decode_picture

MOST_PX = 4096
"""Longer side of what is served; larger pictures are made smaller."""
BLURRED_PX = 160
_BLUR_FROM_PX = 12
_CACHE_BYTES = 64_000_000


def encoded(data: bytes, *, color: bool = False, blurred: bool = False) -> bytes:
    """A PNG of a picture file's upright pixels and nothing else of it: gray unless `color`, at most 4,096 px.

    `blurred` is small, and made of so few pixels that nothing in it can be recognized.

    Raises:
        UsageError: if it is no picture, or larger than 100 megapixels (told before it is unpacked).
    """
    picture = PilImage.fromarray(decode_picture(data), "RGB")
    if not color:
        picture = picture.convert("L")
    if blurred:
        picture.thumbnail((_BLUR_FROM_PX, _BLUR_FROM_PX), PilImage.Resampling.BOX)
        scale = BLURRED_PX / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, PilImage.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(6))
    else:
        picture.thumbnail((MOST_PX, MOST_PX), PilImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


class Pictures:
    """Encoded pictures of a run, with a cache; one is decoded at a time, so that memory is bounded."""

    def __init__(self, blobs: Path) -> None:
        self._blobs = Blobs(blobs)
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, bool, bool], bytes] = OrderedDict()
        self._free = _CACHE_BYTES

    def png(self, sha256: str, *, color: bool, blurred: bool) -> bytes:
        """A PNG of a blob.

        Raises:
            RefusedError: if the blob is absent, damaged, or no picture.
        """
        key = (sha256, color, blurred)
        with self._lock:
            if key not in self._held:
                try:
                    data = encoded(self._blobs.read(sha256), color=color, blurred=blurred)
                except SightlineError:  # its message names the file, which raters are not told
                    raise RefusedError(404, "this picture cannot be shown: skip the item as broken") from None
                self._held[key] = data
                self._free -= len(data)
                while self._free < 0 and len(self._held) > 1:
                    self._free += len(self._held.popitem(last=False)[1])
            self._held.move_to_end(key)
            return self._held[key]
