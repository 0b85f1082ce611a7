"""What stands in pictures, and the forms in which it is checked.

A picture is read as it is; where nothing was read, or not surely, again padded to a square, and mirrored (a
small one enlarged). Each distinct picture is read once in a process, whoever asks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
from PIL import Image as PilImage

from sightline.defenses._readers import SURE, Reader, entry
from sightline.records import Pixels

MARGIN = 0.1
"""Of the longer side, added on either side before a picture is read again."""
SMALL_PX, ENLARGED = 512, 2
"""A square whose side is smaller is enlarged by this, so that letters fall on other pixels."""
PASSES = 3
MOST_READINGS = 4 * PASSES
_WORD = re.compile(r"\w*[^\W\d_]\w*")
_LETTERS = str.maketrans("0135", "oles")


class ReadingError(Exception):
    """A reader failed on a picture."""


class Shelf:
    """What readers found, by reader and picture. Safe to use from threads: one picture is read at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._readers: dict[str, Reader] = {}
        self._found: dict[tuple[str, str], tuple[str, ...]] = {}
        self.count = 0
        """Pictures that were read, not those that were known."""

    def texts(self, reader: str, sha256: str, pixels: Callable[[], Pixels]) -> tuple[str, ...]:
        """The texts that may stand in a picture, likeliest first; () for none.

        Raises:
            ReadingError: if the reader fails; it is asked again next time.
            UsageError: if the reader cannot be loaded, or the picture not be opened.
        """
        with self._lock:
            known = self._found.get((reader, sha256))
            if known is not None:
                return known
            if reader not in self._readers:
                self._readers[reader] = entry(reader).load()
            shown = pixels()
            self.count += 1
            try:
                found = texts_of(self._readers[reader], shown)
            except Exception as wrong:
                raise ReadingError(f"{reader}: {type(wrong).__name__}: {wrong}") from wrong
            self._found[reader, sha256] = found
            return found


SHELF = Shelf()


def texts_of(reader: Reader, pixels: Pixels) -> tuple[str, ...]:
    """The texts that may stand in a picture, surest first: as it is; padded, mirrored if that was unsure."""
    first = reader.read(pixels)
    found = [first]
    if not first.lines or first.sure < SURE:
        square = enlarged(padded(pixels))
        again = (reader.read(square, quick=True), reader.read(square[:, ::-1], quick=True))
        found += [each for each in again if each.lines and each.sure >= first.sure]
    found.sort(key=lambda each: -each.sure)
    texts = (" ".join(each.lines).strip() for each in found)
    return tuple(dict.fromkeys(text for text in texts if text))


def padded(pixels: Pixels) -> Pixels:
    """The picture in the middle of a square with a margin, on the color that its rim has most."""
    height, width = pixels.shape[:2]
    side = max(height, width) + 2 * max(1, round(MARGIN * max(height, width)))
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colors, counts = np.unique(rim, axis=0, return_counts=True)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = colors[counts.argmax()]
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def enlarged(pixels: Pixels) -> Pixels:
    """A small picture at twice its size (bicubic); another as it is."""
    height, width = pixels.shape[:2]
    if max(height, width) >= SMALL_PX:
        return pixels
    picture = PilImage.fromarray(np.ascontiguousarray(pixels))
    size = (width * ENLARGED, height * ENLARGED)
    return np.asarray(picture.resize(size, PilImage.Resampling.BICUBIC))


def readings(pictures: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """What is checked, from the texts that may stand in each picture: at most `MOST_READINGS`, each once.

    The texts of all pictures with spaces between them, and (a word cut in pieces) without any; both also with
    digits read as the letters that they look like. NFKC, without letter case.
    """
    plain = [[text for text in map(_plain, each) if text] for each in pictures]
    shown = [each for each in plain if each]
    found: list[str] = []
    for at in range(max(map(len, shown), default=0)):
        texts = [each[min(at, len(each) - 1)] for each in shown]
        found.append(" ".join(texts))
        if len(texts) > 1:
            found.append("".join(texts).replace(" ", ""))
    found += [_WORD.sub(lambda word: word[0].translate(_LETTERS), text) for text in found]
    return tuple(dict.fromkeys(found))


def _plain(text: str) -> str:
    kept = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join(kept.casefold().split())
