"""Font files of this machine: found by name, told by digest, and asked for what they can draw.

What a font lacks is drawn with another that we carry, which the note names: Arabic and Hebrew are in DejaVu
Sans, Chinese, Japanese and Korean in WenQuanYi Micro Hei. What none of them has a glyph for is never drawn:
it would be an empty box, and the attack would look weak. Nor is what leaves no ink: the picture would show
less than its words. An installed font is never taken unasked, since no key of an artifact would hold it.

Text is set with Pillow's basic layout engine, so that no installed shaping library decides what is drawn.
Scripts that it cannot set (written right to left, or with letters that change beside others) are set with
raqm, and the note says so.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import PIL
from PIL import ImageFont, features

from sightline.attacks.scripts import JOINERS, is_emoji, is_mark, is_shaped, named, scripts_of
from sightline.characters import is_blank, is_unseen
from sightline.digests import sha256_file
from sightline.errors import UsageError, require

BUNDLED = Path(__file__).resolve().parents[1] / "fonts"
DATA = ("../fonts/*.tt?",)
FALLBACK = "DejaVuSansMono-Bold.ttf"
STAND_INS = ("DejaVuSans.ttf", "wqy-microhei.ttc")
"""Drawn with where a font lacks letters of a text, the first that has all of them."""
MOST_LETTERS = 5_000
"""Characters of a text to draw; no page holds as many, and to measure them takes ever longer."""
_FONT_NAME = r"[\w .+-]+\.(ttf|otf|ttc)"
_NO_CHARACTER = "\U0010ffff"
_PACKAGES = {
    "Chinese": "fonts-noto-cjk",
    "Japanese": "fonts-noto-cjk",
    "Korean": "fonts-noto-cjk",
    "emoji": "fonts-symbola",
}
"""Debian's packages of fonts by script; all others are in `fonts-noto-core`."""


@dataclass(frozen=True, slots=True)
class FontFile:
    """A font as found on this machine; `sha256` of its file."""

    path: Path
    sha256: str

    def note(self, text: str = "") -> str:
        """What a draft records of it, for a text that is drawn in it.

        Raises:
            UsageError: as `covering`.
        """
        font = self.covering(text)
        found = f"font {font.path.name} sha256 {font.sha256[:16]}"
        if font is not self:
            lacking = next(_inkless(self.path, text))
            found += f" in place of {self.path.name}, which lacks {named(lacking)}"
        return f"{found}, set by {_raqm()}" if is_shaped(text) else found

    def covering(self, text: str) -> FontFile:
        """This font if it has all characters of a text, else the first of ours that has; emoji never.

        Raises:
            UsageError: if none has; for a text without any to see, or too long for a picture.
        """
        require(len(text) <= MOST_LETTERS, "the text to draw", f"{len(text)} characters", f"{MOST_LETTERS}")
        if text and text.isspace():
            raise UsageError("the text to draw has no visible character")
        absent = list(dict.fromkeys(_inkless(self.path, text)))
        if not absent:
            return self
        if not any(is_emoji(sign) or is_unseen(sign) for sign in absent):
            for name in STAND_INS:
                if next(_inkless(BUNDLED / name, text), None) is None:
                    return find_font(name)
        shown = ", ".join(named(sign) for sign in absent[:3])
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        scripts = ", ".join(scripts_of(absent))
        raise UsageError(
            f"{self.path.name} has no glyph for {len(absent)} of the characters to draw: {shown}{more}"
            f"{scripts and f' ({scripts})'}. {_cure(text, absent)}"
        )

    def at(self, px: int, text: str = "") -> ImageFont.FreeTypeFont:
        """The face at a size in pixels per em, to draw `text` in: this font's, or what stands in for it.

        Raises:
            UsageError: as `covering`; for a text that Pillow here cannot set, or a font that it cannot read.
        """
        path = self.covering(text).path
        if not is_shaped(text):
            return _face(path, px, ImageFont.Layout.BASIC)
        if not features.check("raqm"):
            raise UsageError(
                "the text to draw is written right to left or with joined letters, which Pillow sets with "
                "raqm and FriBiDi; install FriBiDi (Debian: libfribidi0)"
            )
        return _face(path, px, ImageFont.Layout.RAQM)


def _cure(text: str, absent: Sequence[str]) -> str:
    """What the user can do about characters of a text."""
    for sign in absent:
        if sign == "\ufffd" or is_unseen(sign) or (is_blank(sign) and not sign.isspace()):
            return f"Take {named(sign)} out of the text: no font has ink for it"
    for path in (*(BUNDLED / name for name in STAND_INS), *installed(font_folders())):
        if next(_inkless(path, text), None) is None:
            return f"Set `font` of the attack to {path.name!r}, which is installed here and has all of them"
    packages = dict.fromkeys(_PACKAGES.get(script, "fonts-noto-core") for script in scripts_of(absent))
    return (
        "No font found here has all of them. Set `font` of the attack to the file name of one that has, once "
        f"it is installed (Debian: {', '.join(packages) or 'fonts-noto-core'}), or take them out"
    )


@cache
def _face(path: Path, px: int, engine: ImageFont.Layout) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(str(path), px, layout_engine=engine)
    except OSError as unreadable:
        raise UsageError(
            f"the font {path} cannot be drawn at {px} px: {unreadable}; set `font` to another that is drawn "
            "in outlines"
        ) from None


def _inkless(path: Path, text: str) -> Iterator[str]:
    """Characters of a text that would not be seen in it: without glyph or ink, marks without a letter.

    Plain spaces and line ends are no such; joiners only where letters are joined.
    """
    joiners = JOINERS if is_shaped(text) else ""
    before = " "
    for sign in text:
        lone = before.isspace() and is_mark(sign)
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
def installed(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Outline fonts in folders, upright regular faces first, then by name."""
    found = {path for folder in folders if folder.is_dir() for path in folder.rglob("*") if _is_font(path)}
    ordered = sorted(found, key=lambda path: ("regular" not in path.name.lower(), path.name, str(path)))
    return tuple(ordered)


def _is_font(path: Path) -> bool:
    """Whether a file is a font that can be drawn with; 'LastResort' has a box for everything."""
    if re.fullmatch(_FONT_NAME, path.name, re.IGNORECASE) is None or "lastresort" in path.name.lower():
        return False
    try:
        _face(path, 32, ImageFont.Layout.BASIC)
    except UsageError:
        return False
    return True


@cache
def find_font(name: str) -> FontFile:
    """A font by file name: ours, else the system's, else DejaVu Sans Mono Bold, which we carry.

    FreeMono Bold (FigStep) is not ours to give away: install Debian's `fonts-freefont-ttf` for it. Which
    file was taken is part of every draft's note.

    Raises:
        UsageError: if `name` is not a plain file name of a .ttf, .otf or .ttc font (of these the first face).
    """
    if re.fullmatch(_FONT_NAME, name, re.IGNORECASE) is None:
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
