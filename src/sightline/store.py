"""Files of a run, written whole or not at all, and its blobs: pictures by hash.

Layout of a run folder::

    blobs/ab/ab12...          exact picture bytes by SHA-256, written once
    records/STAGE/NAME.jsonl  one shard per writing process; a torn last line is skipped and repeated
    records/STAGE.parquet     a finished stage, one row per key, sorted by order of first appearance

All of them show damage: blobs by their name, the others by their seals (see `sealed`).
"""

from __future__ import annotations

import io
import os
import re
import secrets
import struct
import warnings
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PilImage
from PIL import UnidentifiedImageError

from sightline.cases import Image, Media
from sightline.digests import digest, file_stamp, sha256_bytes, sha256_file
from sightline.errors import DamageError, UsageError
from sightline.records import Pixels
from sightline.sealed import damage_reported, file_named, sealed_line

MEDIA: dict[str, Media] = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a camera's JPEG with further frames behind the first
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""What Pillow is let to try; it tells MPO from JPEG by itself."""
MAX_PIXELS = 100_000_000
ORIENTATION = 0x0112
"""EXIF's number of the tag that says how a camera was held."""
_TURNS = {
    2: PilImage.Transpose.FLIP_LEFT_RIGHT,
    3: PilImage.Transpose.ROTATE_180,
    4: PilImage.Transpose.FLIP_TOP_BOTTOM,
    5: PilImage.Transpose.TRANSPOSE,
    6: PilImage.Transpose.ROTATE_270,
    7: PilImage.Transpose.TRANSVERSE,
    8: PilImage.Transpose.ROTATE_90,
}
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
"""First column and row of each pass of an interlaced PNG, and their steps."""
_LFS = "Git-LFS pointer, which only names the file; run `git lfs pull`"
_POINTERS = {
    b"version https://git-lfs.github.com/spec/": _LFS,
    b"version https://hawser.github.com/spec/": _LFS,
    b"/annex/objects/": "git-annex pointer, which only names the file; run `git annex get .`",
}
_MAKE_AGAIN = "`sightline run`, or `sightline craft` on the run's folder, makes it again"
_DEEP_GRAY = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # what Pillow calls a gray PNG of 16 bits
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_HASH = re.compile(r"[0-9a-f]{64}")
_FRESH = ".new-"


