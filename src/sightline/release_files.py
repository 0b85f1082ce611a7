"""Where the members of a release lie: a folder, archives in its folders, an archive, or one table."""

from __future__ import annotations

import io
import tarfile
import zipfile
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from sightline import _trees
from sightline._archives import SUFFIXES, ArchiveTree, archive, packed_suffix, stem_of
from sightline._trees import FolderTree, Member, Parts, Stamp, Tree, fold, member_parts
from sightline.digests import file_stamp
from sightline.errors import UsageError

HINT_PATHS = 200
MOST_FOLDERS = 10_000
"""Folders of a release that are searched for a file that is asked for by its name alone."""
TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_SPREADSHEETS = {
    ".xlsx": "an Excel workbook",
    ".xls": "an Excel workbook",
    ".ods": "a spreadsheet",
    ".numbers": "a spreadsheet",
}


def is_table(name: str) -> bool:
    """Whether a file of that name is a table, maybe packed on its own."""
    return fold(name).removesuffix(packed_suffix(name)).endswith(TABLE_SUFFIXES)


def refuse_spreadsheet(path: Path) -> None:
    """Make sure that a file is no workbook.

    Raises:
        UsageError: if it is one by its name.
    """
    what = _SPREADSHEETS.get(path.suffix.lower())
    if what:
        raise UsageError(f"{path}: is {what}; save its sheet as a CSV file (UTF-8) and name that")


def refuse_other(path: Path) -> None:
    """Make sure that a file may be an archive.

    Raises:
        UsageError: if it is none, by its name and by its content.
    """
    if stem_of(path.name) is None and not zipfile.is_zipfile(path) and not tarfile.is_tarfile(path):
        raise UsageError(
            f"{path}: is neither a table ({', '.join(TABLE_SUFFIXES)}) nor an archive (.zip, .tar); give a "
            "table the suffix that says how it is written: .tsv for one with tabs"
        )


