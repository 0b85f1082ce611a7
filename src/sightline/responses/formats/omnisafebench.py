"""OmniSafeBench-MM: responses, and evaluations with the judge's scores (JSON Lines or a JSON list).

Schema after jiaxiaojunQAQ/OmniSafeBench-MM (core/data_formats.py, pipeline/, models/base_model.py; read at
a4875c6, 2026-03). A response row is {test_case_id, model_response, model_name, metadata}, an evaluation row
{test_case_id, attack_method, original_prompt, jailbreak_prompt, image_path, model_response, model_name,
defense_method, judge_score, judge_reason, success, metadata}. test_case_id is not unique over attacks, so a
case is what was asked originally. The project leaves failed rows out: a combination that lacks a case gets an
error here. Its placeholder of a failed call is an error and not an answer, that of a rejected prompt is the
provider's filter, and `defense_blocked` is a block by the defense, whatever text stands in for the response.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sightline.digests import digest
from sightline.records import Stop
from sightline.responses.answers import Answer, Part, user_turn
from sightline.responses.files import File, Placed, Wanted
from sightline.untrusted import whole

NAME = "omnisafebench"
HARNESS = "OmniSafeBench-MM"
FAILED = "$ERROR$"
REJECTED = "[ERROR] Prompt detected as harmful content"
BLOCKED = "defense_blocked"
_ASKED = ("original_prompt", "jailbreak_prompt")


def fits(file: File) -> bool:
    """Whether a file holds the project's rows."""
    return {"test_case_id", "model_response", "metadata"} <= file.keys


def about_file(_: File) -> Mapping[str, Any]:
    """A file says nothing of itself."""
    return {}


def read(file: File, wanted: Wanted) -> Iterator[Answer]:
    """One answer per row."""
    return (_answer(placed, wanted) for placed in file.rows)


def _answer(placed: Placed, wanted: Wanted) -> Answer:
    place, row, fault = placed
    if fault:
        return Answer(place=place, case=place, problems=[fault])
    metadata = row.get("metadata")
    problems = [] if isinstance(metadata, Mapping | None) else ["metadata is no object"]
    known = {**(metadata if isinstance(metadata, Mapping) else {})}
    known |= {key: value for key, value in row.items() if value is not None and key != "metadata"}

    def text(name: str) -> str | None:
        value = known.get(name)
        if not isinstance(value, str | None):
            problems.append(f"{name} is {value!r:.40}, not a text")
            return None
        return value

    asked, attacked, response = text("original_prompt"), text("jailbreak_prompt"), text("model_response")
    picture = text("jailbreak_image_path") or text("image_path")
    stop, error = _end(response, known)
    parts: list[Part] = [{"image": picture}] if picture else []
    parts += [each for each in [attacked if attacked is not None else asked] if each is not None]
    original = str(known.get("original_image_path", ""))
    return Answer(
        place=place,
        case=_case(asked, original, row),
        behavior=asked,
        turns=user_turn(*parts) if parts else (),
        text=None if error is not None and stop == "error" else response,
        stop=stop,
        error=error,
        model=text("model_name") or wanted.model,
        attack=_named(text("attack_method") or wanted.attack, wanted),
        defense=_named(text("defense_method") or wanted.defense, wanted),
        category=text("main_category") or text("category") or "",
        verdicts={key: row[key] for key in ("success",) if key in row},
        about={
            **{key: row[key] for key in ("test_case_id", "judge_score", "judge_reason") if key in row},
            **{key: value for key, value in known.items() if key not in (*row, *_ASKED)},
        },
        problems=problems,
    )


def _case(asked: str | None, picture: str, row: Mapping[str, Any]) -> str:
    """The id of a case: test_case_id is not unique over attacks."""
    return (
        str(row["test_case_id"])
        if asked is None
        else digest("omnisafebench", whole(asked), whole(picture))[:16]
    )


def _named(name: str, wanted: Wanted) -> str:
    return "" if name.casefold() in ("none", "no_attack", *wanted.plain) else name


def _end(response: str | None, known: Mapping[str, Any]) -> tuple[Stop, str | None]:
    """How a response ended, and why there is none."""
    if known.get(BLOCKED) is True:
        return "blocked_defense", None
    if response is None:
        return "error", "the row has no response (null)"
    if response.strip() == FAILED:
        return "error", "the call failed ($ERROR$)"
    if response.strip().startswith(REJECTED):
        return "content_filter", None
    return "stop", None
