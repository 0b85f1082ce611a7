"""An official release as the user has it: a folder, a zip, or a folder with zips in it.

Benchmarks ask for members by the names of the official layout. A name is resolved in any letter case,
first among the files, then in the zip files that lie in one of its folders, and never outside the root.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sightline import _trees
from sightline._trees import FolderTree, Member, Parts, Stamp, Tree, ZipTree, fold, member_parts
from sightline.cases import Image
from sightline.contracts import Images
from sightline.digests import digest, file_stamp, sha256_bytes
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.store import encode_png
from sightline.untrusted import whole

HINT_PATHS = 200
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")


class Seen(NamedTuple):
    """A picture as it was read: SHA-256 of its content ('' = absent or unreadable) and its stamp then."""

    sha256: str = ""
    stamp: Stamp = ()


class OfficialRelease:
    """A release in the user's folder or zip; its pictures go into the run's blobs.

    `root` may be None or absent from disk: then the first text that is asked for raises the error that
    says what belongs there. `warnings` collects what the user should know but need not mend.
    """

    def __init__(self, root: Path | None, images: Images) -> None:
        self.root = Path() if root is None else root.expanduser()
        self._given = root is not None
        self._images = images
        self._warnings: list[str] = []
        self._tree: Tree | None = None
        if self._given and self.root.is_dir():
            self._tree = FolderTree(self.root)
        elif self._given and self.root.is_file():
            stamp: Stamp = (str(self.root.resolve()), *file_stamp(self.root))
            self._tree = ZipTree(self.root, str(self.root), stamp)
        self._held = 0
        self._zips: dict[Parts, list[tuple[str, ZipTree]]] = {}
        self._texts: dict[str, str] = {}
        self._pictures_seen: dict[str, Seen] = {}
        self._listings: dict[str, list[tuple[str, int]]] = {}

    @property
    def warnings(self) -> list[str]:
        """What was found strange so far, each once, in order."""
        trees: list[Tree] = [] if self._tree is None else [self._tree]
        trees += [tree for zips in self._zips.values() for _, tree in zips]
        return list(dict.fromkeys([*(text for tree in trees for text in tree.warnings), *self._warnings]))

    def warn(self, message: str) -> None:
        """Note something that the user should know, such as an unexpected number of rows."""
        self._warnings.append(message)

    def exists(self, name: str) -> bool:
        """Whether a file or a folder with pictures of that name is there, in any letter case."""
        try:
            parts = member_parts(name)
            return self._find(parts) is not None or bool(self._pictures(parts))
        except UsageError:
            return False

    def text(self, name: str) -> str:
        """A UTF-8 text member; a byte-order mark is dropped.

        Raises:
            UsageError: if it is absent (what was looked for, where, the cure), too large or not UTF-8.
        """
        member, data = self._read(name)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as broken:
            raise UsageError(
                f"{member.where}: byte {broken.start} is not UTF-8 text; save the file as UTF-8"
            ) from None

    def data(self, name: str) -> bytes:
        """A member as it is.

        Raises:
            UsageError: if it is absent (what was looked for, where, the cure) or too large.
        """
        return self._read(name)[1]

    def table(self, name: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a Parquet member in order, with these columns or all; see `parquet.rows_of`.

        Raises:
            UsageError: if it is absent, too large or damaged, or has no such column.
        """
        from sightline import parquet

        member, data = self._read(name)
        return parquet.rows_of(data, member.where, columns)

    def _read(self, name: str) -> tuple[Member, bytes]:
        """A member and its content, which enters the digest."""
        member = self._find(member_parts(name))
        if member is None:
            raise UsageError(self._absent(name))
        data = member.read()
        self._texts[fold(name)] = sha256_bytes(data)
        return member, data

    def picture(self, cell: Any, name: str) -> Image:
        """A picture inside a table, kept in the run's blobs: bytes, or a mapping of `bytes` and `path`.

        Where there are no bytes, `path` is taken for a member of the release. An absent or unreadable
        picture has `problem` set, which begins with `name`.
        """
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, Mapping) else (cell, None)
        if data is None and isinstance(path, str):
            return self.image(path)
        try:
            if not isinstance(data, bytes):
                raise UsageError("holds no picture")
            if len(data) > _trees.MAX_MEMBER_BYTES:
                raise UsageError(f"{len(data)} bytes, more than the {_trees.MAX_MEMBER_BYTES} allowed")
            return self._images.put(data)
        except UsageError as broken:
            return Image("", 0, 0, problem=f"{self.root}: {whole(name)}: {broken}")

    def image(self, name: str) -> Image:
        """A picture member, kept in the run's blobs. An absent or unreadable one has `problem` set."""
        given, name = name, whole(name)
        where = f"{self.root}: {name}"
        self._pictures_seen[name] = Seen()
        try:
            member_parts(given)  # refused as it was given: a NUL is no odd letter
            member = self._find(member_parts(name))
            if member is None:
                return Image("", 0, 0, problem=f"picture {name} not found in {self.root}")
            where = member.where
            data = member.read()
            self._pictures_seen[name] = Seen(sha256_bytes(data), member.stamp)
            return self._images.put(data)
        except UsageError as broken:
            message = str(broken)
            return Image("", 0, 0, problem=message if where in message else f"{where}: {message}")

    def look_again(self, name: str, before: Seen) -> None:
        """Note a picture as read, for the digest. Its content is read only if its stamp has changed."""
        now = Seen()
        with suppress(UsageError):
            member = self._find(member_parts(name))
            if member is not None and member.stamp == before.stamp:
                now = before
            elif member is not None:
                now = Seen(sha256_bytes(member.read()), member.stamp)
        self._pictures_seen[name] = now

    def draw(self, pixels: Pixels) -> Image:
        """A picture that the benchmark makes itself, kept as PNG in the run's blobs."""
        return self._images.put(encode_png(pixels))

    def listing(self, folder: str) -> list[tuple[str, int]]:
        """Names and sizes in bytes of the pictures of a folder, sorted; they enter the digest."""
        found = self._pictures(member_parts(folder))
        sizes = sorted((fold(whole(name)), member.size) for name, member in found.items())
        self._listings[fold(folder)] = sizes
        return sizes

    def digest(self) -> str:
        """Identity of the release as read: content of its texts and pictures, names and sizes of listings.

        A folder and a zip of the same files have the same digest. Pictures that were listed and not read
        count by name and size.
        """
        pictures = {fold(name): seen.sha256 for name, seen in self._pictures_seen.items()}
        return digest({**self._texts, **pictures}, self._listings)

    def read_names(self) -> dict[str, Any]:
        """Names of the texts read, the folders listed and the pictures read, these with hash and stamp.

        Plain (JSON-ready); reading all of it again gives the digest (see `look_again` for the pictures).
        """
        return {
            "texts": sorted(self._texts),
            "listings": sorted(self._listings),
            "pictures": {name: [seen.sha256, *seen.stamp] for name, seen in self._pictures_seen.items()},
        }

    def close(self) -> None:
        """Close the zip files."""
        for tree in [self._tree, *(tree for zips in self._zips.values() for _, tree in zips)]:
            if tree is not None:
                tree.close()

    def _find(self, parts: Parts) -> Member | None:
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

    def _has_alike(self, parts: Parts) -> bool:
        """Whether files of this kind lie in the folder: then a zip beside them holds something else.

        FigStep's release has its pages and a zip of screenshots in one folder.
        """
        kind = Path(parts[-1]).suffix.lower()
        members = self._tree.files(parts[:-1]) if self._tree is not None else {}
        return any(fold(name).endswith(kind) for name in members)

    def _pictures(self, folder: Parts) -> dict[str, Member]:
        if self._tree is None:
            return {}
        found = _only_pictures(self._tree.files(folder))
        for depth in range(len(folder), -1, -1):
            for stem, inner in self._zips_in(folder[:depth]):
                if found:
                    return found
                rest = folder[depth:]
                found = _only_pictures(inner.files(rest))
                if not found and rest and fold(rest[0]) == stem:
                    found = _only_pictures(inner.files(rest[1:]))
        return found

    def _zips_in(self, folder: Parts) -> list[tuple[str, ZipTree]]:
        """The zip files that lie in a folder of the release, by their name without `.zip`."""
        if folder not in self._zips:
            opened: list[tuple[str, ZipTree]] = []
            members = self._tree.files(folder) if self._tree is not None else {}
            for name in sorted(members):
                if not fold(name).endswith(".zip"):
                    continue
                try:
                    opened.append((fold(name)[: -len(".zip")], self._open(members[name])))
                except UsageError as broken:
                    self.warn(str(broken))
            self._zips[folder] = opened
        return self._zips[folder]

    def _open(self, member: Member) -> ZipTree:
        if isinstance(self._tree, FolderTree):
            return ZipTree(Path(member.where), member.where, member.stamp)
        most = _trees.MAX_HELD_BYTES
        if self._held + member.size > most:
            raise UsageError(
                f"{member.where}: the zips in this zip are more than the {most} bytes that are held in "
                "memory; unpack the outer zip and name its folder"
            )
        data = member.read()
        self._held += len(data)
        return ZipTree(io.BytesIO(data), member.where, member.stamp)

    def _absent(self, name: str) -> str:
        cure = (
            "Set `root:` of the benchmark in the study to the folder or .zip of the official release, "
            f"the one that contains {name}."
        )
        if not self._given:
            return f"{name} is needed, but no release folder was named. {cure}"
        if self._tree is None:
            return f"{name} not found: there is no folder or file {self.root}. {cure}"
        looked = [str(self.root), *(tree.label for zips in self._zips.values() for _, tree in zips)]
        return f"{name} not found; looked in {', '.join(looked)}. {cure}{self._hint(name)}"

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
