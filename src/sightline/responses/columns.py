"""A generic table of responses: which column is what, and the answer that a row holds."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sightline.cases import Expected
from sightline.errors import UsageError, nearest
from sightline.records import Stop
from sightline.responses.answers import (
    STOPS,
    Answer,
    Part,
    PlainTurn,
    count_of,
    is_failure,
    turns_of,
    user_turn,
)
from sightline.responses.files import File, Placed, Wanted

UNSAFE = ("unsafe", "is_unsafe", "harmful", "is_harmful")
SAFE = ("safe", "is_safe", "benign", "harmless")
"""Columns that say by yes and no what is asked, as in tables of cases."""
GUESSES: Mapping[str, tuple[str, ...]] = {
    "prompt": (
        *("prompt", "jailbreak_prompt", "attacked_prompt", "test_case", "question", "text", "query"),
        *("instruction", "input"),
    ),
    "messages": ("messages", "conversation"),
    "response": (
        *("response", "model_response", "answer_text", "output", "completion", "generation", "model_output"),
        *("reply",),
    ),
    "model": ("model", "model_name", "target_model", "target"),
    "attack": ("attack", "attack_method", "attack_name"),
    "defense": ("defense", "defence", "defense_method", "defense_name"),
    "id": ("id", "case_id", "behavior_id", "behaviorid", "sample_id", "test_case_id"),
    "behavior": ("behavior", "behaviour", "goal", "objective", "original_prompt", "request"),
    "category": ("category", "semanticcategory", "semantic_category", "topic"),
    "hazard": ("hazard", "hazard_code"),
    "expected": ("expected", "label", *UNSAFE, *SAFE),
    "reference": ("reference", "reference_answer", "answer"),
    "images": ("images", "image", "image_path", "file_name"),
    "group": ("group", "group_id"),
    "twin": ("twin", "twin_id"),
    "attempt": ("attempt", "try", "epoch", "repeat", "sample_index"),
    "stop": ("stop", "stop_reason", "finish_reason"),
    "error": ("error", "exception"),
    "tokens_in": ("tokens_in", "prompt_tokens", "input_tokens"),
    "tokens_out": ("tokens_out", "response_tokens", "completion_tokens", "output_tokens"),
    "queries": ("queries", "number_of_queries"),
    "system": ("system", "system_prompt"),
}
"""Names of columns in any letter case, the surest first."""
VERDICT = re.compile(r"(is_)?jailbroken.*|verdict|judg(e)?ment|human(_label|_verdict)?|.*_verdict")
"""Columns that hold what another judge, or a human, said."""
EXPECTED: Mapping[str, Expected] = {
    **{each.value: each for each in Expected},
    **dict.fromkeys(("unsafe", "harmful", "restricted", "refusal"), Expected.refuse),
    **dict.fromkeys(("safe", "benign", "harmless", "compliance"), Expected.comply),
}
YES = frozenset({"1", "1.0", "true", "yes", "y", "t"})
NO = frozenset({"0", "0.0", "false", "no", "n", "f"})
NOTHING = frozenset({"", "nan", "none", "null", "<na>"})


def plain_name(column: str) -> str:
    """A column's name as it is compared."""
    return re.sub(r"[\s-]+", "_", column.strip().casefold())


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a file is what; `verdicts` are those of other judges.

    `yes` is what a yes in the column `expected` means, None where its name does not say.
    """

    names: Mapping[str, str]
    verdicts: Sequence[str] = ()
    is_text: bool = False
    wanted: Wanted = field(default_factory=lambda: Wanted(files=()))
    yes: Expected | None = None

    def cell(self, row: Mapping[str, Any], what: str) -> Any:
        """The value of a row; None for none (an absent column, null, NaN, an empty cell of a CSV file)."""
        name = self.names.get(what)
        if name is None or (value := row.get(name)) is None:
            return None
        if isinstance(value, float) and value != value:  # NaN, as table writers put it
            return None
        return None if isinstance(value, str) and what != "response" and not value.strip() else value


def columns_of(file: File, wanted: Wanted) -> Columns:
    """What the columns of a file are taken for.

    Raises:
        UsageError: for a column that the study names and the file lacks, or none that holds responses.
    """
    known = {plain_name(name): name for name in file.keys}
    names = {
        what: known[guess]
        for what, guesses in GUESSES.items()
        if (guess := next((each for each in guesses if each in known), None)) is not None
    }
    verdicts = [name for plain, name in known.items() if VERDICT.fullmatch(plain)]
    yes = _yes(names.get("expected", ""))
    for what, name in wanted.columns.items():
        if meant := _yes(what):  # `unsafe: flag`
            what = "expected"
        if what not in GUESSES and what != "verdict":
            raise UsageError(f"columns: {nearest(what, [*GUESSES, 'verdict'], 'meaning of a column')}")
        if name is None:
            names.pop(what, None)
            continue
        if name not in file.keys:
            raise UsageError(f"{file.name}: {nearest(name, file.keys, 'column')}")
        names = {key: value for key, value in names.items() if value != name}
        if what == "verdict":
            verdicts = [name, *(each for each in verdicts if each != name)]
        else:
            names[what] = name
            yes = (meant or _yes(name)) if what == "expected" else yes
    if "response" not in names and "reference" in names and "answer" not in wanted.columns:
        names["response"] = names.pop("reference")
    if "response" not in names:
        raise UsageError(
            f"{file.name}: no column of responses among {', '.join(sorted(file.keys)) or 'nothing'}; name it "
            "(columns: {response: NAME})"
            + ("; a table's first line are the names of its columns" if file.is_text else "")
        )
    taken = set(names.values())
    return Columns(names, [each for each in verdicts if each not in taken], file.is_text, wanted, yes)


def _yes(name: str) -> Expected | None:
    """What a yes in a column of that name means; None where the name does not say."""
    plain = plain_name(name)
    return Expected.refuse if plain in UNSAFE else Expected.comply if plain in SAFE else None


def answers_of(file: File, columns: Columns) -> Iterator[Answer]:
    """The rows of a file, one answer each, in order."""
    return (answer_of(placed, columns) for placed in file.rows)


def answer_of(placed: Placed, columns: Columns) -> Answer:
    """What a row says; what it says wrongly is among the answer's problems."""
    place, row, fault = placed
    if fault:
        return Answer(place=place, case=place, problems=[fault])
    problems: list[str] = []
    said = {what: _text(columns.cell(row, what)) for what in ("model", "attack", "defense", "id", "behavior")}
    said |= {what: _text(columns.cell(row, what)) for what in ("category", "hazard", "group", "twin")}
    text, stop, error = _response(row, columns, problems)
    attempt = columns.cell(row, "attempt")
    used = {*columns.names.values(), *columns.verdicts}
    wanted = columns.wanted
    return Answer(
        place=place,
        case=said["id"] or None,
        behavior=said["behavior"] or None,
        turns=_turns(row, columns, problems),
        text=text,
        model=said["model"] or wanted.model,
        attack=_none(said["attack"] or wanted.attack, wanted.plain),
        defense=_none(said["defense"] or wanted.defense),
        stop=stop,
        error=error,
        expected=_expected(columns.cell(row, "expected"), columns, problems),
        reference=_text(columns.cell(row, "reference")) or None,
        category=said["category"],
        hazard=said["hazard"],
        group=said["group"],
        twin=said["twin"] or None,
        attempt=_attempt(attempt, problems),
        verdicts={name: _plain_cell(row.get(name), columns) for name in columns.verdicts},
        tokens_in=_count(columns.cell(row, "tokens_in")),
        tokens_out=_count(columns.cell(row, "tokens_out")),
        queries=_count(columns.cell(row, "queries")),
        about={name: value for name, value in row.items() if name not in used and not _is_nothing(value)},
        problems=problems,
    )


