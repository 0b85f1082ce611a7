"""Label Studio: tasks and a labelling configuration out, its JSON export in.

Tasks have no `predictions`: they would unblind. Of an export, per task, `annotations[*]`: `completed_by` (an
id, or an object with `id` or `email`), `lead_time` in seconds, `was_cancelled` (a skip), `created_at`, and
`result[*]` with `from_name`, `type` and `value`, as https://labelstud.io/guide/task_format has it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from sightline.annotation.events import Event
from sightline.annotation.exchange.incoming import Answer, instant
from sightline.annotation.exchange.outgoing import Outgoing, Sheet
from sightline.annotation.questions import Question
from sightline.errors import UsageError
from sightline.rows import Row, json_of, rows_of_json
from sightline.store import write_atomically

NOTE, CONFIDENCE = "note", "confidence"


def write_tasks(path: Path, sheet: Sheet) -> list[Path]:
    """`path` with the tasks, and beside it `NAME_config.xml` for the project's labelling interface."""
    tasks = []
    most = 1
    for each in sheet.items:
        most = max(most, len(each.pictures))
        tasks.append(_task(each, sheet.questions))
    for task in tasks:  # every task has all pictures that the configuration names
        task["data"] |= {name: task["data"].get(name, "") for name in _names(most)}
    config = path.with_name(f"{path.stem}_config.xml")
    write_atomically(path, json.dumps(tasks, ensure_ascii=False).encode())
    write_atomically(config, configuration(sheet.questions, most).encode())
    return [path, config]


def _names(most: int) -> list[str]:
    return ["image", *(f"image{number}" for number in range(2, most + 1))]


def _task(each: Outgoing, questions: Mapping[str, Question]) -> dict[str, Any]:
    pictures = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in each.pictures]
    data = {
        "item": each.item,
        "request": each.request,
        "behavior": each.behavior,
        "reply": each.reply,
        "guideline": each.guideline,
        **dict(zip(_names(len(pictures)), pictures, strict=False)),
    }
    said = [_annotation(event, questions) for event in each.answers if event.event != "escalate"]
    return {"data": data, **({"annotations": said} if said else {})}


def _annotation(event: Event, questions: Mapping[str, Question]) -> dict[str, Any]:
    def result(name: str, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        return {"from_name": name, "to_name": "reply", "type": kind, "value": value}

    results = [
        result(name, "choices", {"choices": [event.questions[name]]})
        for name in questions
        if name in event.questions
    ]
    if event.confidence:
        results.append(result(CONFIDENCE, "rating", {"rating": event.confidence}))
    if event.note:
        results.append(result(NOTE, "textarea", {"text": [event.note]}))
    return {
        "completed_by": event.rater,
        "was_cancelled": event.event == "skip",
        "lead_time": event.shown_ms / 1000,
        "created_at": event.at,
        "result": results,
    }


def configuration(questions: Mapping[str, Question], pictures: int = 1) -> str:
    """The labelling configuration: pictures and request, the reply, then every question with its keys."""
    lines = ["<View>", '  <Header value="What is asked"/>', '  <Text name="behavior" value="$behavior"/>']
    lines += [f'  <Image name="{name}" value="${name}"/>' for name in _names(pictures)]
    lines += ['  <Text name="request" value="$request"/>', '  <Header value="Reply"/>']
    lines += ['  <Text name="reply" value="$reply"/>']
    used: set[str] = set()
    for question in questions.values():
        lines.append(f"  <Header value={quoteattr(question.text)}/>")
        lines.append(f'  <Choices name={quoteattr(question.id)} toName="reply" choice="single">')
        for choice in question.choices:
            key = "" if choice.key in used or not choice.key else f" hotkey={quoteattr(choice.key)}"
            used.add(choice.key)
            lines.append(f"    <Choice value={quoteattr(choice.name)} hint={quoteattr(choice.text)}{key}/>")
        lines.append("  </Choices>")
    lines.append(f'  <Rating name="{CONFIDENCE}" toName="reply" maxRating="3"/>')
    lines.append(f'  <TextArea name="{NOTE}" toName="reply"/>')
    return "\n".join([*lines, "</View>", ""])


def read_answers(path: Path) -> Iterator[Answer]:
    """Answers of a JSON export, one per question of each annotation.

    Raises:
        UsageError: naming file, task and annotation, for what is no such export.
    """
    for task in rows_of_json(json_of(path.read_text(encoding="utf-8-sig"), str(path)), str(path)):
        data = task.row("data")
        item, guideline = data.text("item"), data.text("guideline", default="")
        for number, annotation in enumerate(task.rows("annotations"), start=1):
            where = f"{task.where}, annotation {number}"
            yield from _answers(annotation, where, item, guideline)


def _answers(row: Row, where: str, item: str, guideline: str) -> Iterator[Answer]:
    lead = row.value("lead_time", default=0) or 0
    if isinstance(lead, bool) or not isinstance(lead, int | float) or not 0 <= lead < 1e7:
        raise UsageError(f"{where}: lead_time {lead!r} is no number of seconds")
    results = list(row.rows("result")) if "result" in row.fields else []
    notes, rated, chosen = "", 0, []
    for result in results:
        name, kind, value = result.text("from_name"), result.text("type"), result.row("value").fields
        if kind == "choices":
            chosen.append((name, _single(value.get("choices"), where, name)))
        elif name == NOTE:
            notes = "\n".join(map(str, value.get("text", [])))
        elif name == CONFIDENCE:
            rated = _rating(value.get("rating"), where)
        else:
            raise UsageError(
                f"{where}: a result of type {kind!r} for {name!r}; choices are read, and note, confidence"
            )
    about: dict[str, Any] = {
        "where": where,
        "item": item,
        "rater": _who(row, where),
        "confidence": rated,
        "note": notes,
        "at": instant(row.text("created_at", default=""), where),
        "seconds": float(lead),
        "guideline": guideline,
    }
    if row.flag("was_cancelled", default=False):
        yield Answer(**about, kind="skip", question="", value="unclear")
        return
    if not chosen:
        raise UsageError(f"{where}: it has no choice; delete the annotation, or skip the task")
    for question, choice in chosen:
        yield Answer(**about, question=question, value=choice)


def _single(found: Any, where: str, name: str) -> str:
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], str):
        raise UsageError(f"{where}: {name} needs exactly one choice, found {str(found)[:80]}")
    return found[0]


def _rating(found: Any, where: str) -> int:
    if found not in (1, 2, 3):
        raise UsageError(f"{where}: confidence {str(found)[:40]} is none of 1, 2, 3")
    return int(found)


def _who(row: Row, where: str) -> str:
    found = row.value("completed_by")
    if isinstance(found, dict):
        found = found.get("email") or found.get("id")
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        raise UsageError(f"{where}: completed_by says no id and no e-mail address")
    return str(found)
