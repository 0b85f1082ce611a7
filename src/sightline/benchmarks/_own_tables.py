"""Where the rows lie in a user's own data: a table, a folder with tables or pictures, a saved data set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from sightline._trees import fold
from sightline.benchmarks._columns import Columns
from sightline.contracts import Release
from sightline.counting import plural
from sightline.errors import UsageError, nearest
from sightline.release_files import PICTURE_SUFFIXES, TABLE_SUFFIXES, refuse_spreadsheet
from sightline.rows import Row

ALL = "all"
PICTURES = "(pictures)"
"""Name of the table that is made of a folder's pictures."""
MOST_FOLDERS = 2_000
_NO_ROWS = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
_SHARD = re.compile(r"(?P<stem>.+?)[-_.]\d{3,5}-of-\d{3,5}(?:-[0-9a-f]+)?")


class OwnTable:
    """A table in one or more files.

    Attributes:
        name: of its split, '' where there is only one.
        files: members of the release with its rows, in order.
        folder: where its pictures are looked for first.
        way: what stood before the name of the last picture that was found.
        rows: how many have been read.
        mapped: its columns by role, for each set of columns that its rows have.
        label: its column of labels, which each of its rows has to have; '' if there is none.
        sidecar: whether it says what the pictures beside it are (`metadata.csv`, `metadata.jsonl`).
        shown: of a sidecar, the pictures that its rows show.
    """

    def __init__(self, name: str, files: tuple[str, ...], folder: str = "") -> None:
        self.name, self.files, self.folder = name, files, folder
        self.way: str | None = None
        self.rows = 0
        self.mapped: dict[tuple[str, ...], Columns] = {}
        self.label = ""
        self.sidecar = any(map(_is_sidecar, files))
        self.shown: set[str] = set()

    def show(self, name: str) -> None:
        """Note a picture that a row shows."""
        if self.sidecar:
            self.shown.add(fold(name))

    def warn_of_others(self, release: Release) -> None:
        """Tell of pictures beside a sidecar that none of its rows names: nobody is asked about them."""
        if not self.sidecar:
            return
        further = {_folder_of(name) for name in self.shown} - {fold(self.folder)}
        folders = [self.folder, *filter(release.exists, sorted(further))]
        beside = [name for folder in folders for name in release.names(folder)]
        others = {fold(name): name for name in beside if fold(name).endswith(PICTURE_SUFFIXES)}
        names = [name for folded, name in others.items() if folded not in self.shown]
        if names:
            listed = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            some = plural(len(names), "picture")
            release.warn(f"{', '.join(self.files)}: no row names {some} there: {listed}")


class OwnRow(Row):
    """A row that knows its table, and its name there: its key or number, counted over all of its files."""

    __slots__ = ("name", "table")

    def __init__(self, row: Row, table: OwnTable) -> None:
        super().__init__(row.file, row.unit, row.number, row.fields, key=row.key, fault=row.fault)
        self.table = table
        table.rows += 1
        self.name = row.key or str(row.number if len(table.files) == 1 else table.rows)


def _is_sidecar(name: str) -> bool:
    return fold(PurePosixPath(name).stem) == "metadata" and fold(name).endswith(TABLE_SUFFIXES)


def tables_in(release: Release, table: str, split: str) -> list[OwnTable]:
    """The tables to read: the one that is named, or what the folder holds.

    Raises:
        UsageError: if there is none, or several and none of them is named.
    """
    table = table or (release.file if fold(release.file) not in _NO_ROWS else "")
    if table:
        if split:
            raise UsageError(f"{release.root}: `split` chooses among several tables; {table!r} is only one")
        return [OwnTable("", (table,), _folder_of(table))]
    refuse_spreadsheet(release.root)
    found = _saved(release) or _tables(release) or _pictures(release)
    if not found:
        raise UsageError(
            f"{release.root}: no table ({', '.join(TABLE_SUFFIXES)}) and no pictures "
            f"({', '.join(PICTURE_SUFFIXES)}) in it; name a table or a folder that holds some as `root:`"
        )
    if split and split != ALL:
        if split not in found:
            raise UsageError(f"{release.root}: {nearest(split, [*found, ALL], 'split')}")
        return [found[split]]
    if len(found) > 1 and not split:
        listed = ", ".join(f"{name!r} ({', '.join(each.files)[:60]})" for name, each in found.items())
        raise UsageError(
            f"{release.root}: it holds {len(found)} tables: {listed[:600]}. Choose one: `split: "
            f"{next(iter(found))}`, or read them all: `split: {ALL}`"
        )
    if len(found) == 1:
        next(iter(found.values())).name = ""
    return list(found.values())


