"""Zip and tar files as trees of members. Nothing is unpacked to disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from sightline._trees import READ_ERRORS, Endings, Member, Opened, Parts, Stamp, fold, member_parts
from sightline.counting import plural
from sightline.errors import UsageError
from sightline.store import refuse_pointer

MAX_LISTING_BYTES = 32_000_000
"""A zip's list of members, which is read whole: 46 bytes and a name for each."""
MAX_TAR_MEMBERS = 2_000_000
"""A tar has no list of members; it is read through once, and so many are remembered."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SUFFIXES = (".zip", *TAR_SUFFIXES)


MAX_PACKED_TABLE_BYTES = 4_000_000_000
"""Of a table that is packed on its own, when it is unpacked; more is a bomb or a mistake."""
PACKED: dict[str, Callable[[BinaryIO, Literal["rb"]], Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
"""How tables are packed on their own, such as `train.jsonl.gz`."""


def packed_suffix(name: str) -> str:
    """`.gz` and its like at the end of a name; '' for none."""
    return next((suffix for suffix in PACKED if fold(name).endswith(suffix)), "")


def unpacked(member: Member) -> Member:
    """A table that is packed on its own, opened as what is in it; any other member as it is."""
    opener = PACKED.get(packed_suffix(member.where))
    if opener is None:
        return member

    def opened() -> BinaryIO:
        packed = member.open()
        refuse_pointer(packed.read(200), member.where)
        packed.seek(0)
        return cast(BinaryIO, opener(packed, "rb"))

    return replace(member, open=opened, path=None, most=MAX_PACKED_TABLE_BYTES)


def stem_of(name: str) -> str | None:
    """An archive's folded name without its suffix; None if it is no archive."""
    folded = fold(name)
    return next((folded[: -len(suffix)] for suffix in SUFFIXES if folded.endswith(suffix)), None)


def archive(source: Path | io.BytesIO, name: str, label: str, stamp: Stamp) -> ArchiveTree:
    """The tree of an archive; `name` tells by its suffix what it is.

    Raises:
        UsageError: if it cannot be read.
    """
    tar = fold(name).endswith(TAR_SUFFIXES)
    return TarTree(source, label, stamp) if tar else ZipTree(source, label, stamp)


class ArchiveTree(ABC):
    """An archive. Whatever folders stand above the release's own layout inside it do not count.

    Members with unsafe names and symbolic links are left out, with a warning. `stamp` is the archive's.
    """

    def __init__(self, label: str, stamp: Stamp) -> None:
        self.label = label
        self.warnings: list[str] = []
        self._stamp = stamp
        self._refused: list[str] = []
        self._by_name: dict[str, list[tuple[Parts, Any]]] = {}
        self._by_folder: dict[Parts, list[tuple[str, Any]]] = {}

    @abstractmethod
    def _member(self, info: Any) -> Member:
        """A member by what the archive says of it."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def _index(self, name: str, info: Any, *, link: bool) -> None:
        try:
            parts = member_parts(name)
        except UsageError:
            parts = ()
        if link or not parts:
            self._refused.append(name)
            return
        folded = tuple(map(fold, parts))
        if folded[0] == "__macosx":
            return  # what macOS adds beside each file
        self._by_name.setdefault(folded[-1], []).append((folded, info))
        self._by_folder.setdefault(folded[:-1], []).append((parts[-1], info))

    def _tell_refused(self) -> None:
        if self._refused:
            count, first = len(self._refused), self._refused[0]
            self.warnings.append(f"{self.label}: left out {plural(count, 'unsafe member')}, first {first!r}")

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

    def files(self, folder: Parts, endings: Endings = "") -> dict[str, Member]:
        """The files directly in the folder whose path ends with `folder`, nearest to the top."""
        wanted = tuple(fold(part) for part in folder)
        paths = [path for path in self._by_folder if path[len(path) - len(wanted) :] == wanted]
        if not paths:
            return {}
        found = self._by_folder[min(paths, key=lambda path: (len(path), path))]
        return {name: self._member(info) for name, info in found if fold(name).endswith(endings)}

    def folders(self, folder: Parts) -> list[str]:
        """The folders directly in the folder whose path ends with `folder`, nearest to the top, folded."""
        wanted = tuple(fold(part) for part in folder)
        size = len(wanted)
        found: dict[int, set[str]] = {}
        for path in self._by_folder:
            for end in range(size, len(path)):
                if path[end - size : end] == wanted:
                    found.setdefault(end, set()).add(path[end])
                    break
        return sorted(found[min(found)]) if found else []


class ZipTree(ArchiveTree):
    """A zip file."""

    def __init__(self, source: Path | io.BytesIO, label: str, stamp: Stamp) -> None:
        super().__init__(label, stamp)
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
        for info in self._zip.infolist():
            if not info.is_dir():
                self._index(info.filename, info, link=stat.S_ISLNK(info.external_attr >> 16))
        self._tell_refused()

    def _member(self, info: zipfile.ZipInfo) -> Member:
        stamp = (*self._stamp, info.filename, info.file_size, info.CRC)
        opened = cast("Opened", partial(self._zip.open, info))
        return Member(f"{self.label}: {info.filename}", info.file_size, stamp, opened)

    def close(self) -> None:
        """Close the zip file."""
        self._zip.close()


class TarTree(ArchiveTree):
    """A tar file, plain or compressed. A compressed one is slow where members are not read in order."""

    def __init__(self, source: Path | io.BytesIO, label: str, stamp: Stamp) -> None:
        super().__init__(label, stamp)
        try:
            self._tar = _tar_in(source)
            for number, info in enumerate(self._tar, start=1):
                if number > MAX_TAR_MEMBERS:
                    raise UsageError(f"{label}: more than {MAX_TAR_MEMBERS} members; unpack it")
                if not info.isdir():
                    self._index(info.name, info, link=not info.isreg())
        except (*READ_ERRORS, ValueError) as broken:
            raise UsageError(
                f"{label}: not a readable tar ({broken}); name a folder or an intact archive"
            ) from None
        self._tell_refused()

    def _member(self, info: tarfile.TarInfo) -> Member:
        stamp = (*self._stamp, info.name, info.size, info.offset)
        return Member(f"{self.label}: {info.name}", info.size, stamp, partial(self._opened, info))

    def _opened(self, info: tarfile.TarInfo) -> BinaryIO:
        file = self._tar.extractfile(info)
        if file is None:
            raise OSError("not a regular file")
        return cast("BinaryIO", file)

    def close(self) -> None:
        """Close the tar file."""
        self._tar.close()


def _tar_in(source: Path | io.BytesIO) -> tarfile.TarFile:
    if isinstance(source, Path):
        return tarfile.open(source, mode="r:*")
    return tarfile.open(fileobj=source, mode="r:*")


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
