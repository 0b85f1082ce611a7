"""Font files of this machine: found by name, told by digest, and asked for what they can draw.

Text is set with Pillow's basic layout engine, so that no installed shaping library decides what is drawn.
Scripts that it cannot set (written right to left, or with letters that change beside others) are set with
raqm, and the note says so. What a font has no glyph for is never drawn: it would be an empty box, and the
attack would look weak. Nor is what leaves no ink: the picture would show less than its words.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import PIL
from PIL import ImageFont, features

from sightline.characters import is_blank
from sightline.digests import sha256_file
from sightline.errors import UsageError, require

BUNDLED = Path(__file__).resolve().parents[1] / "fonts"
FALLBACK = "DejaVuSansMono-Bold.ttf"
MOST_LETTERS = 5_000
"""Characters of a text to draw; no page holds as many, and to measure them takes ever longer."""
_NO_CHARACTER = "\U0010ffff"
_JOINERS = "\u200c\u200d\u200e\u200f"
#: blocks of scripts whose letters take their form or place from others: India to Burma, Khmer, Mongolian,
#: those of the islands, Brahmi and its kin
_JOINED = (
    (0x0900, 0x109F),
    (0x1780, 0x18AF),
    (0x1900, 0x1CFF),
    (0xA800, 0xABFF),
    (0x11000, 0x11FFF),
)


@dataclass(frozen=True, slots=True)
class FontFile:
    """A font as found on this machine; `sha256` of its file."""

    path: Path
    sha256: str

    def note(self, text: str = "") -> str:
        """What a draft records of it, for a text that is drawn in it."""
        found = f"font {self.path.name} sha256 {self.sha256[:16]}"
        return f"{found}, set by {_raqm()}" if is_shaped(text) else found

    def at(self, px: int, text: str = "") -> ImageFont.FreeTypeFont:
        """The face at a size in pixels per em, to draw `text` in.

        Raises:
            UsageError: for a text with characters that the font lacks, or that Pillow here cannot set; one
                without any to see, or too long for a picture.
        """
        require(len(text) <= MOST_LETTERS, "the text to draw", f"{len(text)} characters", f"{MOST_LETTERS}")
        if text and text.isspace():
            raise UsageError("the text to draw has no visible character")
        absent = list(dict.fromkeys(_inkless(self.path, text)))
        if absent:
            named = ", ".join(_named(sign) for sign in absent[:3])
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            raise UsageError(
                f"{self.path.name} has no glyph for {len(absent)} of the characters to draw: {named}{more}. "
                "Set `font` of the attack to the file name of an installed font that has them (the Noto "
                "fonts have most: Debian's fonts-noto-core, fonts-noto-cjk)"
            )
        if not is_shaped(text):
            return _face(self.path, px, ImageFont.Layout.BASIC)
        if not features.check("raqm"):
            raise UsageError(
                "the text to draw is written right to left or with joined letters, which Pillow sets with "
                "raqm and FriBiDi; install FriBiDi (Debian: libfribidi0)"
            )
        return _face(self.path, px, ImageFont.Layout.RAQM)


@cache
def _face(path: Path, px: int, engine: ImageFont.Layout) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), px, layout_engine=engine)


def _named(sign: str) -> str:
    return f"U+{ord(sign):04X} {unicodedata.name(sign, '')}".rstrip()


def _inkless(path: Path, text: str) -> Iterator[str]:
    """Characters of a text that would not be seen in it: without glyph or ink, marks without a letter.

    Plain spaces and line ends are no such; joiners only where letters are joined.
    """
    joiners = _JOINERS if is_shaped(text) else ""
    before = " "
    for sign in text:
        lone = before.isspace() and unicodedata.category(sign).startswith("M")
        if sign not in " \n" and sign not in joiners and (lone or not _has(path, sign)):
            yield sign
        before = sign


@cache
def _has(path: Path, sign: str) -> bool:
    """Whether a font draws a character other than what it draws for none; of spaces, whether as nothing."""
    if not sign.isspace() and (is_blank(sign) or sign == "\ufffd"):
        return False
    face = _face(path, 32, ImageFont.Layout.BASIC)

    def drawn(text: str) -> tuple[object, ...]:
        mask = face.getmask(text)
        return mask.size, bytes(mask), face.getlength(text)

    if sign.isspace():
        return face.getmask(sign).getbbox() is None
    return drawn(sign) != drawn(_NO_CHARACTER)


def is_shaped(text: str) -> bool:
    """Whether letters of a text run right to left or depend on those beside them."""
    return not text.isascii() and any(
        unicodedata.bidirectional(sign) in ("R", "AL", "AN", "RLE", "RLO", "RLI")
        or any(first <= ord(sign) <= last for first, last in _JOINED)
        for sign in text
    )


def _raqm() -> str:
    names = ("raqm", "fribidi", "harfbuzz")
    return ", ".join(f"{name} {features.version(name)}" for name in names)


def font_folders() -> tuple[Path, ...]:
    """Where fonts are looked for after our own folder: the system's and the user's font folders."""
    home = Path.home()
    if sys.platform == "darwin":
        return (home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts"))
    if sys.platform == "win32":
        return (Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",)
    shared = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
    return (home / ".local/share/fonts", home / ".fonts", *shared)


@cache
def find_font(name: str) -> FontFile:
    """A font by file name: ours, else the system's, else DejaVu Sans Mono Bold, which we carry.

    FreeMono Bold (FigStep) is not ours to give away: install Debian's `fonts-freefont-ttf` for it. Which
    file was taken is part of every draft's note.

    Raises:
        UsageError: if `name` is not a plain file name of a .ttf, .otf or .ttc font (of these the first face).
    """
    if re.fullmatch(r"[\w .+-]+\.(ttf|otf|ttc)", name, re.IGNORECASE) is None:
        raise UsageError(f"font={name!r}: expected the file name of a font, such as {FALLBACK!r}")
    if (BUNDLED / name).is_file():
        return FontFile(BUNDLED / name, sha256_file(BUNDLED / name))
    for folder in font_folders():
        for path in sorted(folder.rglob(name)) if folder.is_dir() else ():
            return FontFile(path, sha256_file(path))
    return FontFile(BUNDLED / FALLBACK, sha256_file(BUNDLED / FALLBACK))


def resolved(name: str) -> Mapping[str, str]:
    """What decides how a text in the font `name` is drawn here: the file that is taken, the drawing code.

    Raises:
        UsageError: as `find_font`.
    """
    return {
        "font": find_font(name).sha256,
        "Pillow": PIL.__version__,
        "FreeType": str(features.version("freetype2")),
        "shaping": _raqm(),
    }
