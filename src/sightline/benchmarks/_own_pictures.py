"""Pictures in cells of a user's table: paths, file:// and data URIs, base64, bytes, and lists of them."""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from sightline.benchmarks._own_tables import OwnRow
from sightline.cases import Image
from sightline.contracts import Release
from sightline.release_files import PICTURE_SUFFIXES

FOLDERS = ("images", "image", "imgs", "img", "pictures", "photos")
"""Where pictures often lie beside their table."""
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]+)://", re.IGNORECASE)
_DATA_URI = re.compile(r"data:(?P<kind>[^,]{0,200}),", re.IGNORECASE)
_BASE64_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")
"""How PNG, JPEG, GIF and WebP begin in base64."""
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_SEPARATORS = re.compile(r"[;|\n]")
_NEARER = "write it as from the table's folder"
_WIDER = "set `root:` to a folder that holds both table and pictures, and `table:` to the table's name in it"


def pictures_of(row: OwnRow, column: str, release: Release, folder: str) -> list[Image]:
    """The pictures of a cell in order; none for an empty one.

    One that cannot be used has `problem` set.
    """
    if row.blank(column):
        return [] if not isinstance(row.value(column, default=None), float) else [_bad(row, column, "is NaN")]
    return [_picture(row, column, each, release, folder) for each in _listed(row.value(column), row, release)]


def picture_of(row: OwnRow, column: str, cell: Any, release: Release, folder: str) -> Image:
    """One picture, such as a message shows it."""
    return _picture(row, column, cell, release, folder)


def _bad(row: OwnRow, column: str, what: str) -> Image:
    return Image("", 0, 0, problem=f"{row.where}: {column!r} {what}")


def _listed(cell: Any, row: OwnRow, release: Release) -> Iterator[Any]:
    """The entries of a cell; a text may hold a list of names, in JSON or with `;`, `|` or lines between."""
    if isinstance(cell, list | tuple):
        for each in cell:
            yield from _listed(each, row, release)
        return
    if not isinstance(cell, str) or _DATA_URI.match(cell) or _is_base64(cell.strip()):
        yield cell
        return
    text = cell.strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            found = json.loads(text if '"' in text else text.replace("'", '"'))
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list) and found and all(isinstance(each, str) for each in found):
            yield from found
            return
    pieces = [piece.strip() for piece in _SEPARATORS.split(text)]
    several = len(pieces) > 1 and not release.exists(posixpath.join(row.table.folder, text))
    yield from [piece for piece in pieces if piece] if several else [text]


def _is_base64(text: str) -> bool:
    return text.startswith(_BASE64_STARTS) and len(text) > 60


def _picture(row: OwnRow, column: str, cell: Any, release: Release, folder: str) -> Image:
    if isinstance(cell, bytes):
        return release.picture(cell, f"{row.unit} {row.number}, {column}")
    if isinstance(cell, Mapping):
        if isinstance(cell.get("bytes"), str):  # JSON has no bytes
            return _decoded(row, column, cell["bytes"], "base64", release)
        if cell.get("bytes") is not None:
            return release.picture(cell, f"{row.unit} {row.number}, {column}")
        cell = cell.get("path") or cell.get("url")
    if not isinstance(cell, str) or not cell.strip():
        return _bad(row, column, f"is {repr(cell)[:60]}, which is no picture")
    text = cell.strip()
    data = _DATA_URI.match(text)
    if data or _is_base64(text):
        kind, start = (data["kind"], data.end()) if data else ("base64", 0)
        return _decoded(row, column, text[start:], kind, release)
    scheme = _SCHEME.match(text)
    if scheme and scheme["scheme"].casefold() != "file":
        return _bad(
            row, column, f"is {text[:120]!r}: nothing is downloaded; save the picture and write its path"
        )
    return _at(row, column, _path(text) if scheme else text, release, folder)


def _decoded(row: OwnRow, column: str, text: str, kind: str, release: Release) -> Image:
    """A picture in base64."""
    if not kind.casefold().endswith("base64"):
        return _bad(row, column, f"is a data URI of {kind[:40]!r}; write it with `;base64,`")
    plain = "".join(unquote(text).split()).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as broken:
        return _bad(row, column, f"is no base64 ({broken})")
    return release.picture(data, f"{row.unit} {row.number}, {column}")


def _path(text: str) -> str:
    """The path that a file:// address names."""
    path = unquote(text[len("file://") :])
    path = path.removeprefix("localhost")
    return path[1:] if _DRIVE.match(path[1:]) else path


def _at(row: OwnRow, column: str, text: str, release: Release, folder: str) -> Image:
    """A picture by its path: from its table's folder, then from the root."""
    path = text.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path):
        inside = _inside(path, release.root)
        if inside is None:
            return _bad(
                row, column, f"is {text[:200]!r}, outside of {_top(release.root)}; {_NEARER}, or {_WIDER}"
            )
        row.table.show(inside)
        return release.image(inside)
    table = row.table
    ways = [folder] if folder else list(dict.fromkeys([table.folder, ""]))
    if table.way is not None:
        ways = [table.way, *(way for way in ways if way != table.way)]
    names = [posixpath.normpath(posixpath.join(way, path)) for way in ways]
    names = [name for name in names if name not in ("..", ".") and not name.startswith("../")]
    if not names:
        return _bad(row, column, f"is {text[:200]!r}, which leads out of {_top(release.root)}; {_WIDER}")
    table.show(names[0])
    first = release.image(names[0])
    if first.problem is None or release.exists(names[0]):
        return first
    for way, name in _others(ways, names, path, folder):
        if release.exists(name):
            table.way = way
            table.show(name)
            return release.image(name)
    return first


def _others(ways: list[str], names: list[str], path: str, folder: str) -> Iterator[tuple[str | None, str]]:
    """Where else a picture may lie: in the other folders, or with a suffix that its name lacks."""
    yield from zip(ways[1:], names[1:], strict=False)
    if not folder:
        for below in (posixpath.join(way, name) for name in FOLDERS for way in ways):
            name = posixpath.normpath(posixpath.join(below, path))
            if not name.startswith(".."):
                yield below, name
    if not PurePosixPath(path).suffix:
        yield from ((None, f"{name}{suffix}") for name in names for suffix in PICTURE_SUFFIXES)


def _top(root: Path) -> Path:
    return root.parent if root.is_file() else root


def _inside(path: str, root: Path) -> str | None:
    """An absolute path as a name inside the root; None if it is not in it, or of another system."""
    if not Path(path).is_absolute():
        return None
    try:
        top = _top(root).resolve()
        return Path(path).resolve().relative_to(top).as_posix()
    except (OSError, ValueError, RuntimeError):
        return None