def write_atomically(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file so that a reader sees all of it or nothing, also after the power has failed.

    With `private`, nobody but its owner can read it.
    """
    refuse_unwritable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{_FRESH}{secrets.token_hex(8)}")
    try:
        with file_named(path):
            fresh.touch(0o600 if private else 0o666, exist_ok=False)
        with file_named(path), fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def refuse_unwritable(path: Path) -> None:
    """Make sure that a file can be written there, before the work whose result it is to hold.

    Raises:
        UsageError: for a folder in its place, a file in the place of its folder, or one that is not ours.
    """
    if not path.name or path.is_dir():
        raise UsageError(f"{path}: a folder is there; name a file")
    if path.exists() and not path.is_file():  # a device or a pipe: renaming would put a file in its place
        raise UsageError(f"{path}: no regular file is there; name another one")
    above = next((each for each in path.parents if each.exists()), path.parent)
    if not above.is_dir():
        raise UsageError(f"{path}: {above} is a file, not a folder; name a file in a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: nothing may be written in {above}; name a file elsewhere")


def write_note(path: Path, row: Any) -> None:
    """Write a mapping as one sealed line of JSON; `sealed.read_note` reads it."""
    write_atomically(path, sealed_line(row))


def sweep(folder: Path) -> None:
    """Delete what killed processes left in a run folder that nobody works in: half files and empty shards."""
    fresh = (f"{_FRESH}*", f"records/{_FRESH}*", f"blobs/*/{_FRESH}*")
    for pattern in (*fresh, "*.parquet.new", "records/*.parquet.new"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    for shard in folder.glob("records/*/*.jsonl"):
        if shard.stat().st_size == 0:
            shard.unlink()


def cache_folder() -> Path:
    """Folder of files that only save time: `$SIGHTLINE_CACHE`, else the user's cache folder."""
    named = os.environ.get("SIGHTLINE_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline"


def encode_png(pixels: Pixels) -> bytes:
    """PNG file of uint8 RGB pixels (height x width x 3), at compression level 1 (fast, lossless)."""
    buffer = io.BytesIO()
    PilImage.fromarray(pixels, "RGB").save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode_picture(data: bytes) -> Pixels:
    """uint8 RGB pixels (height x width x 3) of a picture file, upright; transparency is laid on white.

    Upright: turned as its EXIF orientation says. Of several frames the first counts, of 16-bit samples the
    upper eight bits (Pillow itself would clip grays to almost white).

    Raises:
        UsageError: if it is not a whole picture of a known format and mode, or larger than 100 megapixels.
    """
    return _decoded(data).pixels


class _Decoded(NamedTuple):
    """Upright pixels of a file, its type, and whether others may see something else in it.

    That is so if its own pixels lie otherwise, or if further frames stand behind the first.
    """

    pixels: Pixels
    media: Media
    unlike: bool


def _decoded(data: bytes) -> _Decoded:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF and of size; what counts is raised
            picture = PilImage.open(io.BytesIO(data), formats=FORMATS)
        with picture, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if picture.width * picture.height > MAX_PIXELS:
                raise UsageError(f"picture of {picture.width}x{picture.height} pixels is too large")
            pixels = _rgb(picture)  # first: asked for its EXIF, a broken file would half-load unnoticed
            media, turn = MEDIA[str(picture.format)], _TURNS.get(_orientation(picture))
            moves = picture.format != "MPO" and _is_animated(picture)
            if picture.format == "PNG":
                _check_rows(data)
    except UsageError:
        raise
    except UnidentifiedImageError:  # its own message holds the address of the buffer
        raise UsageError(f"not a readable picture: no {', '.join(FORMATS)}") from None
    except Exception as broken:  # a damaged file makes Pillow's readers raise almost anything
        why = " ".join(str(broken).split())[:200] or type(broken).__name__
        raise UsageError(f"not a readable picture: {why}") from broken
    if turn is None:
        return _Decoded(pixels, media, unlike=moves)
    return _Decoded(np.asarray(PilImage.fromarray(pixels, "RGB").transpose(turn)), media, unlike=True)


def _is_animated(picture: PilImage.Image) -> bool:
    """Whether a file has further frames; a damaged one behind the first is one too."""
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:
        return True


def _check_rows(data: bytes) -> None:
    """Make sure that a PNG holds all of its rows: Pillow leaves those black that a whole stream lacks.

    Raises:
        ValueError: if it does not.
    """
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    steps = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in steps)
    missing = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 < rows)
    stream, at = zlib.decompressobj(), 8
    while missing > 0 and at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        pending = data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        while pending and missing > 0 and not stream.eof:
            missing -= len(stream.decompress(pending, 1 << 20))
            pending = stream.unconsumed_tail
        at += 12 + length
    if missing > 0:
        raise ValueError("its rows end early")


def _orientation(picture: PilImage.Image) -> int:
    """The EXIF orientation; 1 (as it lies) if there is none that can be read, as every viewer has it."""
    try:
        found = picture.getexif().get(ORIENTATION)
    except Exception:  # damaged EXIF is no reason to refuse the pixels
        return 1
    return found if isinstance(found, int) else 1


