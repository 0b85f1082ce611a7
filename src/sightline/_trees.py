"""Folders and zip files as trees of members: names in any letter case, never a path out of the root.

Nothing is unpacked to disk. A member is read only whole and only up to a bound of bytes.
"""

from __future__ import annotations

import io
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from sightline.digests import file_stamp
from sightline.errors import UsageError
from sightline.store import refuse_pointer

MAX_MEMBER_BYTES = 256_000_000
"""No single text, picture or inner zip of a release is larger; more is a zip bomb or a mistake."""
MAX_HELD_BYTES = 512_000_000
"""Zips that lie in a zip are held in memory; all of one release together are no larger."""
MAX_LISTING_BYTES = 32_000_000
"""A zip's list of members, which is read whole: 46 bytes and a name for each."""

Parts = tuple[str, ...]
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
    """A file of a tree: where it lies (for messages), its size in bytes, how to read at most `n` of them.

    `stamp` is path and `file_stamp`; in a zip also the member's name, size and CRC.
    """

    where: str
    size: int
    stamp: Stamp
    read_at_most: Callable[[int], bytes]

    def read(self) -> bytes:
        """The whole content.

        Raises:
            UsageError: if it is larger than `MAX_MEMBER_BYTES`, cannot be read, or is a Git-LFS pointer.
        """
        if self.size > MAX_MEMBER_BYTES:
            raise UsageError(f"{self.where}: {self.size} bytes, more than the {MAX_MEMBER_BYTES} allowed")
        try:
            data = self.read_at_most(MAX_MEMBER_BYTES + 1)
        except RuntimeError:  # how zipfile says that a password is needed
            raise UsageError(f"{self.where}: protected by a password; unpack it first") from None
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as broken:
            raise UsageError(f"{self.where}: cannot be read ({broken})") from None
        if len(data) > MAX_MEMBER_BYTES:
            raise UsageError(f"{self.where}: unpacks to more than the {MAX_MEMBER_BYTES} bytes allowed")
        refuse_pointer(data, self.where)
        return data


class Tree(Protocol):
    """What a folder and a zip file have in common."""

    label: str
    warnings: list[str]

    def find(self, parts: Parts) -> Member | None:
        """The file of that name. Raises UsageError if the name is ambiguous or leads out of the tree."""
        ...

    def files(self, folder: Parts) -> dict[str, Member]:
        """The files that lie directly in a folder, by their own name; none if it is absent."""
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
        def read(count: int) -> bytes:
            with path.open("rb") as file:
                return file.read(count)

        stamp = file_stamp(path)
        inside = str(self._real / path.relative_to(self._root))
        return Member(str(path), stamp[0], (inside, *stamp), read)

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

    def close(self) -> None:
        """Nothing is held open."""


class ZipTree:
    """A zip file. Whatever folders stand above the release's own layout inside it do not count.

    Members with unsafe names and symbolic links are left out, with a warning. `stamp` is the zip file's.
    """

    def __init__(self, source: Path | io.BytesIO, label: str, stamp: Stamp) -> None:
        self.label = label
        self._stamp = stamp
        self.warnings: list[str] = []
        try:
            listing = _listing_bytes(source)
            if listing > MAX_LISTING_BYTES:
                raise UsageError(
                    f"{label}: its list of members takes {listing} bytes, more than the {MAX_LISTING_BYTES} "
                    "allowed; unpack it and name the folder"
                )
            self._zip = zipfile.ZipFile(source)
        except (OSError, zipfile.BadZipFile, ValueError) as broken:
            raise UsageError(
                f"{label}: not a readable zip ({broken}); name a folder or an intact .zip"
            ) from None
        self._by_name: dict[str, list[tuple[Parts, zipfile.ZipInfo]]] = {}
        self._by_folder: dict[Parts, list[zipfile.ZipInfo]] = {}
        refused = [info.filename for info in self._zip.infolist() if not self._index(info)]
        if refused:
            self.warnings.append(f"{label}: left out {len(refused)} unsafe member(s), first {refused[0]!r}")

    def _index(self, info: zipfile.ZipInfo) -> bool:
        if info.is_dir():
            return True
        if stat.S_ISLNK(info.external_attr >> 16):
            return False
        try:
            parts = tuple(fold(part) for part in member_parts(info.filename))
        except UsageError:
            return False
        if parts[0] == "__macosx":
            return True  # what macOS adds beside each file
        self._by_name.setdefault(parts[-1], []).append((parts, info))
        self._by_folder.setdefault(parts[:-1], []).append(info)
        return True

    def _member(self, info: zipfile.ZipInfo) -> Member:
        def read(count: int) -> bytes:
            with self._zip.open(info) as file:
                return file.read(count)

        stamp = (*self._stamp, info.filename, info.file_size, info.CRC)
        return Member(f"{self.label}: {info.filename}", info.file_size, stamp, read)

    def find(self, parts: Parts) -> Member | None:
        """The file whose path ends with `parts`; the one nearest to the top, if there are several."""
        wanted = tuple(fold(part) for part in parts)
        found = [entry for entry in self._by_name.get(wanted[-1], []) if entry[0][-len(wanted) :] == wanted]
        if not found:
            return None
        depth = min(len(path) for path, _ in found)
        nearest = {path: info for path, info in found if len(path) == depth}
        if len(nearest) > 1:
            name = "/".join(parts)
            raise UsageError(f"{self.label}: several members are called {name}; keep one release in it")
        return self._member(next(iter(nearest.values())))

    def files(self, folder: Parts) -> dict[str, Member]:
        """The files directly in the folder whose path ends with `folder`, nearest to the top."""
        wanted = tuple(fold(part) for part in folder)
        paths = [path for path in self._by_folder if path[len(path) - len(wanted) :] == wanted]
        if not paths:
            return {}
        infos = self._by_folder[min(paths, key=lambda path: (len(path), path))]
        return {info.filename.replace("\\", "/").rpartition("/")[2]: self._member(info) for info in infos}

    def close(self) -> None:
        """Close the zip file."""
        self._zip.close()


def _listing_bytes(source: Path | io.BytesIO) -> int:
    """How long a zip's list of members is by its own end record; 0 if there is none (then it is no zip)."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            tail = _tail(file)
    else:
        tail = _tail(source)
    end, large = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    if end < 0:
        return 0
    said = int.from_bytes(tail[end + 12 : end + 16], "little")
    if said == 0xFFFFFFFF and large >= 0:
        return int.from_bytes(tail[large + 40 : large + 48], "little")
    return said


def _tail(file: BinaryIO) -> bytes:
    """The end record, its larger sibling, and what a comment of 65,535 bytes leaves room for."""
    file.seek(max(0, file.seek(0, io.SEEK_END) - 66_000))
    return file.read()
