"""CSV: UTF-8, RFC 4180, and no cell that a spreadsheet would take for a formula.

Out: `item,request,behavior,image,reply,guideline`. In: `item,rater,question,value,confidence,note,at`, one
line per answer, and `guideline` if the file has it. The questions `skip` (value: the reason) and `escalate`
stand for those events. A cell that begins with = + - @, a tab or a line break gets an apostrophe in front,
and so does one that begins with an apostrophe before such a sign: reading takes one away again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightline.annotation.events import Event
from sightline.annotation.exchange.incoming import Answer, instant
from sightline.annotation.exchange.outgoing import Sheet
from sightline.rows import Row, rows_of_csv
from sightline.store import write_atomically

OUT = ("item", "request", "behavior", "image", "reply", "guideline")
IN = ("item", "rater", "question", "value", "confidence", "note", "at", "guideline")
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_MARKED = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unsafe(cell: str) -> str:
    """Back from `safe`."""
    return cell[1:] if _MARKED.match(cell) else cell


def write_items(path: Path, sheet: Sheet) -> list[Path]:
    """Items as a table; pictures beside it in the folder `NAME_pictures`, whose files are named by item."""
    folder = path.with_name(f"{path.stem}_pictures")
    written: list[Path] = []

    def rows() -> Iterator[tuple[str, ...]]:
        for each in sheet.items:
            names = []
            for number, picture in enumerate(each.pictures, start=1):
                target = folder / f"{each.item}-{number}.png"
                write_atomically(target, picture)
                written.append(target)
                names.append(f"{folder.name}/{target.name}")
            yield each.item, each.request, each.behavior, " ".join(names), each.reply, each.guideline

    write_atomically(path, _table(OUT, rows()))
    return [path, *written]


def write_answers(path: Path, events: Iterable[Event]) -> list[Path]:
    """Answers as a table that can be read again."""
    write_atomically(path, _table(IN, (row for event in events for row in _answer_rows(event))))
    return [path]


def _answer_rows(event: Event) -> Iterator[tuple[str, ...]]:
    said = {"skip": event.reason} if event.event == "skip" else event.questions
    if event.event == "escalate":
        said = {"escalate": "yes"}
    confidence = str(event.confidence) if event.confidence else ""
    for question, value in said.items():
        yield (
            event.item, event.rater, question, value, confidence, event.note, event.at, event.guideline,
        )  # fmt: skip


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([[safe(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


def read_answers(path: Path) -> Iterator[Answer]:
    """Answers of a table, one per line.

    Raises:
        UsageError: naming file and line, for what is no such table.
    """
    for row in rows_of_csv(
        lambda: path.open("rb"), str(path), required=("item", "rater", "question", "value")
    ):
        yield _answer(row)


def _answer(row: Row) -> Answer:
    question, value = unsafe(row.word("question")), unsafe(row.text("value"))
    confidence = unsafe(row.text("confidence", default="0")).strip()
    if confidence not in ("0", "1", "2", "3"):
        raise row.problem(
            f"confidence {confidence[:40]!r} is none of 1, 2, 3; leave it empty if there is none"
        )
    return Answer(
        where=row.where,
        item=unsafe(row.text("item")),
        rater=unsafe(row.text("rater")),
        kind="skip" if question == "skip" else "escalate" if question == "escalate" else "answer",
        question="" if question in ("skip", "escalate") else question,
        value=value,
        confidence=int(confidence),
        note=unsafe(row.text("note", default="")),
        at=instant(unsafe(row.text("at", default="")), row.where),
        guideline=unsafe(row.text("guideline", default="")),
    )
