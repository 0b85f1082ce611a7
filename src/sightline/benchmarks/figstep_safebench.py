"""SafeBench of FigStep: 500 requests in ten topics that a safe model refuses, as text or as official pages.

Gong et al., AAAI 2025. Release: ThuCCSLab/FigStep (MIT), read from the user's folder or zip:
data/question/{safebench,SafeBench-Tiny}.csv with the columns dataset, category_id, task_id, category_name,
question, instruction; data/images/{SafeBench,SafeBench-Tiny}/query_ForbidQI_{category_id}_{task_id}_6.png.

`images='none'` sends the question verbatim; `images='official'` sends the official page with the sentence of
`attacks/figstep` (our wording of the paper's; set `instruction` to use another). Tiny is tasks 1-5 of each
topic. Topics 8-10 ask for advice (legal, financial, health), which most models give as plain text: report
ten topics and, with `topics='seven'`, the seven others. Results can be split by `category` all the same.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from sightline.attacks import instructions
from sightline.benchmarks._odd_texts import warn_of_odd_texts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Benchmark, Release
from sightline.errors import UsageError
from sightline.registry import benchmark

HAZARDS = {
    "Illegal Activity": "ncr",
    "Hate Speech": "hte",
    "Malware Generation": "x.cyb",
    "Physical Harm": "vcr",
    "Fraud": "ncr",
    "Adult Content": "sxc",
    "Privacy Violation": "prv",
    "Legal Opinion": "spc_lgl",
    "Financial Advice": "spc_fin",
    "Health Consultation": "spc_hlt",
}
"""The ten topics and their codes in the common taxonomy."""

ADVICE = frozenset({"Legal Opinion", "Financial Advice", "Health Consultation"})

COLUMNS = ("category_id", "task_id", "category_name", "question", "instruction")
FIGSTEP_ITEMS = 3


class Subset(NamedTuple):
    """The file of a subset of the release, and its known number of rows."""

    table: str
    folders: tuple[str, ...]
    rows: int


SUBSETS = {
    "full": Subset("data/question/safebench.csv", ("data/images/SafeBench",), 500),
    "tiny": Subset(
        "data/question/SafeBench-Tiny.csv", ("data/images/SafeBench-Tiny", "data/images/SafeBench"), 50
    ),
}


class Row(NamedTuple):
    """One line of the table, checked."""

    line: int
    category_id: int
    task_id: int
    category: str
    question: str
    instruction: str


@benchmark(
    "figstep_safebench",
    paper="arXiv:2311.05608",
    source="ThuCCSLab/FigStep: data/question, data/images",
    presets={"tiny": {"subset": "tiny"}, "official": {"images": "official"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FigStepSafeBench(Benchmark):
    """`instruction`: the sentence shown with official pages ('' = ours)."""

    needs_root: ClassVar[bool] = True

    subset: Literal["full", "tiny"] = "full"
    images: Literal["none", "official"] = "none"
    topics: Literal["ten", "seven"] = "ten"
    instruction: str = ""

    def cases(self, release: Release) -> Iterator[Case]:
        """One case per row, in the order of the table.

        Raises:
            UsageError: for an absent or wrong table, naming file and line; or no official picture at all.
        """
        where = SUBSETS[self.subset]
        rows = read_table(where.table, release)
        if len(rows) != where.rows:
            release.warn(f"{release.root}: {where.table} has {len(rows)} rows, {where.rows} expected")
        folder = self._folder(where, release) if self.images == "official" else ""
        ours = self.instruction or instructions.FIGSTEP
        said = ours.replace("{items}", str(FIGSTEP_ITEMS))
        for row in rows:
            if self.topics == "seven" and row.category in ADVICE:
                continue
            parts: tuple[str | Image, ...] = (row.question,)
            if folder:
                name = f"{folder}/query_ForbidQI_{row.category_id}_{row.task_id}_6.png"
                parts = (release.image(name), said)
            task = f"{row.category_id}_{row.task_id}"
            yield Case(
                id=f"figstep_safebench/{self.images}/{task}",
                conversation=Conversation.user(*parts),
                behavior=row.question,
                expected=Expected.refuse,
                category=row.category,
                group=f"figstep_safebench/{task}",
                hazard=HAZARDS.get(row.category, ""),
                wordings={"statement": row.instruction},
            )

    def _folder(self, where: Subset, release: Release) -> str:
        """The first folder with pictures. The other one may replace it: its names are the same."""
        for folder in where.folders:
            found = len(release.listing(folder))
            if found:
                if found < where.rows:
                    release.warn(
                        f"{release.root}: {folder} has {found} pictures, {where.rows} expected; "
                        "cases without one become errors"
                    )
                return folder
        raise UsageError(
            f"{release.root}: no pictures found in {' or '.join(where.folders)}. "
            "Set `root:` of the benchmark in the study to the folder or .zip of the official release, "
            "or use images='none'."
        )


def read_table(name: str, release: Release) -> list[Row]:
    """All rows of a SafeBench table, each checked.

    Raises:
        UsageError: naming file and line, for missing columns, empty text, bad or repeated numbers.
    """
    reader = csv.DictReader(io.StringIO(release.text(name), newline=""), strict=True)
    rows: list[Row] = []
    seen: dict[tuple[int, int], int] = {}
    try:
        columns = {(column or "").strip().casefold(): column for column in reader.fieldnames or ()}
        missing = [column for column in COLUMNS if column not in columns]
        if missing:
            raise UsageError(
                f"{release.root}: {name}, line 1: no column {', '.join(missing)}; "
                f"found {', '.join(columns) or 'nothing'}"
            )
        for fields in reader:
            where = f"{release.root}: {name}, line {reader.line_num}"
            if None in fields:
                raise UsageError(f"{where}: more fields than columns; is a text with a comma not in quotes?")
            row = _row(reader.line_num, {key: fields[columns[key]] for key in COLUMNS}, where)
            first = seen.setdefault((row.category_id, row.task_id), row.line)
            if first != row.line:
                task = f"category_id {row.category_id}, task_id {row.task_id}"
                raise UsageError(f"{where}: {task} was already on line {first}")
            rows.append(row)
    except csv.Error as broken:
        where = f"{release.root}: {name}, line {reader.line_num + 1}"
        raise UsageError(f"{where}: not a CSV table ({broken})") from None
    if not rows:
        raise UsageError(f"{release.root}: {name} has no rows")
    texts = ((f"line {row.line}", text) for row in rows for text in (row.question, row.instruction))
    warn_of_odd_texts(release, f"{release.root}: {name}", texts)
    return rows


def _row(line: int, fields: dict[str, str | None], where: str) -> Row:
    found = {key: (value or "").strip() for key, value in fields.items()}
    for key in COLUMNS:
        if not found[key]:
            raise UsageError(f"{where}: {key} is empty; fix the row (none is ever left out)")
    for key in ("category_id", "task_id"):
        if not (found[key].isascii() and found[key].isdigit() and len(found[key]) < 19):
            raise UsageError(f"{where}: {key} {found[key][:24]!r} is not a number")
    return Row(
        line=line,
        category_id=int(found["category_id"]),
        task_id=int(found["task_id"]),
        category=found["category_name"],
        question=fields["question"] or "",
        instruction=found["instruction"],
    )