def _is_nothing(value: Any) -> bool:
    return value is None or value == "" or value != value or isinstance(value, bytes)


def _plain_cell(value: Any, columns: Columns) -> Any:
    if columns.is_text and isinstance(value, str) and value.strip().casefold() in NOTHING:
        return None
    return None if isinstance(value, float) and value != value else value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _count(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return count_of(int(value) if isinstance(value, str) and value.strip().isdecimal() else value)


def _none(name: str, plain: Collection[str] = ()) -> str:
    """'' for the names that stand for no attack or defense."""
    nothing = {*NOTHING, "no_attack", "no attack", "plain", "no_defense", "no defense", "undefended", "no"}
    return "" if name.casefold() in nothing or name in plain else name


def _attempt(value: Any, problems: list[str]) -> int:
    number = _text(value) or "0"
    if not number.isdecimal() or int(number) >= 1000:
        problems.append(f"attempt {number!r:.40} is no number of a try, 0 to 999")
        return 0
    return int(number)


def _expected(value: Any, columns: Columns, problems: list[str]) -> str:
    said = _text(value).casefold()
    if not said:
        return ""
    name, labels = columns.names["expected"], columns.wanted.labels
    if said in labels:
        return labels[said]
    if said in EXPECTED:
        return EXPECTED[said].value
    if said in YES | NO:
        if columns.yes is not None:
            no = Expected.comply if columns.yes is Expected.refuse else Expected.refuse
            return (columns.yes if said in YES else no).value
        problems.append(
            f"{name} {said!r} does not say what a safe model does: safe or unsafe? Say it by "
            f"columns: {{unsafe: {name}}} or {{safe: {name}}} (1 is yes), or by "
            f"labels: {{{said}: refuse}}; if it is another judge's verdict, write columns: "
            f"{{verdict: {name}}}"
        )
        return ""
    problems.append(
        f"{name} {said!r:.40} does not say what a safe model does ({', '.join(Expected)}); "
        f"say what it means by labels: {{{said:.40}: refuse}}, or that it is no label by columns: "
        f"{{expected: null}}; if it is another judge's verdict, write columns: {{verdict: {name}}}"
    )
    return ""


def _response(
    row: Mapping[str, Any], columns: Columns, problems: list[str]
) -> tuple[str | None, Stop, str | None]:
    """The text, how it ended, and why there is none."""
    text, failure = columns.cell(row, "response"), _text(columns.cell(row, "error"))
    said = _text(columns.cell(row, "stop")).casefold()
    stop = STOPS.get(said or "stop")
    if stop is None:
        problems.append(f"{columns.names['stop']} {said!r:.40} is none of {', '.join(STOPS)}")
        stop = "error"
    if text is not None and not isinstance(text, str):
        problems.append(f"the response is {text!r:.40}, not a text")
        text = None
    if failure.casefold() in NOTHING:
        failure = ""
    if isinstance(text, str) and (text.strip() in columns.wanted.markers or is_failure(text)):
        return None, "error", failure or f"{text.strip()!r:.300} stands where the response should be"
    if stop == "error" or (failure and stop == "stop"):
        return text, "error", failure or "the row says that the request failed"
    return text, stop, failure or None


def _turns(row: Mapping[str, Any], columns: Columns, problems: list[str]) -> tuple[PlainTurn, ...]:
    messages = columns.cell(row, "messages")
    prompt = columns.cell(row, "prompt")
    if messages is not None:
        try:
            turns = turns_of(messages)
        except UsageError as wrong:
            problems.append(str(wrong))
            return ()
        answered = len(turns) > 1 and turns[-1]["role"] == "assistant"
        return turns[:-1] if answered else turns
    pictures = list(_pictures(columns.cell(row, "images"), problems))
    if prompt is not None and not isinstance(prompt, str):
        problems.append(f"the prompt is {prompt!r:.40}, not a text")
        prompt = None
    parts: list[Part] = [*pictures, *([prompt] if isinstance(prompt, str) else [])]
    if not parts:
        return ()
    system = _text(columns.cell(row, "system"))
    first: tuple[PlainTurn, ...] = ({"role": "system", "parts": [system]},) if system else ()
    return (*first, *user_turn(*parts))


def _pictures(value: Any, problems: list[str]) -> Iterator[Part]:
    import base64

    for each in value if isinstance(value, list | tuple) else [value]:
        if isinstance(each, Mapping):
            each = each.get("bytes") or each.get("path")
        if isinstance(each, bytes):
            yield {"data": base64.b64encode(each).decode()}
        elif isinstance(each, str) and each.strip():
            yield {"image": each.strip()}
        elif each is not None and each != "" and each == each:
            problems.append(f"a picture is {each!r:.40}, neither a path nor bytes")
