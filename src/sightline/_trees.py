"""Folders as trees of members: names in any letter case, never a path out of the root. Archives: `_archives`.

Nothing is unpacked to disk. A member is read only whole and only up to a bound of bytes.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from sightline.digests import stamp_of
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
Endings = str | tuple[str, ...]
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

    def files(self, folder: Parts, endings: Endings = "") -> dict[str, Member]:
        """The files directly in a folder with one of these endings, by their own name; none if absent."""
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
        self._folders: dict[Parts, Path | None] = {}

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

    def _folder(self, parts: Parts) -> Path | None:
        """A folder of that name; each is resolved once."""
        if parts not in self._folders:
            path = self._resolve(parts)
            self._folders[parts] = path if path is not None and path.is_dir() else None
        return self._folders[parts]

    def _member(self, path: Path, found: os.stat_result) -> Member:
        stamp, where = stamp_of(found), str(path)
        inside = f"{self._real}{where[len(self.label) :]}" if self._root.parts else str(self._real / path)
        return Member(where, stamp[0], (inside, *stamp), cast("Opened", partial(path.open, "rb")), path)

    def find(self, parts: Parts) -> Member | None:
        """The file of that name, exact letter case first."""
        folder = self._folder(parts[:-1])
        if folder is None:
            return None
        with suppress(OSError, ValueError):
            path = folder / parts[-1]
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                return self._member(path, found)
        resolved = self._resolve(parts)
        if resolved is None or not resolved.is_file():
            return None
        return self._member(resolved, resolved.stat())

    def files(self, folder: Parts, endings: Endings = "") -> dict[str, Member]:
        """The files directly in a folder; links that lead out of the root are left out."""
        path = self._folder(folder)
        children = self._children(path).items() if path is not None else ()
        found = {child.name: self._inside(child) for name, child in children if name.endswith(endings)}
        return {name: member for name, member in found.items() if member is not None}

    def _inside(self, path: Path) -> Member | None:
        """A file of a folder, unless it is none or a link that leads out of the root."""
        with suppress(OSError):
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode) and path.is_file() and path.resolve().is_relative_to(self._real):
                found = path.stat()
            if stat.S_ISREG(found.st_mode):
                return self._member(path, found)
        return None

    def folders(self, folder: Parts) -> list[str]:
        """The folders directly in the folder; links are left out."""
        path = self._folder(folder)
        if path is None:
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