def _rgb(picture: PilImage.Image) -> Pixels:
    """Pixels as they lie in the file."""
    if picture.mode in _DEEP_GRAY:
        samples = np.asarray(picture)
        gray = (samples >> 8).astype(np.uint8)
        gray[samples == picture.info.get("transparency", -1)] = 255
        return np.repeat(gray[:, :, None], 3, axis=2)
    if picture.mode not in _MODES:
        raise UsageError(f"picture of mode {picture.mode} is not read; save it as 8-bit RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        ground = PilImage.new("RGBA", rgba.size, "white")
        return np.asarray(PilImage.alpha_composite(ground, rgba).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def refuse_pointer(data: bytes, where: object) -> None:
    """Make sure that a file is itself and not what Git leaves for one that is kept elsewhere.

    Raises:
        UsageError: for a pointer of Git-LFS or git-annex.
    """
    start = data[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    for head, what in _POINTERS.items():
        if start.startswith(head):
            raise UsageError(f"{where}: is a {what} in its folder")


class Blobs:
    """Pictures by hash in a folder, with a small cache of decoded pixels.

    Satisfies `contracts.Images`.
    """

    def __init__(self, folder: Path, cache_bytes: int = 64_000_000) -> None:
        self.folder = folder
        self._known: dict[str, Image] = {}
        self._whole: dict[str, tuple[int, ...]] = {}
        self._decoded: OrderedDict[str, Pixels] = OrderedDict()
        self._free = cache_bytes

    def path(self, sha256: str) -> Path:
        """Where a blob lies. Raises UsageError if `sha256` is not a hash (never a path of its own)."""
        if _HASH.fullmatch(sha256) is None:
            raise UsageError(f"{sha256!r} is not the SHA-256 of a picture")
        return self.folder / sha256[:2] / sha256

    def whole(self, sha256: str) -> bool:
        """Whether a blob is there and its content has that hash; a file that stays as it is is read once."""
        path = self.path(sha256)
        try:
            stamp = file_stamp(path)
            if not path.is_file():  # reading a pipe may never end
                return False
            if self._whole.get(sha256) != stamp and sha256_file(path) == sha256:
                self._whole[sha256] = stamp
        except OSError:
            return False
        return self._whole.get(sha256) == stamp

    def listing(self) -> str:
        """Digest of all blobs' names, sizes and times: while it stays as it is, no file has been changed."""
        found = [(each.name, each.stat()) for each in self.folder.glob("*/*")]
        return digest(sorted((name, status.st_size, status.st_mtime_ns) for name, status in found))

    def put(self, data: bytes) -> Image:
        """Keep a picture file; the same bytes are written once, and again where that file is damaged.

        A picture that lies turned in its file (EXIF orientation) or moves is kept as a PNG of its upright
        pixels, of its first frame: some of those who read it would turn it or see more, others not.

        Raises:
            UsageError: if `data` is not a readable picture.
        """
        given = sha256_bytes(data)
        if given not in self._known or not self.whole(self._known[given].sha256):
            found = _decoded(data)
            media, sha256 = found.media, given
            if found.unlike:
                data, media = encode_png(found.pixels), "image/png"
                sha256 = sha256_bytes(data)
            if not self.whole(sha256):
                path = self.path(sha256)
                write_atomically(path, data)
                self._whole[sha256] = file_stamp(path)
            self._known[given] = Image(sha256, found.pixels.shape[1], found.pixels.shape[0], media)
        return self._known[given]

    def put_pixels(self, pixels: Pixels) -> Image:
        """Keep uint8 RGB pixels (height x width x 3) as a PNG file."""
        return self.put(encode_png(pixels))

    def read(self, sha256: str) -> bytes:
        """The exact bytes of a blob.

        Raises:
            DamageError: if it is absent, or its content no longer has that hash.
        """
        path = self.path(sha256)
        if not path.exists():
            raise DamageError(path, "picture is missing", _MAKE_AGAIN)
        with damage_reported(path, _MAKE_AGAIN):
            data = path.read_bytes()
        if sha256_bytes(data) != sha256:
            raise DamageError(path, "its content has changed since it was written", _MAKE_AGAIN)
        return data

    def pixels(self, image: Image) -> Pixels:
        """Decoded pixels, uint8 RGB, height x width x 3; read-only, cached by least recent use.

        Raises:
            UsageError: if the picture has a problem, is absent or damaged.
        """
        if image.problem is not None:
            raise UsageError(image.problem)
        if image.sha256 in self._decoded:
            self._decoded.move_to_end(image.sha256)
            return self._decoded[image.sha256]
        pixels = decode_picture(self.read(image.sha256))
        pixels.setflags(write=False)
        self._decoded[image.sha256] = pixels
        self._free -= pixels.nbytes
        while self._free < 0 and len(self._decoded) > 1:
            _, old = self._decoded.popitem(last=False)
            self._free += old.nbytes
        return pixels
