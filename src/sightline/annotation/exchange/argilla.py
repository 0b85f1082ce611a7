"""Argilla 2: records as `records.to_list` and `to_json` give them.

`{"id": ..., "fields": {...}, "metadata": {...}, "responses": {...}, "suggestions": {}}`. How `responses` nest
could not be checked against a running server: both forms are read, by question (`{"outcome": [{"value": ...,
"user_id": ...}]}`) and as a list (`[{"question_name": ..., "value": ..., "user_id": ...}]`, or one response
per user with `values`); anything else is refused with what was seen.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sightline.annotation.exchange.incoming import Answer, instant
from sightline.annotation.exchange.outgoing import Outgoing, Sheet
from sightline.errors import UsageError
from sightline.rows import Row, json_of, rows_of_json
from sightline.store import write_atomically

SKIPPED = "discarded"
LEFT = ("draft", "pending")
"""Answers that are not given yet."""


def write_records(path: Path, sheet: Sheet) -> list[Path]:
    """Records as a list in JSON."""
    records = [_record(each) for each in sheet.items]
    write_atomically(path, json.dumps(records, ensure_ascii=False).encode())
    return [path]


def _record(each: Outgoing) -> dict[str, Any]:
    fields: dict[str, Any] = {"request": each.request, "behavior": each.behavior, "reply": each.reply}
    for number, data in enumerate(each.pictures, start=1):
        name = "image" if number == 1 else f"image{number}"
        fields[name] = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    responses: dict[str, list[dict[str, Any]]] = {}
    for event in each.answers:
        if event.event == "answer":
            for question, value in event.questions.items():
                said = {
                    "value": value,
                    "user_id": event.rater,
                    "status": "submitted",
                    "inserted_at": event.at,
                }
                responses.setdefault(question, []).append(said)
    return {
        "id": each.item,
        "fields": fields,
        "metadata": {"guideline": each.guideline},
        "responses": responses,
        "suggestions": {},
    }


def read_answers(path: Path) -> Iterator[Answer]:
    """Answers of records, one per question and user; drafts are left out.

    Raises:
        UsageError: naming file and record, with what was seen.
    """
    found = json_of(path.read_text(encoding="utf-8-sig"), str(path))
    if isinstance(found, dict) and isinstance(found.get("records"), list):
        found = found["records"]
    for record in rows_of_json(found, str(path)):
        item = record.text("id")
        metadata = record.value("metadata", default=None) or {}
        guideline = str(metadata.get("guideline") or "") if isinstance(metadata, Mapping) else ""
        for question, said in _said(record):
            if said.get("status") not in LEFT:
                yield _answer(record.where, item, guideline, question, said)


def _said(record: Row) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Question and response of a record, in whichever form."""
    found = record.value("responses", default=None) or {}
    if isinstance(found, Mapping):
        for question, each in found.items():
            for one in each if isinstance(each, list) else [each]:
                yield str(question), _mapping(record, one)
    elif isinstance(found, list):
        for one in found:
            yield from _of_list(record, _mapping(record, one))
    else:
        raise record.problem(f"responses: expected a mapping or a list, found {str(found)[:80]}")


def _of_list(record: Row, one: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    about = {name: value for name, value in one.items() if name not in ("values", "value")}
    if isinstance(one.get("values"), Mapping):
        for question, value in one["values"].items():
            yield (
                str(question),
                {**about, "value": value.get("value") if isinstance(value, Mapping) else value},
            )
    elif one.get("status") == SKIPPED:
        yield "", one
    elif isinstance(one.get("question_name") or one.get("question"), str):
        yield str(one.get("question_name") or one.get("question")), one
    else:
        raise record.problem(f"a response without question_name or values: found {sorted(one)}")


def _mapping(record: Row, one: Any) -> Mapping[str, Any]:
    if not isinstance(one, Mapping):
        raise record.problem(f"a response is no mapping: found {str(one)[:80]}")
    return one


def _answer(where: str, item: str, guideline: str, question: str, said: Mapping[str, Any]) -> Answer:
    who, value = said.get("user_id"), said.get("value")
    if isinstance(who, bool) or not isinstance(who, int | str) or who == "":
        raise UsageError(f"{where}: the response to {question!r} has no user_id")
    at = instant(str(said.get("inserted_at") or ""), where)
    if said.get("status") == SKIPPED:
        return Answer(
            where=where, item=item, rater=str(who), kind="skip", question="", value="unclear", at=at,
            guideline=guideline,
        )  # fmt: skip
    if not isinstance(value, str):
        raise UsageError(f"{where}: the response to {question!r} is no choice, found {str(value)[:80]}")
    return Answer(
        where=where, item=item, rater=str(who), question=question, value=value, at=at, guideline=guideline
    )
