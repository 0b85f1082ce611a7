"""Inspect logs (`.eval`, or its JSON form) as recorded responses, through Inspect's own log reader.

One answer per sample and epoch. The model is the log's; attack and defense are task arguments of these names,
as the logs have that Sightline writes. A case is the task with the sample's id: ids of two tasks are not the
same case. What was asked plainly is `behavior` or `goal` in the sample's metadata, else the last user text. A
sample that the log names and does not hold (a cancelled run) has no response; one that failed is an error.
Scores are kept as verdicts: those whose value is an outcome of ours, true or false can be compared with a
judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai.log import EvalLog, EvalSample, read_eval_log, read_eval_log_samples
from inspect_ai.model import ChatMessage, ChatMessageUser, ContentImage, ContentText

from sightline.bridge.outputs import to_response
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.responses.answers import ROLES, Answer, Part, PlainTurn, count_of
from sightline.responses.files import Wanted
from sightline.responses.table import Facts

HARNESS = "inspect_ai"
_BEHAVIOR = ("behavior", "goal", "objective")


class Log(NamedTuple):
    """A log: facts of it as a whole, what it says of itself, and its answers."""

    facts: Facts
    about: Mapping[str, Any]
    answers: Iterator[Answer]


def read_log(path: Path, name: str, wanted: Wanted) -> Log:
    """A log of Inspect; samples are read one at a time.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        header = read_eval_log(str(path), header_only=True)
    except Exception as broken:  # whatever a damaged archive or an unknown schema raises
        what = " ".join(f"{type(broken).__name__}: {broken}".split())[:300]
        raise UsageError(f"{name}: not a log that Inspect can read: {what}") from None
    spec = header.eval
    said = (spec.model_generate_config, header.plan.config)
    decoding = {key: v for each in said for key, v in each.model_dump(exclude_none=True).items()}
    kept: dict[str, Any] = {
        key: decoding[key] for key in ("max_tokens", "temperature", "top_p", "seed") if key in decoding
    }
    about = {
        **{key: str(getattr(spec, key)) for key in ("task", "task_version", "created", "model", "eval_id")},
        "status": header.status,
        "dataset": spec.dataset.name,
        "packages": dict(spec.packages),
    }
    version = spec.packages.get("inspect_ai", "")
    facts = Facts(format="inspect", harness=HARNESS, version=version, decoding=kept)
    return Log(facts, about, _answers(path, name, header, wanted))


def _answers(path: Path, name: str, log: EvalLog, wanted: Wanted) -> Iterator[Answer]:
    seen: set[tuple[str, int]] = set()
    try:
        for sample in read_eval_log_samples(str(path), all_samples_required=False, resolve_attachments=True):
            seen.add((str(sample.id), sample.epoch))
            yield _answer(sample, name, log, wanted)
    except (ValueError, OSError, KeyError, RuntimeError) as broken:
        raise UsageError(f"{name}: a sample cannot be read: {broken}") from None
    for number in log.eval.dataset.sample_ids or ():
        for epoch in range(1, (log.eval.config.epochs or 1) + 1):
            if (str(number), epoch) not in seen:
                yield Answer(
                    place=f"{name}, sample {number}, epoch {epoch}",
                    case=f"{log.eval.task}/{number}",
                    attempt=epoch - 1,
                    stop="error",
                    error=f"the log holds no such sample (status {log.status})",
                    **_names(log, wanted),
                )


def _names(log: EvalLog, wanted: Wanted) -> dict[str, Any]:
    """Model, attack and defense of a log."""
    arguments = log.eval.task_args
    said = {key: arguments.get(key) for key in ("attack", "defense")}
    names = {key: value if isinstance(value, str) else "" for key, value in said.items()}
    attack, defense = names["attack"] or wanted.attack, names["defense"] or wanted.defense
    return {
        "model": log.eval.model or wanted.model,
        "attack": "" if attack in ("none", *wanted.plain) else attack,
        "defense": "" if defense == "none" else defense,
    }


def _answer(sample: EvalSample, name: str, log: EvalLog, wanted: Wanted) -> Answer:
    response = to_response(sample.output)
    failure = sample.error.message if sample.error is not None else None
    facts = sample.metadata
    told: dict[str, Any] = {key: str(facts[key]) for key in ("category", "group", "hazard") if facts.get(key)}
    expected = str(facts.get("expected", ""))
    turns = _turns(sample)
    asked = next((str(facts[key]) for key in _BEHAVIOR if facts.get(key)), None)
    target = sample.target if isinstance(sample.target, str) else "; ".join(sample.target)
    usage = sample.output.usage
    return Answer(
        place=f"{name}, sample {sample.id}, epoch {sample.epoch}",
        case=f"{log.eval.task}/{sample.id}",
        behavior=asked or (_last_text(turns) or None),
        turns=turns,
        text=None if failure is not None or response.stop == "error" else response.text,
        stop="error" if failure is not None else response.stop,
        error=failure if failure is not None else response.error,
        expected=expected if expected in set(Expected) else "",
        reference=target or None,
        attempt=sample.epoch - 1,
        verdicts={key: score.value for key, score in (sample.scores or {}).items()},
        tokens_in=count_of(usage.input_tokens if usage else 0),
        tokens_out=count_of(usage.output_tokens if usage else 0),
        about={"sample": str(sample.id), "epoch": sample.epoch, "uuid": sample.uuid, "target": target},
        **told,
        **_names(log, wanted),
    )


def _turns(sample: EvalSample) -> Sequence[PlainTurn]:
    """What the model was shown before its last message; of a plain run, the sample's input."""
    messages: list[ChatMessage] = list(sample.messages)
    while messages and messages[-1].role == "assistant":
        messages.pop()
    if not messages:
        given = sample.input
        messages = [ChatMessageUser(content=given)] if isinstance(given, str) else list(given)
    return [_turn(message) for message in messages]


def _turn(message: ChatMessage) -> PlainTurn:
    role = ROLES.get(message.role, "user")
    marked: list[Part] = [] if message.role in ROLES else [f"[{message.role}]"]
    if isinstance(message.content, str):
        return {"role": role, "parts": [*marked, message.content]}
    for item in message.content:
        match item:
            case ContentText():
                marked.append(item.text)
            case ContentImage():
                marked.append({"image": item.image})
            case _:
                marked.append(f"[{item.type}]")
    return {"role": role, "parts": marked}


def _last_text(turns: Sequence[PlainTurn]) -> str:
    last = next((turn for turn in reversed(turns) if turn["role"] == "user"), None)
    return "\n".join(part for part in (last["parts"] if last else ()) if isinstance(part, str))