class ReleaseFiles:
    """The members below a root, which may be None or absent from disk: then nothing is found.

    Attributes:
        root: the folder or file.
        table: name of the root where it is a table; its folder is searched then.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = Path() if root is None else root.expanduser()
        self.table = ""
        self._given = root is not None
        self._tree: Tree | None = None
        if self._given and self.root.is_dir():
            self._tree = FolderTree(self.root)
        elif self._given and self.root.is_file() and is_table(self.root.name):
            self._tree, self.table = FolderTree(self.root.parent), self.root.name
        elif self._given and self.root.is_file():
            refuse_other(self.root)
            stamp: Stamp = (str(self.root.resolve()), *file_stamp(self.root))
            self._tree = archive(self.root, self.root.name, str(self.root), stamp)
        self._held = 0
        self._zips: dict[Parts, list[tuple[str, ArchiveTree]]] = {}
        self._unreadable: list[str] = []

    @property
    def warnings(self) -> list[str]:
        """What was left out of archives, and archives that cannot be read."""
        return [*(text for tree in self._trees() for text in tree.warnings), *self._unreadable]

    def close(self) -> None:
        """Close the archives."""
        for tree in self._trees():
            tree.close()

    def _trees(self) -> list[Tree]:
        trees: list[Tree] = [] if self._tree is None else [self._tree]
        return [*trees, *(tree for zips in self._zips.values() for _, tree in zips)]

    def find(self, parts: Parts) -> Member | None:
        """The member of that name, if it is there."""
        if self._tree is None:
            return None
        found = self._tree.find(parts)
        if found is not None:
            return found
        for depth in range(len(parts) - 1, -1, -1):
            rest = parts[depth:]
            if len(rest) == 1 and self._has_alike(parts):
                continue
            for stem, inner in self._zips_in(parts[:depth]):
                found = inner.find(rest)
                if found is None and len(rest) > 1 and fold(rest[0]) == stem:
                    found = inner.find(rest[1:])  # packed from inside the folder that the zip is named after
                if found is not None:
                    return found
        return None

    def pictures(self, folder: Parts) -> dict[str, Member]:
        """The pictures directly in a folder, by their own name."""
        if self._tree is None:
            return {}
        found = _only_pictures(self._tree.files(folder, PICTURE_SUFFIXES))
        for depth in range(len(folder), -1, -1):
            for stem, inner in self._zips_in(folder[:depth]):
                if found:
                    return found
                rest = folder[depth:]
                found = _only_pictures(inner.files(rest))
                if not found and rest and fold(rest[0]) == stem:
                    found = _only_pictures(inner.files(rest[1:]))
        return found

    def names(self, folder: str = "", pattern: str = "*") -> list[str]:
        """Names of the files directly in a folder ('' = the root), with the folder's; sorted.

        `pattern` is one of the shell (`test-*.parquet`), in any letter case.
        """
        parts = member_parts(folder) if folder else ()
        found = set(self._tree.files(parts)) if self._tree is not None else set()
        for depth in range(len(parts), -1, -1):
            for stem, inner in self._zips_in(parts[:depth]):
                rest = parts[depth:]
                inside = inner.files(rest)
                if not inside and rest and fold(rest[0]) == stem:
                    inside = inner.files(
                        rest[1:]
                    )  # packed from inside the folder that the zip is named after
                found |= set(inside)
        wanted = fold(pattern)
        return sorted(
            f"{folder}/{name}" if folder else name
            for name in found
            if fnmatchcase(fold(name), wanted) and not name.startswith("._")
        )

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders directly in a folder ('' = the root), also of an archive there; sorted."""
        parts = member_parts(folder) if folder else ()
        found = set(self._tree.folders(parts)) if self._tree is not None else set()
        for depth in range(len(parts), -1, -1):
            for _, inner in self._zips_in(parts[:depth]):
                found |= set(inner.folders(parts[depth:]))
        return sorted(found)

    def locate(self, *names: str) -> str:
        """The first of these members that is there; else a file of one of these names in any folder.

        Releases move their files from version to version.

        Raises:
            UsageError: if there is none: what was looked for, where, the cure.
        """
        for name in names:
            if self.find(member_parts(name)) is not None:
                return name
        if isinstance(self._tree, FolderTree):
            for folder in self._tree.walk(MOST_FOLDERS):
                for name in names:
                    last = member_parts(name)[-1]
                    if folder and self._tree.find((*folder, last)) is not None:
                        return "/".join((*folder, last))
        for name in names:
            if self.find(member_parts(name)[-1:]) is not None:
                return member_parts(name)[-1]
        raise UsageError(self.absent(" or ".join(names), names[0]))

    def absent(self, name: str, wanted: str) -> str:
        """What to say of a member that is not there; a hint tells where `wanted` lies instead."""
        cure = (
            "Set `root:` of the benchmark in the study to the folder or .zip of the official release, "
            f"the one that contains {name}."
        )
        if not self._given:
            return f"{name} is needed, but no release folder was named. {cure}"
        if self._tree is None:
            return f"{name} not found: there is no folder or file {self.root}. {cure}"
        looked = [str(self.root), *(tree.label for zips in self._zips.values() for _, tree in zips)]
        return f"{name} not found; looked in {', '.join(looked)}. {cure}{self._hint(wanted)}"

    def _has_alike(self, parts: Parts) -> bool:
        """Whether files of this kind lie in the folder: then a zip beside them holds something else.

        FigStep's release has its pages and a zip of screenshots in one folder.
        """
        kind = fold(Path(parts[-1]).suffix)
        return self._tree is not None and bool(self._tree.files(parts[:-1], kind))

    def _zips_in(self, folder: Parts) -> list[tuple[str, ArchiveTree]]:
        """The archives that lie in a folder of the release, by their name without its suffix."""
        if folder not in self._zips:
            opened: list[tuple[str, ArchiveTree]] = []
            members = self._tree.files(folder, SUFFIXES) if self._tree is not None else {}
            for name in sorted(members):
                stem = stem_of(name)
                if stem is None:
                    continue
                try:
                    opened.append((stem, self._open(name, members[name])))
                except UsageError as broken:
                    self._unreadable.append(str(broken))
            self._zips[folder] = opened
        return self._zips[folder]

    def _open(self, name: str, member: Member) -> ArchiveTree:
        if member.path is not None:
            return archive(member.path, name, member.where, member.stamp)
        most = _trees.MAX_HELD_BYTES
        if self._held + member.size > most:
            raise UsageError(
                f"{member.where}: the archives in this one are more than the {most} bytes that are held in "
                "memory; unpack the outer one and name its folder"
            )
        data = member.read()
        self._held += len(data)
        return archive(io.BytesIO(data), name, member.where, member.stamp)

    def _hint(self, name: str) -> str:
        """Where the release lies if the user named a folder above or below it."""
        if not isinstance(self._tree, FolderTree):
            return ""
        below = (path for pattern in ("*", "*/*") for path in islice(self.root.glob(pattern), HINT_PATHS))
        for path in (*self.root.resolve().parents[:2], *sorted(below)):
            with suppress(UsageError):
                if path.is_dir() and FolderTree(path).find(member_parts(name)) is not None:
                    return f" There is one in {path}."
        return ""


def _only_pictures(members: dict[str, Member]) -> dict[str, Member]:
    """Without the companions ('._x.png') that macOS leaves on other systems' disks."""
    return {
        name: member
        for name, member in members.items()
        if fold(name).endswith(PICTURE_SUFFIXES) and not name.startswith("._")
    }