def _folder_of(file: str) -> str:
    parent = str(PurePosixPath(file.replace("\\", "/")).parent)
    return "" if parent == "." else parent


def _saved(release: Release) -> dict[str, OwnTable]:
    """Splits of a data set that `datasets` has saved (`save_to_disk`)."""
    names = {fold(name) for name in release.names()}
    if "dataset_dict.json" in names:
        splits = [name for name in release.folders() if release.exists(f"{name}/state.json")]
        return {name: _saved_split(release, name) for name in splits}
    return {"": _saved_split(release, "")} if "state.json" in names else {}


def _saved_split(release: Release, folder: str) -> OwnTable:
    inside = f"{folder}/" if folder else ""
    state = release.json(f"{inside}state.json")
    if not isinstance(state, Mapping) or not isinstance(state.get("_data_files"), list):
        raise UsageError(f"{release.root}: {inside}state.json names no `_data_files`; save it again")
    if state.get("_indices_files"):
        raise UsageError(
            f"{release.root}: {inside}state.json names a selection of rows (`_indices_files`); save "
            "`dataset.flatten_indices()` instead"
        )
    files = [each.get("filename") for each in state["_data_files"] if isinstance(each, Mapping)]
    if not files or not all(isinstance(name, str) for name in files):
        raise UsageError(f"{release.root}: {inside}state.json names no files; save the data set again")
    return OwnTable(folder, tuple(f"{inside}{name}" for name in files), folder)


def _tables(release: Release) -> dict[str, OwnTable]:
    """Tables at the root; where there are none, those in its folders."""
    found = _grouped(release, "")
    if found:
        return {name: OwnTable(name, files) for name, files in found.items()}
    tables = {}
    for folder in release.folders():
        groups = _grouped(release, folder)
        for stem, files in groups.items():
            alone = len(groups) == 1 and fold(folder) != "data"
            name = folder if alone else stem if fold(folder) == "data" else f"{folder}/{stem}"
            tables[name] = OwnTable(name, files, folder)
    return tables


def _grouped(release: Release, folder: str) -> dict[str, tuple[str, ...]]:
    """The tables directly in a folder by name; `x-00000-of-00002` and `x-00001-of-00002` are one."""
    names = [
        name
        for name in release.names(folder)
        if fold(name).endswith(TABLE_SUFFIXES) and fold(PurePosixPath(name).name) not in _NO_ROWS
    ]
    sidecars = [name for name in names if _is_sidecar(name)]
    groups: dict[str, list[str]] = {}
    for name in sidecars or names:
        path = PurePosixPath(name)
        shard = _SHARD.fullmatch(path.stem)
        stem = shard["stem"] if shard else path.stem
        taken = stem in groups and not (shard and PurePosixPath(groups[stem][0]).suffix == path.suffix)
        groups.setdefault(path.name if taken else stem, []).append(name)
    return {stem: tuple(files) for stem, files in groups.items()}


def _pictures(release: Release) -> dict[str, OwnTable]:
    """Pictures without a table, as a table."""
    folders, waiting = [], [""]
    for folder in waiting:
        if release.listing(folder):
            folders.append(folder)
        if len(waiting) < MOST_FOLDERS:
            waiting += [f"{folder}/{name}" if folder else name for name in release.folders(folder)]
    return {"": OwnTable("", (PICTURES, *folders))} if folders else {}


def rows_of_pictures(release: Release, table: OwnTable) -> Iterator[Row]:
    """A row for each picture: its name, and that of its folder as its category."""
    number = 0
    for folder in table.files[1:]:
        for name in release.names(folder):
            if fold(name).endswith(PICTURE_SUFFIXES):
                number += 1
                fields = {"id": name, "image": name} | ({"category": folder} if folder else {})
                yield Row(str(release.root), "picture", number, fields, key=name)
