"""HarmBench: completions, results with labels, and test cases that no completion answers.

Schema after generate_completions.py and evaluate_completions.py of centerforaisafety/HarmBench as forks hold
them (Bob-cheng/HB_RedTeam, joycequu/llm-context): a completions file is {behavior id: [{test_case,
generation, ...}]}, a result file has `label` (1 = the behavior was exhibited) too, and test_cases.json is
{behavior id: [test case]}. A multimodal test case is [picture, text]; pictures lie in `images/` beside
test_cases.json.

The files name neither model nor method: the model is the file's name, the method the folder above
`completions`, `results` or `test_cases` (results/METHOD/EXPERIMENT/completions/MODEL.json), unless the study
says `model:` and `attack:`; a file in no such folder is of an unknown attack. DirectRequest is no attack.
The plain behavior stands in HarmBench's table of behaviors: name it by `behaviors:`, or judges read the
behavior's id. Several test cases of a behavior are its tries.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.responses.answers import Answer, Part, PlainTurn, user_turn
from sightline.responses.files import File, Wanted

NAME = "harmbench"
HARNESS = "HarmBench"
PLAIN = ("DirectRequest", "direct_request")
UNKNOWN_ATTACK = "unknown attack"
"""Of files in folders that name no method: DirectRequest or another, and not to be taken for either."""
STAGES = ("completions", "results", "test_cases")


def fits(file: File) -> bool:
    """Whether a file maps behavior ids to completions or to test cases."""
    whole = file.whole
    return bool(whole) and all(
        isinstance(each, list) and all(_is_completion(one) or _is_test_case(one) for one in each[:3])
        for each in (whole or {}).values()
    )


def _is_completion(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "generation" in entry


def _is_test_case(entry: Any) -> bool:
    return isinstance(entry, str) or (isinstance(entry, list) and len(entry) == 2)


def about_file(_: File) -> Mapping[str, Any]:
    """A file says nothing of itself."""
    return {}


def read(file: File, wanted: Wanted) -> Iterator[Answer]:
    """One answer for each completion; a test case without one has no response."""
    model, attack = _names(file, wanted)
    behaviors = _behaviors(wanted.behaviors) if wanted.behaviors else {}
    for behavior, entries in (file.whole or {}).items():
        known = behaviors.get(behavior, {})
        context = known.get("ContextString", "").strip()
        asked = "\n".join(part for part in (known.get("Behavior", "").strip(), context) if part)
        for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            place = f"{file.name}, {behavior}, entry {number + 1}"
            found = entry if isinstance(entry, Mapping) else {"test_case": entry}
            text, label = (
                found.get("generation"),
                {key: v for key, v in found.items() if key.endswith("label")},
            )
            problems = [f"generation is {text!r:.40}, not a text"] if not isinstance(text, str | None) else []
            turns, wrong = _turns(found.get("test_case"))
            yield Answer(
                place=place,
                case=behavior,
                behavior=asked or behavior,
                turns=turns,
                text=text if isinstance(text, str) else None,
                stop="stop" if isinstance(text, str) else "error",
                error=None if isinstance(text, str) else "the file holds no completion of this test case",
                model=model,
                attack=attack,
                defense=wanted.defense,
                expected=Expected.refuse.value,
                category=known.get("SemanticCategory", ""),
                attempt=number,
                verdicts=label,
                about={
                    **{key: v for key, v in found.items() if key not in ("generation", "test_case", *label)},
                    **{key: known[key] for key in ("FunctionalCategory", "Tags") if known.get(key)},
                },
                problems=[*problems, *wrong],
            )


def _turns(case: Any) -> tuple[tuple[PlainTurn, ...], list[str]]:
    if isinstance(case, str):
        return user_turn(case), []
    if isinstance(case, list) and len(case) == 2 and all(isinstance(each, str) for each in case):
        picture: Part = {"image": case[0]}
        return user_turn(picture, case[1]), []
    return (), [] if case is None else [f"test_case is {case!r:.40}, neither a text nor [picture, text]"]


def pictures_of(path: Path) -> Path | None:
    """The folder of a file's pictures, as the project lays them out; None where there is none."""
    above = path.parent.parent if path.parent.name in STAGES else path.parent
    folder = above / STAGES[2] / "images"
    return folder if folder.is_dir() else None


def _names(file: File, wanted: Wanted) -> tuple[str, str]:
    """Model and method of a file, from the study or the folders."""
    folders = [parent.name for parent in file.path.parents]
    at = next((number for number, name in enumerate(folders) if name in STAGES), None)
    method = folders[at + 2] if at is not None and len(folders) > at + 2 else ""
    is_case_file = file.path.stem.startswith("test_cases")
    attack = wanted.attack or method or UNKNOWN_ATTACK
    model = wanted.model or ("" if is_case_file else file.path.stem)
    return model, "" if attack in (*PLAIN, *wanted.plain) else attack


def _behaviors(name: str) -> dict[str, dict[str, str]]:
    """HarmBench's table of behaviors by id.

    Raises:
        UsageError: if it cannot be read or has no such columns.
    """
    path = Path(name)
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as broken:
        raise UsageError(f"behaviors: {path} cannot be read: {broken}") from None
    if not rows or not {"BehaviorID", "Behavior"} <= rows[0].keys():
        raise UsageError(f"behaviors: {path} has no columns BehaviorID and Behavior")
    return {row["BehaviorID"]: {key: value or "" for key, value in row.items() if key} for row in rows}
