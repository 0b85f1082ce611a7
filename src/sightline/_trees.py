"""Folders as trees of members: names in any letter case, never a path out of the root. Archives: `_archives`.

Nothing is unpacked to disk. A member is read only whole and only up to a bound of bytes.
"""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from sightline.digests import file_stamp
from sightline.errors import UsageError
from sightline.store import refuse_pointer

MAX_MEMBER_BYTES = 256_000_000
"""No single text, picture or inner zip of a release is larger; more is a zip bomb or a mistake."""
MAX_TABLE_BYTES = 64_000_000_000
"""Of a table whose rows are streamed."""
READ_ERRORS = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    NotImplementedError,
)
"""What reading a damaged file or archive raises."""
MAX_HELD_BYTES = 512_000_000
"""Zips that lie in a zip are held in memory; all of one release together are no larger."""

Parts = tuple[str, ...]
Opened = Callable[[], BinaryIO]
Stamp = tuple[str | int, ...]
"""What changes when a file's content may have changed; compared instead of reading it again."""


def fold(name: str) -> str:
    """The form in which names are compared: letter case and composition of accents do not count."""
    return unicodedata.normalize("NFC", name).casefold()


def member_parts(name: str) -> Parts:
    r"""The parts of a member name with '/' (or, as Windows tools write it, '\\') between them.

    Raises:
        UsageError: for a name that could lead out of the release: absolute, with a drive, '..' or NUL.
    """
    parts = name.replace("\\", "/").split("/")
    if parts[-1] == "":
        parts = parts[:-1]  # a folder's name may end with a slash
    parts = [part for part in parts if part != "."]
    first = parts[0] if parts else ""
    if not parts or "" in parts or ".." in parts or "\0" in name or first[1:2] == ":":
        raise UsageError(f"{name!r} is not a name inside a release: it is empty, absolute or leads out of it")
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a tree: where it lies (for messages), its size in bytes, how to open it.

    `stamp` is path and `file_stamp`; in an archive also the member's name, size and CRC. `path` is where a
    file lies on disk that is in no archive. `most` is how many bytes of it are read piece by piece.
    """

    where: str
    size: int
    stamp: Stamp
    open: Opened
    path: Path | None = None
    most: int = MAX_TABLE_BYTES

    def read(self) -> bytes:
        """The whole content.

        Raises:
            UsageError: if it is larger than `MAX_MEMBER_BYTES`, cannot be read, or is a Git-LFS pointer.
        """
        if self.size > MAX_MEMBER_BYTES:
            raise UsageError(f"{self.where}: {self.size} bytes, more than the {MAX_MEMBER_BYTES} allowed")
        with self._told(), self.open() as file:
            data = file.read(MAX_MEMBER_BYTES + 1)
        if len(data) > MAX_MEMBER_BYTES:
            raise UsageError(f"{self.where}: unpacks to more than the {MAX_MEMBER_BYTES} bytes allowed")
        refuse_pointer(data, self.where)
        return data

    def sha256(self) -> str:
        """SHA-256 of the content, read piece by piece: a table may be larger than memory.

        Raises:
            UsageError: if it cannot be read, is a Git-LFS pointer or larger than `most`.
        """
        found, size = hashlib.sha256(), 0
        with self._told(), self.open() as file:
            while piece := file.read(1 << 20):
                if not size:
                    refuse_pointer(piece, self.where)
                size += len(piece)
                if size > self.most:
                    raise UsageError(f"{self.where}: more than the {self.most} bytes allowed")
                found.update(piece)
        return found.hexdigest()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What opening or reading raises, as one sentence."""
        try:
            yield
        except RuntimeError:  # how zipfile says that a password is needed
            raise UsageError(f"{self.where}: protected by a password; unpack it first") from None
        except READ_ERRORS as broken:
            raise UsageError(f"{self.where}: cannot be read ({broken})") from None


class Tree(Protocol):
    """What a folder and an archive have in common."""

    label: str
    warnings: list[str]

    def find(self, parts: Parts) -> Member | None:
        """The file of that name. Raises UsageError if the name is ambiguous or leads out of the tree."""
        ...

    def files(self, folder: Parts) -> dict[str, Member]:
        """The files that lie directly in a folder, by their own name; none if it is absent."""
        ...

    def folders(self, folder: Parts) -> list[str]:
        """The names of the folders that lie directly in a folder, sorted."""
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


class FolderTree:
    """A folder on disk; each folder is listed once."""

    def __init__(self, root: Path) -> None:
        self.label = str(root)
        self.warnings: list[str] = []
        self._root = root
        self._real = root.resolve()
        self._listed: dict[Path, dict[str, Path]] = {}

    def _children(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listed:
            try:
                paths = sorted(folder.iterdir(), reverse=True)
            except OSError:
                paths = []
            self._listed[folder] = {fold(path.name): path for path in paths}
        return self._listed[folder]

    def _resolve(self, parts: Parts) -> Path | None:
        path = self._root
        try:
            for part in parts:
                exact = path / part
                found = exact if exact.exists() else self._children(path).get(fold(part))
                if found is None:
                    return None
                path = found
            real = path.resolve()
        except (OSError, RuntimeError) as broken:  # a name too long, a loop of links
            raise UsageError(f"{self._root}: {'/'.join(parts)!r} cannot be resolved ({broken})") from None
        if not real.is_relative_to(self._real):
            raise UsageError(
                f"{path}: is a symbolic link to {real}, outside of {self._root}; put the files there"
            )
        return path

    def _member(self, path: Path) -> Member:
        stamp = file_stamp(path)
        inside = str(self._real / path.relative_to(self._root))
        return Member(str(path), stamp[0], (inside, *stamp), cast("Opened", partial(path.open, "rb")), path)

    def find(self, parts: Parts) -> Member | None:
        """The file of that name, exact letter case first."""
        path = self._resolve(parts)
        return self._member(path) if path is not None and path.is_file() else None

    def files(self, folder: Parts) -> dict[str, Member]:
        """The files directly in a folder; links that lead out of the root are left out."""
        path = self._resolve(folder)
        if path is None or not path.is_dir():
            return {}
        inside = (child for child in self._children(path).values() if child.is_file())
        return {
            child.name: self._member(child)
            for child in inside
            if not child.is_symlink() or child.resolve().is_relative_to(self._real)
        }

    def folders(self, folder: Parts) -> list[str]:
        """The folders directly in the folder; links are left out."""
        path = self._resolve(folder)
        if path is None or not path.is_dir():
            return []
        below = self._children(path).values()
        return sorted(child.name for child in below if child.is_dir() and not child.is_symlink())

    def walk(self, most: int) -> Iterator[Parts]:
        """The folders below the root, the nearest first, at most so many."""
        waiting: list[Parts] = [()]
        for count, parts in enumerate(waiting):
            if count >= most:
                return
            yield parts
            waiting += [(*parts, name) for name in self.folders(parts)]

    def close(self) -> None:
        """Nothing is held open."""
