"""Harmless pictures that attacks set beside what they draw: those of a folder, or drawn scenes of shapes.

A pool is a part of them, chosen at random. `least_alike` chooses from it what resembles the drawn words and
the others chosen least, by color histograms: a stand-in that needs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.attacks.pictures import resized
from sightline.attacks.scenes import scene
from sightline.digests import digest, sha256_file
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.rng import numpy_rng
from sightline.store import decode_picture, refuse_pointer

SCENES = "scenes"
SHAPES = 5
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")
LEVELS = 4
"""Of each color in a histogram."""
_SMALL_PX = 64
"""Side at which pictures are compared."""
Sized = Callable[[int], Pixels]
"""A picture by the side in pixels at which it is wanted: a scene is drawn as large, a file is as it is."""


def files_of(folder: str) -> tuple[Path, ...]:
    """The pictures of a folder by name.

    Raises:
        UsageError: if there is no such folder, or it holds none.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UsageError(f"pictures={folder!r}: expected {SCENES!r} or a folder, and there is none")
    files = (file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
    found = tuple(sorted(file for file in files if file.is_file()))
    if not found:
        raise UsageError(f"pictures={folder!r}: the folder holds no picture ({', '.join(ENDINGS)})")
    return found


def resolved(pictures: str) -> Mapping[str, str]:
    """Digest of a folder's pictures, for an attack's identity; nothing for scenes."""
    if pictures == SCENES:
        return {}
    return {"pictures": digest([(file.name, sha256_file(file)) for file in files_of(pictures)])}


def pool(pictures: str, count: int, *key: object) -> tuple[Sized, ...]:
    """So many pictures chosen by `key`, or all of a folder that has fewer.

    Raises:
        UsageError: as `files_of`; later, for a file that is no picture.
    """
    if pictures == SCENES:
        return tuple(partial(_scene, (*key, number)) for number in range(count))
    files = files_of(pictures)
    order = numpy_rng(*key).permutation(len(files))[:count]
    return tuple(partial(_read, files[place]) for place in order)


def _scene(key: tuple[object, ...], size_px: int) -> Pixels:
    return scene(size_px, SHAPES, numpy_rng(*key))


def _read(file: Path, size_px: int) -> Pixels:
    del size_px
    return _decoded(file, sha256_file(file))


@lru_cache(maxsize=256)
def _decoded(file: Path, sha256: str) -> Pixels:
    del sha256  # a file that was replaced is read again
    data = file.read_bytes()
    refuse_pointer(data, file)
    try:
        return decode_picture(data)
    except UsageError as broken:
        raise UsageError(f"{file}: {broken}") from None


def histogram(picture: Pixels) -> NDArray[np.float64]:
    """Shares of the pixels in each of `LEVELS` ** 3 colors, of length 1."""
    levels = (resized(picture, (_SMALL_PX, _SMALL_PX)) // (256 // LEVELS)).reshape(-1, 3).astype(np.int64)
    codes = levels @ np.array([LEVELS**2, LEVELS, 1])
    counts = np.bincount(codes, minlength=LEVELS**3).astype(np.float64)
    return counts / np.linalg.norm(counts)


def least_alike(goal: Pixels, candidates: Sequence[Pixels], count: int) -> list[int]:
    """Greedily, the candidate least alike to the goal and those chosen already: mean cosine, first of equals.

    Raises:
        UsageError: for fewer candidates than are to be chosen.
    """
    if len(candidates) < count:
        raise UsageError(f"{count} pictures are to be chosen from {len(candidates)}: give a folder with more")
    features = np.stack([histogram(each) for each in candidates]) if candidates else np.zeros((0, LEVELS**3))
    compared, chosen = [histogram(goal)], list[int]()
    for _ in range(count):
        alike = (features @ np.stack(compared).T).mean(axis=1)
        alike[chosen] = np.inf
        chosen.append(int(alike.argmin()))
        compared.append(features[chosen[-1]])
    return chosen
