"""An official release as the user has it: a folder, an archive, a folder with archives in it, or one table.

Benchmarks ask for members by the names of the official layout. A name is resolved in any letter case, first
among the files, then in the zip and tar files that lie in one of its folders, and never outside the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sightline import _trees
from sightline._archives import packed_suffix, unpacked
from sightline._trees import Member, Stamp, fold, member_parts
from sightline.cases import Image
from sightline.contracts import Images
from sightline.digests import digest, sha256_bytes
from sightline.encodings import decoded, encoding_of
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.release_files import ReleaseFiles, refuse_spreadsheet
from sightline.rows import (
    Row,
    json_of,
    lines_of,
    rows_of_csv,
    rows_of_json,
    rows_of_jsonl,
    rows_of_mappings,
)
from sightline.store import encode_png
from sightline.untrusted import whole


class Seen(NamedTuple):
    """A picture as it was read: SHA-256 of its content ('' = absent or unreadable) and its stamp then."""

    sha256: str = ""
    stamp: Stamp = ()


class NoImages(Images):
    """A place for pictures where none are kept: what is only listed, or read before there is a run."""

    def read(self, sha256: str) -> bytes:
        """Never."""
        raise UsageError(f"no picture {sha256} is kept here")

    def pixels(self, image: Image) -> Pixels:
        """Never."""
        raise UsageError(f"no picture {image.sha256} is kept here")

    def put(self, data: bytes) -> Image:  # noqa: ARG002
        """Never."""
        raise UsageError("no pictures are kept here")


@contextmanager
def listed(root: Path | None) -> Iterator[OfficialRelease]:
    """A release of which pictures are looked up, and neither read nor kept; closed at the end."""
    release = OfficialRelease(root, NoImages(), listing=True)
    try:
        yield release
    finally:
        release.close()


class OfficialRelease:
    """A release in the user's folder or archive; its pictures go into the run's blobs.

    `root` may be None or absent from disk: then the first text that is asked for raises the error that
    says what belongs there. A table (.csv, .jsonl, ...) stands for its folder, and `file` is its name there.
    `warnings` collects what the user should know but need not mend.

    With `listing`, pictures are looked up and neither read nor kept: what there is, without its cost.
    """

    def __init__(self, root: Path | None, images: Images, *, listing: bool = False) -> None:
        self._files = ReleaseFiles(root)
        self.root, self.file = self._files.root, self._files.table
        self._images = images
        self._listing = listing
        self._warnings: list[str] = []
        self._texts: dict[str, str] = {}
        self._pictures_seen: dict[str, Seen] = {}
        self._listings: dict[str, list[tuple[str, int]]] = {}

    @property
    def warnings(self) -> list[str]:
        """What was found strange so far, each once, in order."""
        return list(dict.fromkeys([*self._files.warnings, *self._warnings]))

    def warn(self, message: str) -> None:
        """Note something that the user should know, such as an unexpected number of rows."""
        self._warnings.append(message)

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of the texts and tables read so far, by name."""
        return self._texts

    def exists(self, name: str) -> bool:
        """Whether a file or a folder with pictures of that name is there, in any letter case."""
        try:
            parts = member_parts(name)
            return self._files.find(parts) is not None or bool(self._files.pictures(parts))
        except UsageError:
            return False

    def text(self, name: str, encoding: str = "") -> str:
        """A text member: UTF-8, or what its byte-order mark says; without one, `encoding` if that is given.

        Raises:
            UsageError: if it is absent (what was looked for, where, the cure), too large or not such text.
        """
        member, data = self._read(name)
        return decoded(data, member.where, encoding)

    def data(self, name: str) -> bytes:
        """A member as it is.

        Raises:
            UsageError: if it is absent (what was looked for, where, the cure) or too large.
        """
        return self._read(name)[1]

    def rows(
        self,
        name: str,
        *,
        encoding: str = "",
        columns: Sequence[str] | None = None,
        header: Sequence[str] | None = None,
        under: str = "",
    ) -> Iterator[Row]:
        """The rows of a table, streamed in order; its suffix says how it is written.

        Args:
            name: a `.csv`, `.tsv`, `.json`, `.jsonl`, `.ndjson`, `.parquet` or `.arrow` member, which may be
                packed on its own (`.jsonl.gz`, `.xz`, `.bz2`).
            encoding: of its text, where it is not UTF-8 and has no byte-order mark.
            columns: those that a table must have; of a Parquet or Arrow table no others are read.
            header: names of the columns of a CSV or TSV table without a header line.
            under: of a JSON mapping, the key under which the rows are.

        Raises:
            UsageError: if it is absent, damaged, empty or no such table, naming the file.
        """
        refuse_spreadsheet(Path(name))
        member, empty = self._noted(name), True
        for row in self._rows_in(member, name, encoding, columns, header, under):
            empty = False
            yield row
        if empty:
            sheet = fold(name).endswith((".csv", ".tsv")) and not header
            head = " below its first line, which is the names of its columns" if sheet else ""
            raise UsageError(f"{member.where}: it has no rows{head}")

    def _rows_in(
        self,
        member: Member,
        name: str,
        encoding: str,
        columns: Sequence[str] | None,
        header: Sequence[str] | None,
        under: str,
    ) -> Iterator[Row]:
        last = fold(member_parts(name)[-1])
        suffix = Path(last.removesuffix(packed_suffix(last))).suffix
        if suffix in (".jsonl", ".ndjson"):
            yield from self._json_lines(member, encoding)
        elif suffix in (".parquet", ".arrow"):
            yield from rows_of_mappings(_mappings(member, suffix, columns), member.where)
        elif suffix == ".json":
            value = json_of(decoded(member.read(), member.where, encoding), member.where)
            if under:
                if not isinstance(value, dict) or under not in value:
                    raise UsageError(f"{member.where}: expected a mapping with {under!r}")
                value = value[under]
            yield from rows_of_json(value, f"{member.where}, {under}" if under else member.where)
        else:
            yield from rows_of_csv(
                member.open, member.where, encoding=encoding, header=header, required=columns
            )

    def json(self, name: str) -> Any:
        """The value of a JSON member.

        Raises:
            UsageError: if it is absent, too large, not JSON, or a key stands twice in a mapping.
        """
        member, data = self._read(name)
        return json_of(decoded(data, member.where), member.where)

    def table(self, name: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a Parquet member in order, with these columns or all; see `parquet.rows_of`.

        Raises:
            UsageError: if it is absent, too large or damaged, or has no such column.
        """
        return _mappings(self._noted(name), fold(Path(name).suffix), columns)

    def class_names(self, name: str) -> dict[str, list[str]]:
        """Of a Parquet or Arrow member: names of the numbers in columns of class labels, by column.

        Raises:
            UsageError: if it is absent or damaged.
        """
        from sightline import parquet

        member = self._files.find(member_parts(name))  # hashed where its rows are read
        if member is None:
            raise UsageError(self._files.absent(name, name))
        source = member.read() if member.path is None else member.path
        return parquet.class_names(source, member.where, arrow=fold(name).endswith(".arrow"))

    def names(self, folder: str = "", pattern: str = "*") -> list[str]:
        """Names of the files directly in a folder; see `ReleaseFiles.names`."""
        return self._files.names(folder, pattern)

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders directly in a folder ('' = the root), also of an archive there; sorted."""
        return self._files.folders(folder)

    def locate(self, *names: str) -> str:
        """The name of the first of these members that is there; see `ReleaseFiles.locate`.

        Raises:
            UsageError: if there is none: what was looked for, where, the cure.
        """
        return self._files.locate(*names)

    def note(self, name: str) -> None:
        """Note the content of a text or table, for the digest.

        Raises:
            UsageError: if it is absent or cannot be read.
        """
        self._noted(name)

    def _noted(self, name: str) -> Member:
        """A member whose content enters the digest, piece by piece."""
        member = self._files.find(member_parts(name))
        if member is None:
            raise UsageError(self._files.absent(name, name))
        member = unpacked(member)
        self._texts[fold(name)] = member.sha256()
        return member

    def _read(self, name: str) -> tuple[Member, bytes]:
        """A member and its content, which enters the digest."""
        member = self._files.find(member_parts(name))
        if member is None:
            raise UsageError(self._files.absent(name, name))
        data = member.read()
        self._texts[fold(name)] = sha256_bytes(data)
        return member, data

    @staticmethod
    def _json_lines(member: Member, encoding: str) -> Iterator[Row]:
        with member.open() as file:
            start = file.read(4)
        coding = encoding_of(start, member.where, encoding)
        if coding not in ("utf-8", "utf-8-sig"):
            text = decoded(member.read(), member.where, encoding)
            yield from rows_of_jsonl((line.encode() for line in text.splitlines()), member.where)
            return
        with member.open() as file:
            yield from rows_of_jsonl(lines_of(file, member.where), member.where)

    def picture(self, cell: Any, name: str) -> Image:
        """A picture inside a table, kept in the run's blobs: bytes, or a mapping of `bytes` and `path`.

        Where there are no bytes, `path` is taken for a member of the release. An absent or unreadable
        picture has `problem` set, which begins with `name`.
        """
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, Mapping) else (cell, None)
        if data is None and isinstance(path, str):
            return self.image(path)
        if self._listing and isinstance(data, bytes):
            return Image("", 0, 0)
        where = f"{self.root}: {whole(name)}"
        if not isinstance(data, bytes):
            return Image("", 0, 0, problem=f"{where}: holds no picture")
        if len(data) > (most := _trees.MAX_MEMBER_BYTES):
            return Image("", 0, 0, problem=f"{where}: {len(data)} bytes, more than the {most} allowed")
        return self.kept(data, where)

    def kept(self, data: bytes, where: str) -> Image:
        """A picture file, kept in the run's blobs; `where` names it for what is wrong with it."""
        try:
            return self._images.put(data)
        except UsageError as broken:
            message = str(broken)
            return Image("", 0, 0, problem=message if where in message else f"{where}: {message}")

    def image(self, name: str) -> Image:
        """A picture member, kept in the run's blobs. An absent or unreadable one has `problem` set."""
        given, name = name, whole(name)
        where = f"{self.root}: {name}"
        self._pictures_seen[name] = Seen()
        try:
            member_parts(given)  # refused as it was given: a NUL is no odd letter
            member = self._files.find(member_parts(name))
            if member is None:
                return Image("", 0, 0, problem=f"picture {name} not found in {self.root}")
            if self._listing:
                return Image("", 0, 0)
            where = member.where
            data = member.read()
            self._pictures_seen[name] = Seen(sha256_bytes(data), member.stamp)
            return self.kept(data, where)
        except UsageError as broken:
            message = str(broken)
            return Image("", 0, 0, problem=message if where in message else f"{where}: {message}")

    def look_again(self, name: str, before: Seen) -> None:
        """Note a picture as read, for the digest. Its content is read only if its stamp has changed."""
        now = Seen()
        with suppress(UsageError):
            member = self._files.find(member_parts(name))
            if member is not None and member.stamp == before.stamp:
                now = before
            elif member is not None:
                now = Seen(sha256_bytes(member.read()), member.stamp)
        self._pictures_seen[name] = now

    def draw(self, pixels: Pixels) -> Image:
        """A picture that the benchmark makes itself, kept as PNG in the run's blobs."""
        return Image("", 0, 0) if self._listing else self._images.put(encode_png(pixels))

    def listing(self, folder: str) -> list[tuple[str, int]]:
        """Names and sizes in bytes of the pictures of a folder ('' = root), sorted; they enter the digest."""
        found = self._files.pictures(member_parts(folder) if folder else ())
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
        """Close the archives."""
        self._files.close()


def _mappings(member: Member, suffix: str, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet or Arrow member: from disk where it lies there, else from memory."""
    from sightline import parquet

    source = member.read() if member.path is None else member.path
    return (parquet.rows_of_arrow if suffix == ".arrow" else parquet.rows_of)(source, member.where, columns)
