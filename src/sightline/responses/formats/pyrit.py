"""PyRIT: conversations exported from its memory, as JSON or CSV (one row per piece of a message).

Schema after Azure/PyRIT (pyrit/memory/memory_exporter.py and pyrit/models/message_piece.py, to_dict): role,
conversation_id, sequence, original_value, converted_value with their data types, prompt_target_identifier,
attack_identifier (orchestrator_identifier before), converter_identifiers, labels, response_error (none,
blocked, processing, empty, unknown), scores (score_value, score_type, scorer_class_identifier, objective).
Cells of the CSV export hold Python literals. The pieces of one sequence number are one message.

Every conversation is one answer: the last assistant message to all that came before it. What was sent is the
converted value. The case is the objective where a score names one, else the original value of the first user
message: what the user meant before converters. The attack is the attack's class with its converters, the
model `model_name` of the target's identifier, else its class: the export need not say which model answered.
Several conversations of one case are its tries.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sightline.digests import digest
from sightline.records import Stop
from sightline.responses.answers import ROLES, Answer, Part, PlainTurn
from sightline.responses.files import File, Placed, Wanted
from sightline.untrusted import whole

NAME = "pyrit"
HARNESS = "PyRIT"
STOPS: Mapping[str, Stop] = {"none": "stop", "empty": "stop", "blocked": "content_filter"}
PLAIN = ("PromptSendingAttack", "PromptSendingOrchestrator")
"""Send the prompt as it is; with converters they are an attack."""
_NAMES = ("__type__", "class_name", "__class__", "name")
_LITERALS = (
    *("labels", "prompt_metadata", "converter_identifiers", "prompt_target_identifier", "scores"),
    *("attack_identifier", "orchestrator_identifier", "scorer_identifier", "targeted_harm_categories"),
)


def fits(file: File) -> bool:
    """Whether a file holds pieces of PyRIT's messages."""
    return {"conversation_id", "role", "original_value", "converted_value"} <= file.keys


def about_file(_: File) -> Mapping[str, Any]:
    """A file says nothing of itself."""
    return {}


def read(file: File, wanted: Wanted) -> Iterator[Answer]:
    """One answer per conversation, in the order in which they begin."""
    conversations: dict[str, list[Placed]] = {}
    for place, row, fault in file.rows:
        if fault:
            yield Answer(place=place, case=place, problems=[fault])
            continue
        pieces = conversations.setdefault(str(row.get("conversation_id")), [])
        pieces.append(Placed(place, _unpacked(row) if file.is_text else row))
    tries: Counter[tuple[str | None, str, str]] = Counter()
    for name, pieces in conversations.items():
        answer = _answer(name, pieces, wanted)
        key = (answer.case, answer.model, answer.attack)
        yield replace(answer, attempt=tries[key])
        tries[key] += 1


def _unpacked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of the CSV export with its literals read; one that cannot be stays a text."""
    found = dict(row)
    for name in _LITERALS:
        text = found.get(name)
        if isinstance(text, str) and text.strip():
            try:
                found[name] = ast.literal_eval(text) if text.strip() != "None" else None
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                try:
                    found[name] = json.loads(text)
                except ValueError:
                    continue
    return found


def _messages(pieces: Sequence[Placed], problems: list[str]) -> list[list[Mapping[str, Any]]]:
    """The pieces of each message, in the order of the conversation."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for place, row, _ in pieces:
        sequence = str(row.get("sequence", ""))
        if not sequence.lstrip("-").isdecimal() or str(row.get("role")) not in ROLES:
            problems.append(f"{place}: sequence {sequence!r:.20}, role {row.get('role')!r:.20}")
            continue
        found.setdefault(int(sequence), []).append(row)
    return [found[number] for number in sorted(found)]


