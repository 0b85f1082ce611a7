"""Pictures of ad-hoc use: what a notebook has becomes a written file, and a file can be shown."""

from __future__ import annotations

import atexit
import os
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sightline.cases import Image
from sightline.digests import sha256_bytes
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.store import Blobs, decode_picture, encode_png

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as PilImage

    ImageLike: TypeAlias = "Picture | PilImage | NDArray[np.uint8] | os.PathLike[str]"
"""A sealed picture, a Pillow image, an array (height, width, 3) of uint8, or the path of a picture file."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file that was written and read back. Displays itself in a notebook.

    Attributes:
        sha256: of the file's bytes.
        width: pixels.
        height: pixels.
        path: where the file lies; its name is its hash, without an extension.
    """

    sha256: str
    width: int
    height: int
    path: Path = field(compare=False)

    @property
    def pixels(self) -> Pixels:
        """RGB values 0..255 as the file holds them: uint8, (height, width, 3)."""
        return decode_picture(self.read())

    @property
    def pil(self) -> PilImage:
        """The picture as a Pillow image in mode RGB."""
        from PIL import Image as Pillow

        return Pillow.fromarray(self.pixels, "RGB")

    def read(self) -> bytes:
        """The exact bytes of the file.

        Raises:
            UsageError: if it is gone or was changed.
        """
        data = self.path.read_bytes() if self.path.is_file() else b""
        if sha256_bytes(data) != self.sha256:
            raise UsageError(
                f"{self.path}: the picture is gone or was changed since it was written; make it again"
            )
        return data

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a copy of the exact file, such as to `attack.png`; returns its path."""
        to = Path(path).expanduser()
        to.write_bytes(self.read())
        return to

    def __repr__(self) -> str:
        return f"<Picture {self.width}x{self.height}, sha256 {self.sha256[:12]}>"

    def _repr_png_(self) -> bytes:
        return encode_png(self.pixels)


class Pictures(Blobs):
    """The picture store of ad-hoc use; pictures in other stores of this process are found as well."""

    _all: tuple[Pictures, ...] = ()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "blobs")
        Pictures._all = (*Pictures._all, self)

    def read(self, sha256: str) -> bytes:
        """See `Blobs.read`."""
        stores = (self, *Pictures._all)
        holder = next((store for store in stores if store.path(sha256).exists()), self)
        return Blobs.read(holder, sha256)

    def seal(self, image: ImageLike) -> Image:
        """Write a picture of the caller into the store and return its reference.

        Files keep their exact bytes; arrays and Pillow images are written as PNG.

        Raises:
            UsageError: for what is no picture, an array of floats, or an unreadable file.
        """
        if isinstance(image, Picture):
            return self.put(image.read())
        if isinstance(image, os.PathLike):
            return self.put(_file(Path(image).expanduser()))
        return self.put_pixels(_array(image))

    def picture(self, image: Image) -> Picture:
        """The written file behind a reference.

        Raises:
            UsageError: if it is absent or damaged.
        """
        if not self.path(image.sha256).exists():
            self.put(self.read(image.sha256))
        return Picture(image.sha256, image.width, image.height, self.path(image.sha256))


def is_image(value: Any) -> bool:
    """Whether a value is a picture: a sealed one, a Pillow image, an array, or a path (never a string)."""
    return isinstance(value, Picture | np.ndarray | os.PathLike) or hasattr(value, "_repr_png_")


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as absent:
        raise UsageError(
            f"{path}: the picture cannot be read ({absent.strerror}); name an image file"
        ) from None


def _array(image: Any) -> Pixels:
    if hasattr(image, "convert"):  # a Pillow image, without loading Pillow for those who have none
        if image.mode not in ("RGB", "L", "1"):
            import io

            buffer = io.BytesIO()
            image.save(buffer, format="PNG")
            return decode_picture(buffer.getvalue())
        return np.asarray(image.convert("RGB"))
    if isinstance(image, str):
        raise UsageError(f"a picture's file is given as a path: pathlib.Path({image!r})")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UsageError(
            f"a picture is an array (height, width, 3) of uint8, RGB 0..255; this one is {pixels.shape} "
            f"{pixels.dtype}. From floats in 0..1: (255 * x).round().astype('uint8')"
        )
    return pixels


@cache
def shared_folder() -> Path:
    """The temporary folder of this process, for calls that name no folder; it is removed at exit."""
    held = tempfile.TemporaryDirectory(prefix="sightline-", ignore_cleanup_errors=True)
    atexit.register(held.cleanup)
    return Path(held.name)


@cache
def store_in(folder: Path) -> Pictures:
    """The store of a folder, opened once per process."""
    folder.mkdir(parents=True, exist_ok=True)
    return Pictures(folder)


def store(folder: str | os.PathLike[str] | None = None) -> Pictures:
    """The picture store of a named folder, or of the process's temporary one."""
    return store_in(shared_folder() if folder is None else Path(folder).expanduser().resolve())
