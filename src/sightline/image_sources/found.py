"""Pictures that exist already: those of the cases' release, and a folder of the user's named by prompts."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from sightline.cases import Case
from sightline.contracts import Images
from sightline.digests import digest, sha256_bytes, sha256_file
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.store import decode_picture, refuse_pointer

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")
MOST_BYTES = 200
"""Of a file's name in UTF-8 before its ending; a longer prompt is cut there, and its hash added."""


@dataclass(frozen=True, slots=True)
class ReleaseSource:
    """The picture that a case shows beside its last question, whatever the prompt says."""

    images: Images

    @property
    def id(self) -> str:
        """The pictures themselves are part of the cases."""
        return "release"

    @property
    def note(self) -> str:
        """See `ImageSource.note`."""
        return ""

    async def picture(self, case: Case, prompt: str, *, seed: int) -> Pixels:  # noqa: ARG002
        """The case's own picture.

        Raises:
            UsageError: if it has none there, or several, or one that could not be read.
        """
        own = case.conversation.last_user_turn.images
        if len(own) != 1:
            raise UsageError(
                f"case {case.id}: the image source `release` takes the picture beside its last question, and "
                f"it has {len(own) or 'none'} there; read the benchmark with its pictures (mm_safetybench: "
                "images='SD'), or name another image source"
            )
        if own[0].problem is not None:
            raise UsageError(f"case {case.id}: its picture cannot be read: {own[0].problem}")
        return self.images.pixels(own[0])


class FolderSource:
    """Pictures by the name of their prompt; see `slug`. The folder is read once, when it is opened.

    Raises:
        UsageError: if there is no such folder, it holds no picture, or two names mean one prompt.
    """

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.folder = Path(path).expanduser()
        if not self.folder.is_dir():
            raise UsageError(f"image source {name!r}: {self.folder} is no folder")
        self._files: dict[str, Path] = {}
        for file in sorted(self.folder.iterdir()):
            key = _key(file.stem)
            if file.suffix.lower() not in ENDINGS or not key or not file.is_file():
                continue
            first = self._files.setdefault(key, file)
            if first is not file:
                raise UsageError(
                    f"image source {name!r}: {first.name} and {file.name} are named by one prompt; remove one"
                )
        if not self._files:
            raise UsageError(f"image source {name!r}: {self.folder} holds no picture ({', '.join(ENDINGS)})")
        contents = {stem: sha256_file(file) for stem, file in self._files.items()}
        self.id = f"folder/{self.folder.name}#{digest(contents)[:16]}"

    @property
    def note(self) -> str:
        """See `ImageSource.note`."""
        return ""

    async def picture(self, case: Case, prompt: str, *, seed: int) -> Pixels:  # noqa: ARG002
        """The picture whose file is named by the prompt.

        Raises:
            UsageError: if there is none, naming the file that is missing, or it cannot be read.
        """
        stem = slug(prompt)
        file = self._files.get(stem)
        if file is None:
            raise UsageError(
                f"case {case.id}: {self.folder} has no picture of {prompt!r}; its file would be {stem}.png "
                f"(or {', '.join(ENDINGS[1:])})"
            )
        data = file.read_bytes()
        refuse_pointer(data, file)
        try:
            return decode_picture(data)
        except UsageError as broken:
            raise UsageError(f"case {case.id}: {file}: {broken}") from None


def slug(prompt: str) -> str:
    """The name of the file that shows a prompt: its letters and digits, small, with hyphens between words.

    Raises:
        UsageError: for a prompt without a letter or a digit.
    """
    name = "-".join(re.findall(r"[^\W_]+", _folded(prompt)))
    if not name:
        raise UsageError(f"the prompt of a picture, {prompt!r}, has no letter or digit to name a file by")
    if len(name.encode()) <= MOST_BYTES:
        return name
    beginning = name.encode()[:MOST_BYTES].decode(errors="ignore")
    return f"{beginning}-{sha256_bytes(name.encode())[:8]}"


def _folded(text: str) -> str:
    """Small letters, each written in one way only."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())


def _key(stem: str) -> str:
    """The prompt's name that a file's name stands for; long ones are to be written as `slug` does."""
    name = _folded(stem)
    if len(name.encode()) > MOST_BYTES:
        return name
    return "-".join(re.findall(r"[^\W_]+", name))
