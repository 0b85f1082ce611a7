"""What happens to a picture between the attacker's disk and the model: saved again, compressed, resized.

Every step ends in a file: a target reads those very bytes. A JPEG is sent as JPEG (local models decode it
with Pillow, providers get it as `image/jpeg`), never as a PNG of what it decodes to. Compression is Pillow's
(libjpeg-turbo) with its default color subsampling, 4:2:0. A picture is scaled with the bicubic filter, which
Pillow widens when it shrinks a picture, and scaled back to its own size, so that only detail is lost.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image as PilImage

from sightline.errors import UsageError, require
from sightline.records import Pixels

AS_WRITTEN = "as written"
"""Name of the artifact itself among its re-encodings."""
QUALITIES = (95, 75, 50)
FACTORS = (0.5,)


class Reencoding(Protocol):
    """A picture in, the bytes of a picture file of the same size out."""

    @property
    def name(self) -> str:
        """What tables show; part of the key of every row."""
        ...

    def file(self, pixels: Pixels) -> bytes:
        """The new file of uint8 RGB pixels. Raises UsageError if there is no such file of that size."""
        ...


@dataclass(frozen=True, slots=True)
class Png:
    """The same pixels in another PNG file: whatever changes under it is the target's own unsteadiness."""

    @property
    def name(self) -> str:
        """See `Reencoding.name`."""
        return "PNG"

    def file(self, pixels: Pixels) -> bytes:
        """See `Reencoding.file`."""
        return _saved(PilImage.fromarray(pixels), format="PNG", compress_level=6)


@dataclass(frozen=True, slots=True)
class Jpeg:
    """JPEG at `quality` 1..100; Pillow's documentation advises against more than 95."""

    quality: int

    def __post_init__(self) -> None:
        require(1 <= self.quality <= 100, "jpeg", self.quality, "a quality of 1 to 100, usually at most 95")

    @property
    def name(self) -> str:
        """See `Reencoding.name`."""
        return f"JPEG {self.quality}"

    def file(self, pixels: Pixels) -> bytes:
        """See `Reencoding.file`."""
        return _saved(PilImage.fromarray(pixels), format="JPEG", quality=self.quality)


@dataclass(frozen=True, slots=True)
class Resize:
    """To `factor` times width and height (at least one pixel) and back again, as PNG."""

    factor: float

    def __post_init__(self) -> None:
        sound = 0.01 <= self.factor <= 4 and self.factor != 1
        require(sound, "resize", self.factor, "a factor of 0.01 to 4 other than 1, such as 0.5")

    @property
    def name(self) -> str:
        """See `Reencoding.name`."""
        return f"resize {self.factor:g}"

    def file(self, pixels: Pixels) -> bytes:
        """See `Reencoding.file`."""
        picture = PilImage.fromarray(pixels)
        between = [max(1, round(side * self.factor)) for side in picture.size]
        scaled = picture.resize(between, PilImage.Resampling.BICUBIC)
        back = scaled.resize(picture.size, PilImage.Resampling.BICUBIC)
        return _saved(back, format="PNG", compress_level=1)


def _saved(picture: PilImage.Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        picture.save(buffer, **how)
    except (OSError, ValueError) as unfit:
        raise UsageError(
            f"a picture of {picture.width}x{picture.height} cannot be saved as {how['format']}: {unfit}"
        ) from None
    return buffer.getvalue()


def reencodings(
    qualities: Sequence[int] = QUALITIES, factors: Sequence[float] = FACTORS
) -> tuple[Reencoding, ...]:
    """PNG, then JPEG at `qualities`, then resizing by `factors`; one that is named twice stands once.

    Raises:
        UsageError: for a quality outside 1..100, or a factor outside 0.01..4.
    """
    every: list[Reencoding] = [Png(), *map(Jpeg, qualities), *map(Resize, factors)]
    return tuple({each.name: each for each in every}.values())
