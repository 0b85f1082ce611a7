"""Read the files of a study into one table, each by its format."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from sightline.digests import sha256_file
from sightline.errors import UsageError, nearest
from sightline.release import NoImages, OfficialRelease, listed
from sightline.responses.answers import Answer, Part
from sightline.responses.columns import GUESSES, answers_of, columns_of, plain_name
from sightline.responses.files import File, Wanted, found_files, open_file
from sightline.responses.formats import harmbench, jailbreakbench, omnisafebench, pyrit
from sightline.responses.table import Facts, ResponseTable
from sightline.untrusted import sanitized_row

FORMATS: Mapping[str, ModuleType] = {
    module.NAME: module for module in (jailbreakbench, harmbench, omnisafebench, pyrit)
}
INSPECT, TABLE = "inspect", "table"
_BRIDGE = "sightline.bridge.eval_responses"


def read_responses(wanted: Wanted, folder: Path, label: str = "") -> ResponseTable:
    """All responses of the files that a study names, relative ones from `folder`.

    Raises:
        UsageError: naming file and row, for all rows that cannot be used together, unless they are kept.
    """
    paths = found_files(wanted.files, folder)
    images = (folder / Path(wanted.images).expanduser()).resolve() if wanted.images else None
    pictures = {path: images or harmbench.pictures_of(path) or path.parent for path in paths}
    root = Path(os.path.commonpath([*(path.parent for path in paths), *pictures.values()]))
    if wanted.behaviors:
        wanted = replace(wanted, behaviors=str(folder / Path(wanted.behaviors).expanduser()))
    reader = _Reader(wanted, root, OfficialRelease(root, NoImages()), pictures)
    name = label or (paths[0].stem if len(paths) == 1 else root.name or "responses")
    table = ResponseTable(name, root, reader.answers(paths), keep_bad=wanted.keep_bad)
    table.facts = reader.facts
    return table


class _Reader:
    """Reads files one after the other and collects what is known of them."""

    def __init__(
        self, wanted: Wanted, root: Path, release: OfficialRelease, pictures: Mapping[Path, Path]
    ) -> None:
        self._wanted, self._root, self._release, self._pictures = wanted, root, release, pictures
        self._files: list[dict[str, Any]] = []
        self._said: list[Facts] = []
        if wanted.format and wanted.format not in (*FORMATS, INSPECT, TABLE):
            raise UsageError(nearest(wanted.format, [*FORMATS, INSPECT, TABLE], "format of responses"))

    @property
    def facts(self) -> Facts:
        """Of all files; what differs between them stands with each."""

        def one(name: str) -> str:
            return ", ".join(dict.fromkeys(value for each in self._said if (value := getattr(each, name))))

        decoding: dict[str, Any] = {}
        columns: dict[str, str] = {}
        for each in self._said:
            decoding |= each.decoding
            columns |= each.columns
        return Facts(
            format=one("format"),
            harness=one("harness"),
            version=one("version"),
            decoding=sanitized_row(decoding),
            files=sanitized_row(self._files),
            columns=sanitized_row(columns),
        )

    def answers(self, paths: list[Path]) -> Iterator[Answer]:
        """The rows of all files, in order."""
        last = Answer(place="")
        for path in paths:
            file = open_file(path, self._root, self._release, self._wanted.encoding)
            count, pictures = 0, self._pictures[path].relative_to(self._root).as_posix()
            said, about, rows = self._opened(file)
            self._said.append(said)
            for answer in rows:
                count += 1
                if answer.problems and answer.case == answer.place:  # nothing of it could be read
                    answer = replace(answer, model=last.model, attack=last.attack, defense=last.defense)
                last = answer = with_pictures_in(answer, pictures)
                if self._wanted.expected and not answer.expected:
                    answer = replace(answer, expected=self._wanted.expected)
                yield answer
            self._files.append(
                {
                    "name": file.name,
                    "sha256": sha256_file(path),
                    "rows": count,
                    "format": said.format,
                    **about,
                }
            )

    def _opened(self, file: File) -> tuple[Facts, Mapping[str, Any], Iterator[Answer]]:
        wanted = self._wanted
        if wanted.format == INSPECT or (not wanted.format and _is_log(file)):
            found = importlib.import_module(_BRIDGE).read_log(file.path, file.name, wanted)
            return found.facts, found.about, found.answers
        known = [module for module in FORMATS.values() if module.fits(file)]
        if wanted.format in FORMATS:
            module = FORMATS[wanted.format]
            if module not in known:
                raise UsageError(f"{file.name}: not in the format {wanted.format}: {_first_line(module)}")
        elif known and wanted.format != TABLE:
            module = known[0]
        else:
            if file.whole is not None:
                raise UsageError(
                    f"{file.name}: a JSON object in none of the known formats ({', '.join(FORMATS)}); a "
                    "table is a JSON list of rows"
                )
            columns = columns_of(file, wanted)
            named = {**columns.names, **{f"verdict {n}": name for n, name in enumerate(columns.verdicts)}}
            if columns.yes is not None and "expected" in columns.names:
                named["yes means"] = columns.yes.value
            return Facts(format=TABLE, columns=named), {}, answers_of(file, columns)
        rows: Iterator[Answer] = module.read(file, wanted)
        return Facts(format=module.NAME, harness=module.HARNESS), module.about_file(file), rows


def format_of(path: Path) -> str:
    """The format in which a file holds responses: a harness's, or `table` for a column of them; else ''."""
    try:
        with listed(path.parent) as release:
            file = open_file(path, path.parent, release)
    except UsageError:
        return ""
    known = [name for name, module in FORMATS.items() if module.fits(file)]
    if _is_log(file) or known:
        return INSPECT if _is_log(file) else known[0]
    return TABLE if any(plain_name(name) in GUESSES["response"] for name in file.keys) else ""


def _is_log(file: File) -> bool:
    """Whether a file is a log of Inspect, in either form."""
    if file.path.suffix.lower() == ".eval":
        return True
    return {"version", "status", "eval", "plan"} <= set(file.whole or ())


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").splitlines()[0]


def with_pictures_in(answer: Answer, folder: str) -> Answer:
    """The same, with the pictures of its turns named from the root: they lie in `folder`, below it."""
    if folder == "." or not any(isinstance(part, Mapping) for turn in answer.turns for part in turn["parts"]):
        return answer

    def placed(part: Part) -> Part:
        name = "" if isinstance(part, str) else part.get("image", "")
        inside = name and not name.startswith(("data:", "/", "file:")) and ":" not in name[:3]
        return {"image": f"{folder}/{name}"} if inside else part

    turns = [{**turn, "parts": [placed(part) for part in turn["parts"]]} for turn in answer.turns]
    return replace(answer, turns=turns)