def _answer(name: str, pieces: Sequence[Placed], wanted: Wanted) -> Answer:
    problems: list[str] = []
    messages = _messages(pieces, problems)
    answered = bool(messages) and ROLES[messages[-1][0]["role"]] == "assistant"
    reply = messages[-1] if answered else []
    asked = messages[: len(messages) - answered]
    first = next((m for m in asked if ROLES[m[0]["role"]] == "user"), [])
    rows = [piece.row for piece in pieces]
    scores = [each for row in reply or rows for each in _mappings(row.get("scores"))]
    objective = next((str(s[k]) for s in scores for k in ("objective", "task") if s.get(k)), None)
    behavior = objective or "\n".join(_texts(first, "original_value")) or None
    text, stop, error = _reply(reply)
    attack = _attack(rows, wanted)
    return Answer(
        place=pieces[0].place,
        case=None if behavior is None else digest("pyrit", whole(behavior))[:16],
        behavior=behavior,
        turns=[_turn(message, problems) for message in asked],
        text=text,
        stop=stop,
        error=error,
        model=_identified(rows, "prompt_target_identifier", ("model_name", "deployment_name"))
        or wanted.model,
        attack=attack,
        defense=wanted.defense,
        category=_category(rows),
        verdicts={_name(s.get("scorer_class_identifier")) or "score": _value(s) for s in scores},
        about={
            "conversation_id": name,
            **{
                key: rows[0][key]
                for key in ("labels", "timestamp", "converter_identifiers")
                if rows[0].get(key)
            },
            "scores": [{key: s.get(key) for key in ("score_type", "score_value")} for s in scores],
        },
        problems=problems,
    )


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list; none of what is no list."""
    listed = value if isinstance(value, list | tuple) else ()
    return [each for each in listed if isinstance(each, Mapping)]


def _texts(message: Sequence[Mapping[str, Any]], value: str) -> list[str]:
    kind = f"{value}_data_type"
    return [str(piece[value]) for piece in message if piece.get(kind, "text") in ("text", "error")]


def _turn(message: Sequence[Mapping[str, Any]], problems: list[str]) -> PlainTurn:
    parts: list[Part] = []
    for piece in message:
        kind, value = piece.get("converted_value_data_type", "text"), str(piece.get("converted_value", ""))
        if kind == "image_path":
            parts.append({"image": value})
        elif kind in ("text", "url", "error"):
            parts.append(value)
        else:
            problems.append(f"a piece of kind {kind!r:.30}: texts and pictures can be read")
    return {"role": ROLES[message[0]["role"]], "parts": parts}


def _reply(reply: Sequence[Mapping[str, Any]]) -> tuple[str | None, Stop, str | None]:
    if not reply:
        return None, "error", "the conversation ends without a reply"
    failures = [str(piece.get("response_error") or "none") for piece in reply]
    failed = next((each for each in failures if each != "none"), "none")
    text = "\n".join(_texts(reply, "converted_value"))
    stop = STOPS.get(failed, "error")
    if stop == "error":
        return None, "error", f"response_error {failed}: {text}"[:2000]
    return ("" if failed == "empty" else text), stop, None


def _name(identifier: Any) -> str:
    if not isinstance(identifier, Mapping):
        return ""
    return next((str(identifier[key]) for key in _NAMES if identifier.get(key)), "")


def _identified(rows: Sequence[Mapping[str, Any]], field: str, keys: Sequence[str]) -> str:
    found = [row[field] for row in rows if isinstance(row.get(field), Mapping)]
    named = next((str(each[key]) for each in found for key in keys if each.get(key)), "")
    return named or next((name for each in found if (name := _name(each))), "")


def _attack(rows: Sequence[Mapping[str, Any]], wanted: Wanted) -> str:
    if wanted.attack:
        return wanted.attack
    name = _identified(rows, "attack_identifier", ()) or _identified(rows, "orchestrator_identifier", ())
    listed = (each for row in rows for each in _mappings(row.get("converter_identifiers")))
    converters = [each for each in dict.fromkeys(map(_name, listed)) if each]
    if name in (*PLAIN, *wanted.plain):
        name = ""
    return " + ".join(part for part in (name, *converters) if part)


def _category(rows: Sequence[Mapping[str, Any]]) -> str:
    for row in rows:
        found = row.get("targeted_harm_categories")
        if isinstance(found, Sequence) and found and not isinstance(found, str):
            return str(found[0])
    return ""


def _value(score: Mapping[str, Any]) -> Any:
    """A true_false score as a truth value; one on a scale as its text, which is no verdict by itself."""
    value = str(score.get("score_value"))
    if score.get("score_type") == "true_false" and value.casefold() in ("true", "false"):
        return value.casefold() == "true"
    return f"scale {value}"
