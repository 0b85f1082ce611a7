"""Your own prompts, pictures and conversations: a table, or a folder with a table or with pictures.

Rows of CSV, TSV, JSON, JSONL, Parquet or Arrow; pictures beside the table or in it; a folder that Hugging
Face `datasets` has saved or would load as `imagefolder`; or pictures alone, all asked the same `prompt`.
Columns are known by their names (prompt, image, label, category, id, ...: docs/your_data.md), or by
`columns: {text: utterance}`. `sightline check-data FILE` shows what was mapped to what, and everything that
has to be mended.

Without a column of labels all rows are requests to refuse (`expected`). Each row is a cluster of its own,
unless there is a column `group`. Nothing is downloaded, and no row is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from sightline.benchmarks._columns import (
    Columns,
    columns_of,
    expected_of,
    likely_text,
    looks_like_picture,
    plain_name,
    role_of,
)
from sightline.benchmarks._messages import conversation_in
from sightline.benchmarks._own_pictures import picture_of, pictures_of
from sightline.benchmarks._own_tables import PICTURES, OwnRow, OwnTable, rows_of_pictures, tables_in
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.counting import plural
from sightline.errors import UsageError, nearest
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazards

ExpectedName = Literal["refuse", "comply", "answer", "abstain", "classify"]
WORDINGS = ("statement", "key_phrase", "rephrased")
BINARY = (".parquet", ".arrow")
JSON_LINES = (".jsonl", ".ndjson")
SAID = frozenset({"category", "hazard", "twin", "group", "answer", *WORDINGS})
"""Roles of columns with a short text, which may be empty."""
SELDOM = 1_000
"""Different sets of columns of one JSON table whose mapping is remembered."""


def _as_texts(labels: Any) -> Any:
    """Labels as a study file may write them: 1, true and Yes are texts here."""
    if not isinstance(labels, Mapping):
        return labels
    return {str(label).strip().casefold(): value for label, value in labels.items()}


@benchmark(
    "cases",
    source="yours",
    release=ReleaseFacts(home="your own table or folder", licence="yours", access="yours"),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Cases(TableBenchmark):
    """The user's own cases.

    Attributes:
        columns: names of columns by what they are (`{text: utterance, unsafe: flag}`); null for none.
        labels: what the values of the column of labels mean (`{hateful: refuse}`).
        expected: what is expected where the table has no labels.
        prompt: what is asked where a row has no text of its own, such as with pictures alone.
        table: name of the table in the root, where the root holds more than one.
        split: name of one of several tables, or `all`.
        images: folder of the pictures in the root, where they do not lie beside the table.
        encoding: of a text table without a byte-order mark that is not UTF-8, such as cp1252 or latin-1.
        under: of a JSON file, the key under which the rows are.
    """

    columns: Mapping[str, str | tuple[str, ...] | None] = field(default_factory=dict)
    labels: Annotated[Mapping[str, ExpectedName], BeforeValidator(_as_texts)] = field(default_factory=dict)
    expected: ExpectedName = "refuse"
    prompt: str = ""
    table: str = ""
    split: str = ""
    images: str = ""
    encoding: str = ""
    under: str = ""

    def __post_init__(self) -> None:
        for key in self.columns:
            role_of(key)

    def rows(self, release: Release) -> Iterator[Row]:
        """The rows of the table, or of all tables of a split; blank lines at a table's end are counted."""
        for table in tables_in(release, self.table, self.split):
            for file in table.files[: 1 if table.files[0] == PICTURES else None]:
                yield from self._without_blank_end(self._rows_of(release, table, file), release)
            table.warn_of_others(release)

    def _rows_of(self, release: Release, table: OwnTable, file: str) -> Iterator[OwnRow]:
        under = ""
        if file == PICTURES:
            found = rows_of_pictures(release, table)
        else:
            under = self.under or _rows_under(release, file)
            found = release.rows(file, encoding=self.encoding, under=under)
            if file.casefold().endswith(BINARY) and (names := release.class_names(file)):
                found = (_named(row, names) for row in found)
        for number, row in enumerate(found):
            if not number:
                self._check_columns(row, release)
                table.label = table.label or self._label_in(row, release, file, under)
            yield OwnRow(row, table)

    def _check_columns(self, first: Row, release: Release) -> None:
        """Whether a table has the columns that the study names, and others that seem to be forgotten."""
        if not first.fault:
            for name in columns_of(map(str, first.fields), self.columns).unused(map(str, first.fields)):
                if looks_like_picture(first.fields.get(name)):
                    release.warn(
                        f"{first.file}: column {name!r} is not used and seems to hold pictures: show them "
                        f"by `columns: {{image: {name}}}`"
                    )
        if first.file.casefold().endswith((".json", ".jsonl", ".ndjson")) or first.fault:
            return
        there = {plain_name(str(name)) for name in first.fields}
        for key, value in self.columns.items():
            for name in (value,) if isinstance(value, str) else value or ():
                if name and plain_name(name) not in there:
                    what = nearest(name, [each for each in map(str, first.fields) if each], "column")
                    raise UsageError(f"{first.file}: `columns: {{{key}: {name}}}`: {what}")

    def _label_in(self, first: Row, release: Release, file: str, under: str) -> str:
        """The column of labels of a table: a first row that is cut short does not have it, others may."""
        label = columns_of(map(str, first.fields), self.columns)["expected"]
        if label or file == PICTURES or file.casefold().endswith(BINARY):
            return label
        known: dict[tuple[str, ...], str] = {}
        try:
            for row in release.rows(file, encoding=self.encoding, under=under):
                names = tuple(map(str, row.fields))
                if names not in known and len(known) < SELDOM:
                    known[names] = label = columns_of(names, self.columns)["expected"]
                    if label:
                        return label
        except UsageError:
            return ""  # told where its rows are read
        return ""

    def _without_blank_end(self, rows: Iterator[OwnRow], release: Release) -> Iterator[OwnRow]:
        """Spreadsheets write lines without any text behind the last row: these are no rows."""
        blank: list[OwnRow] = []
        for row in rows:
            sheet = row.unit == "line" and not row.file.casefold().endswith(JSON_LINES)
            readable = sheet and row.fields and not row.fault
            if readable and not any(map(_filled, row.fields.values())):
                blank.append(row)
                continue
            yield from blank
            blank.clear()
            yield row
        if blank:
            what = "which is no row" if len(blank) == 1 else "which are no rows"
            release.warn(f"{blank[0].where}: from here on {plural(len(blank), 'blank line')}, {what}")

    def columns_in(self, row: OwnRow) -> Columns:
        """Which column of the row's table is what."""
        names, known = tuple(map(str, row.fields)), row.table.mapped
        if names not in known:
            if len(known) > SELDOM:
                known.clear()
            known[names] = columns_of(names, self.columns)
        return known[names]

    def roles(self, row: Row) -> Mapping[str, tuple[str, ...]]:
        """Which of the row's columns are what."""
        return self.columns_in(row).found if isinstance(row, OwnRow) else {}

    def case(self, row: Row, release: Release) -> Case:
        """One request: the row's pictures, then its text; or its messages."""
        assert isinstance(row, OwnRow)  # they are all made by `rows`
        columns = self.columns_in(row)
        name = self._name(row, columns)
        conversation = self._conversation(row, columns, release)
        behavior = row.text(columns["behavior"]) if columns["behavior"] else ""
        behavior = behavior or conversation.last_user_text() or self.prompt
        if not behavior.strip():
            raise row.problem("its last message has no text; say what is asked in a column `behavior`")
        words = {
            role: row.word(found[0], default="") for role, found in columns.found.items() if role in SAID
        }
        code, twin, group = words.get("hazard", ""), words.get("twin"), words.get("group")
        return Case(
            id=f"cases/{name}",
            conversation=conversation,
            behavior=behavior,
            expected=expected_of(row, columns, self.labels, Expected(self.expected), row.table.label),
            category=words.get("category", ""),
            group=f"cases/group/{group}" if group else f"cases/{name}",
            hazard=code if code in hazards() else "",
            twin=f"cases/{self._prefix(row)}{twin}" if twin else None,
            answer=words.get("answer") or None,
            wordings={kind: row.text(columns[kind]) for kind in WORDINGS if words.get(kind)},
        )

    def _name(self, row: OwnRow, columns: Columns) -> str:
        """The row's own id, or its place."""
        own = row.word(columns["id"]) if columns["id"] else row.name
        return f"{self._prefix(row)}{own}"

    @staticmethod
    def _prefix(row: OwnRow) -> str:
        return f"{row.table.name}/" if row.table.name else ""

    def _conversation(self, row: OwnRow, columns: Columns, release: Release) -> Conversation:
        pictures: list[Image] = []
        for column in columns.found.get("image", ()):
            pictures += pictures_of(row, column, release, self.images)
        if columns["messages"] and not row.blank(columns["messages"]):
            column = columns["messages"]
            show = partial(picture_of, row, column, release=release, folder=self.images)
            conversation = conversation_in(row, column, pictures, lambda cell: show(cell=cell))
        else:
            conversation = Conversation.user(*pictures, self._text(row, columns))
        system = row.text(columns["system"], default="") if columns["system"] else ""
        return conversation.with_system(system) if system.strip() else conversation

    def _text(self, row: OwnRow, columns: Columns) -> str:
        """What a row asks."""
        if columns["text"] and not (self.prompt and row.blank(columns["text"])):
            return row.text(columns["text"])
        if self.prompt:
            return self.prompt
        found = ", ".join(map(str, row.fields)) or "nothing"
        sheet = row.unit == "line" and not row.file.casefold().endswith(JSON_LINES)
        head = " (a table's first line are the names of its columns)" if sheet else ""
        raise row.problem(
            f"no column with what is asked; found {found[:300]}{head}. Name it by `columns: {{text: "
            f"{likely_text(row)}}}`, or ask the same with each picture by `prompt: TEXT`"
        )


def _named(row: Row, names: Mapping[str, Sequence[str]]) -> Row:
    """The row with the names of its class labels, which are numbers in the file."""
    cells = {column: row.fields.get(column) for column in names}
    said = {
        column: names[column][number]
        for column, number in cells.items()
        if isinstance(number, int) and 0 <= number < len(names[column])
    }
    return Row(row.file, row.unit, row.number, {**row.fields, **said}, key=row.key, fault=row.fault)


def _filled(cell: object) -> bool:
    return not isinstance(cell, str) or bool(cell.strip())


def _rows_under(release: Release, file: str) -> str:
    """The only key of a JSON mapping that holds a list of mappings, such as `data`; '' for other files."""
    if not file.casefold().endswith(".json"):
        return ""
    try:
        value = release.json(file)
    except UsageError:
        return ""  # its rows tell what is wrong, or are in another encoding
    if not isinstance(value, dict):
        return ""
    lists = [key for key, each in value.items() if isinstance(each, list) and each]
    lists = [key for key in lists if isinstance(value[key][0], dict)]
    mappings = all(isinstance(each, dict) for each in value.values())
    return lists[0] if len(lists) == 1 and not mappings else ""
