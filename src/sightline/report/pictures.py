"""Pictures for the page: exact file bytes when they are small, a reduced copy (said so) otherwise."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image as PilImage

from sightline.cases import Image
from sightline.contracts import Images
from sightline.errors import UsageError
from sightline.records import Pixels

MAX_SIDE = 512
MAX_BYTES = 40_000
_COPIES: tuple[tuple[int, int | None], ...] = (
    *((side, None) for side in (512, 384, 256, 192, 128)),
    (256, 64),
    (128, 64),
    (64, 64),
)
"""(longer side in pixels, number of colors) of the copies that are tried, best first."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An embedded picture: `uri` is a data URI, or '' with `problem` set; sizes in pixels of the file."""

    uri: str
    width: int
    height: int
    sha256: str
    note: str = ""
    problem: str = ""

    @property
    def shown_width(self) -> int:
        """CSS pixels: small pictures are enlarged by a whole factor, large ones left to the layout."""
        return self.width * max(1, 208 // max(1, self.width)) if self.width else 0


class _Copy(NamedTuple):
    data: bytes
    size: tuple[int, int]
    colors: int | None


def _png(pixels: Pixels, side: int, colors: int | None) -> tuple[bytes, tuple[int, int]]:
    picture = PilImage.fromarray(np.asarray(pixels))
    picture.thumbnail((side, side), PilImage.Resampling.LANCZOS)
    if colors is not None:
        picture = picture.quantize(colors)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue(), picture.size


def _reduced(pixels: Pixels) -> tuple[bytes, str]:
    """The largest PNG copy that fits `MAX_BYTES`: at full color if it can be, else with 64 colors."""
    made = (_Copy(*_png(pixels, side, colors), colors) for side, colors in _COPIES)
    copy = next(each for each in made if len(each.data) <= MAX_BYTES)
    note = f"copy at {copy.size[0]}×{copy.size[1]}"
    return copy.data, note + (f", {copy.colors} colors" if copy.colors else "")


def embed(image: Image, images: Images) -> Picture:
    """A picture as data URI; one that cannot be read becomes a note, never a gap."""
    where = (image.width, image.height, image.sha256)
    if image.problem is not None:
        return Picture("", *where, problem=image.problem)
    try:
        data, media, note = images.read(image.sha256), image.media, ""
        pixels = images.pixels(image)
    except UsageError as broken:
        return Picture("", *where, problem=str(broken))
    if max(pixels.shape[:2]) > MAX_SIDE or len(data) > MAX_BYTES:
        (data, note), media = _reduced(pixels), "image/png"
    return Picture(f"data:{media};base64,{base64.b64encode(data).decode()}", *where, note=note)
