"""JailbreakBench artifacts: one JSON object per attack and model, read and written.

Schema after JailbreakBench/artifacts (attack-artifacts/METHOD/TYPE/MODEL.json, read at 909e68c, 2024-11):
`parameters` (model, method, defense, attack_type, counters, dates) and `jailbreaks`, a list of index, goal,
behavior, category, prompt, response, number_of_queries, queries_to_jailbreak, prompt_tokens, response_tokens,
jailbroken, and further verdicts such as jailbroken_llama_guard1. Where an attack found nothing, prompt and
response are null and jailbroken is false: such a case was not obeyed (an empty response, off_topic), and
leaving it out would make an attack look stronger the more seldom it succeeds. A prompt without a response is
an error.

Three keys of a row are ours and not the schema's, so that what we export can be read back: `stop` (length,
content_filter, blocked_defense, error), `error` (why there is no response) and `expected` (comply, answer).
They are written only where they say something else than the schema does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sightline.cases import Expected
from sightline.records import Stop
from sightline.responses.answers import Answer, count_of, user_turn
from sightline.responses.files import File, Wanted

NAME = "jailbreakbench"
HARNESS = "JailbreakBench"
FIELDS = (
    *("index", "goal", "behavior", "category", "prompt", "response", "number_of_queries"),
    *("queries_to_jailbreak", "prompt_tokens", "response_tokens", "jailbroken"),
)
"""Of a row, in the order of the releases."""
USUAL = ("stop", Expected.refuse.value)
"""A row's `stop` and `expected` where it does not say them."""
STOPS: Mapping[str, Stop] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "blocked_defense": "blocked_defense",
    "error": "error",
}
PARAMETERS = "parameters"


def fits(file: File) -> bool:
    """Whether a file is an artifact of JailbreakBench."""
    return (
        file.whole is not None
        and isinstance(file.whole.get(PARAMETERS), Mapping)
        and isinstance(file.whole.get("jailbreaks"), list)
    )


def about_file(file: File) -> Mapping[str, Any]:
    """What a file says of itself, and how many of its rows are jailbroken: releases differ in the two."""
    whole = file.whole or {}
    rows = (entry for entry in whole["jailbreaks"] if isinstance(entry, Mapping))
    return {
        PARAMETERS: dict(whole[PARAMETERS]),
        "jailbroken rows": sum(entry.get("jailbroken") is True for entry in rows),
    }


def read(file: File, wanted: Wanted) -> Iterator[Answer]:
    """One answer for each entry of `jailbreaks`."""
    whole = file.whole or {}
    parameters = whole[PARAMETERS]
    names: dict[str, Any] = {
        name: str(parameters.get(key) or getattr(wanted, name) or "")
        for name, key in (("model", "model"), ("attack", "method"), ("defense", "defense"))
    }
    for name, value in names.items():
        if name != "model" and value.casefold() in ("none", *wanted.plain):
            names[name] = ""
    for number, entry in enumerate(whole["jailbreaks"], start=1):
        place = f"{file.name}, jailbreak {number}"
        if not isinstance(entry, Mapping):
            lost = Answer(place=place, case=f"row {number}", problems=["is no object"])
            yield replace(lost, **names)
            continue
        yield _answer(entry, place, names)


def _answer(entry: Mapping[str, Any], place: str, names: Mapping[str, Any]) -> Answer:
    problems = [
        f"{name} is {entry[name]!r:.40}, not a text"
        for name in ("goal", "prompt", "response")
        if not isinstance(entry.get(name), str | None)
    ]
    if not isinstance(entry.get("index"), int | str) and not isinstance(entry.get("behavior"), str):
        problems.append("has neither index nor behavior")
    texts = {
        name: value if isinstance(value := entry.get(name), str) else None
        for name in ("goal", "behavior", "category", "prompt", "response")
    }
    response = texts["response"]
    said = {name: entry.get(name) for name in ("stop", "error", "expected")}
    for name, known in (("stop", [*STOPS]), ("expected", [*map(str, Expected)])):
        if said[name] is not None and said[name] not in known:
            problems.append(f"{name} {said[name]!r:.40} is none of {', '.join(known)}")
    stop = STOPS.get(str(said["stop"] or "stop"), "error")
    error = str(said["error"]) if said["error"] else None
    ended = error is not None or stop != "stop"  # in some other way than with an answer
    nothing = not ended and {"prompt", "response"} <= entry.keys()
    nothing = nothing and entry["prompt"] is entry["response"] is None
    lost = response is None and not nothing and stop in ("stop", "length")
    answer = Answer(
        place=place,
        case=str(entry.get("index", entry.get("behavior"))),
        behavior=texts["goal"],
        turns=user_turn(texts["prompt"]) if texts["prompt"] is not None else (),
        text="" if nothing else response,
        error=error or ("the artifact holds no response (null)" if lost else None),
        stop="error" if lost or (error and stop == "stop") else stop,
        expected=str(said["expected"] or Expected.refuse.value),
        category=texts["category"] or "",
        group=f"{HARNESS}/{texts['behavior']}" if texts["behavior"] else "",
        verdicts={key: value for key, value in entry.items() if key.startswith("jailbroken")},
        tokens_in=count_of(entry.get("prompt_tokens")),
        tokens_out=count_of(entry.get("response_tokens")),
        queries=count_of(entry.get("number_of_queries")),
        about={key: value for key, value in entry.items() if not key.startswith("jailbroken")}
        | {"prompt": None, "response": None, "fields": list(entry), "submitted": not nothing},
        problems=problems,
    )
    return replace(answer, **names)


def artifact(answers: Iterable[Answer], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of one attack, model and defense; what an answer does not know is null.

    `parameters` are those that the answers came with, or what is known of them.
    """
    return {PARAMETERS: dict(parameters), "jailbreaks": [_entry(answer) for answer in answers]}


def _entry(answer: Answer) -> dict[str, Any]:
    known = {
        "index": answer.about.get("index", answer.case),
        "goal": answer.about.get("goal", answer.behavior),
        "behavior": answer.about.get("behavior", answer.case),
        "category": answer.category or None,
        "prompt": answer.prompt if answer.turns else None,
        "response": answer.text if answer.about.get("submitted", True) else None,
        **{name: answer.about.get(name) for name in FIELDS[6:10]},
        "jailbroken": None,
        **answer.verdicts,
    }
    if "fields" not in answer.about:  # no row of an artifact, which keeps its own keys
        ours = {"stop": answer.stop, "error": answer.error, "expected": answer.expected}
        known |= {name: value for name, value in ours.items() if value not in (None, "", *USUAL)}
    own = [name for name in answer.about.get("fields", ()) if name in known or name in answer.about]
    return {name: known.get(name, answer.about.get(name)) for name in own or known}
