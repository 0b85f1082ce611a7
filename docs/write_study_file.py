"""Write docs/study_file.md from the schema in the code: `make docs-write`. The docs test compares it."""

from __future__ import annotations

import ast
import inspect
import re
import types
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sightline.gating.limits import Limits
from sightline.study import schema

HEAD = """# The study file

Made from the code by `make docs-write`; do not edit. Every key with its type, its default and what it says.
An unknown key is an error that names line and nearest key. `sightline init` writes a first file with
comments, `sightline run FILE --dry-run` checks one and asks no model; ready files lie in `studies/`.

```yaml
study: every-section                     # the smallest study has benchmarks, targets and judges
benchmarks: [{name: testbed_requests, limit: 6}]
targets: [testbed/linear]
attacks:
  - none
  - {name: figstep, preset: testbed}
  - {name: gcg, surrogate: testbed/linear, budget: {backwards: [20, 40]}, seeds: 2}
defenses: [none, {name: system_prompt, preset: testbed}]
judges: [testbed_policy, {name: refusal_prefix, phrases: testbed}]
decoding: {max_tokens: 40}
gate: {max_asr: 0.05, defense: system_prompt}
hypothesis: {primary: asr, contrast: [figstep, none], expect: greater, mde: 0.25}
quick: {limit: 2}
```

A bare name stands for `{name: NAME}`. In the tables, *needed* marks keys without a default.
"""
SECTIONS: Sequence[tuple[str, type[BaseModel], str]] = (
    ("The file", schema.StudyFile, ""),
    ("An entry of benchmarks", schema.BenchmarkEntry, "Further keys are settings of the benchmark."),
    (
        "An entry of train",
        schema.TrainEntry,
        "[Studies that train](training_studies.md).",
    ),
    (
        "An entry of attacks",
        schema.AttackEntry,
        "Further keys are settings of the attack ([columns of an attack](protocol.md)).",
    ),
    ("Budget of an attack", schema.BudgetEntry, "One key may hold a list: a column for each level."),
    (
        "An entry of defenses",
        schema.DefenseEntry,
        "Further keys are settings of the defense; a list is a stack.",
    ),
    ("An entry of judges, then or stack", schema.MethodEntry, "Further keys are settings of the method."),
    ("Decoding", schema.DecodingEntry, ""),
    ("Gate", Limits, "[Gate a release](gate.md)."),
    ("Hypothesis", schema.HypothesisEntry, "[Studies that train](training_studies.md)."),
    (
        "Responses",
        schema.ResponsesEntry,
        "A path or a list of paths stands for `{files: ...}` ([responses](responses.md)).",
    ),
)
ANCHORS = {model: re.sub(r"[^a-z ]", "", title.lower()).replace(" ", "-") for title, model, _ in SECTIONS}
PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path", Any: "any"}
BOUNDS = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))


def bounds(metadata: Sequence[Any]) -> str:
    """The range that a type's metadata set: ` at least 1, at most 100`."""
    flat = [each for one in metadata for each in (one.metadata if isinstance(one, FieldInfo) else [one])]
    said = [
        f"{word} {getattr(each, name):,}"
        for kind, name, word in BOUNDS
        for each in flat
        if isinstance(each, kind)
    ]
    return " " + ", ".join(said) if said else ""


def shown(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        return shown(inner) + bounds(metadata)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{'method' if kind is schema.MethodEntry else 'entry'}](#{ANCHORS[kind]})"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{each.value}`" for each in kind)
    arguments = [each for each in get_args(kind) if each not in (types.NoneType, ...)]
    match get_origin(kind):
        case None:
            return PLAIN[kind]
        case origin if origin is Literal:
            return ", ".join(f"`{each}`" for each in arguments if each)
        case origin if origin in (Union, types.UnionType):
            return alternatives([shown(each) for each in arguments])
        case origin if origin is dict:
            return "mapping" if arguments[1] is Any else f"mapping to {shown(arguments[1])}"
        case _ if len(arguments) > 1:
            return f"list of {len(arguments)}: {', '.join(map(shown, arguments))}"
        case _:
            return "list" if arguments[0] is Any else f"list of {shown(arguments[0])}"


def alternatives(kinds: Sequence[str]) -> str:
    """Several types: `X or list of X` is shorter as one."""
    if len(kinds) == 2 and kinds[1] == f"list of {kinds[0]}":
        return f"{kinds[0]}; one or a list"
    return " or ".join(kinds)


def default(field: FieldInfo) -> str:
    """The default as YAML would say it."""
    if field.is_required():
        return "*needed*"
    value = field.default
    if isinstance(value, list) and value:
        return "`[none]`"
    if (
        value is None
        or value == ""
        or (isinstance(value, tuple | list | dict | BaseModel) and not _given(value))
    ):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _given(value: Any) -> bool:
    """Whether a default says anything: an empty list or a section of defaults does not."""
    return bool(value) and not isinstance(value, BaseModel)


def told(model: type[BaseModel]) -> dict[str, str]:
    """What each key says: the docstrings below the fields, or the section `Attributes:` of the class."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, BaseModel) or cls is BaseModel:
            continue
        body = ast.parse(inspect.getsource(cls)).body[0].body
        for line, after in pairwise(body):
            if isinstance(line, ast.AnnAssign) and isinstance(after, ast.Expr):
                found[ast.unparse(line.target)] = str(ast.literal_eval(after.value))
        found |= dict(attributes(inspect.getdoc(cls) or ""))
    return found


def attributes(docstring: str) -> Iterator[tuple[str, str]]:
    """The entries of a docstring's section `Attributes:`."""
    _, _, section = docstring.partition("Attributes:\n")
    for names, text in re.findall(r"^    ([a-z_, ]+): (.*(?:\n        .*)*)", section, re.MULTILINE):
        for name in names.split(", "):
            yield name, " ".join(text.split()).rstrip(".")


def table(model: type[BaseModel]) -> list[str]:
    """A row for every key, in the order in which the schema has them."""
    says = told(model)
    lines = ["| key | type | default | what it says |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        kind = shown(field.annotation) + bounds(field.metadata)
        makers = {getattr(getattr(each, "func", None), "__name__", "") for each in field.metadata}
        if makers & {"_listed", "_several"}:
            kind = kind.replace("list of ", "", 1) + "; one or a list"
        lines.append(f"| `{name}` | {kind} | {default(field)} | {says[name]} |")
    return lines


def text() -> str:
    """The whole page."""
    lines = [HEAD]
    for title, model, note in SECTIONS:
        lines += [f"## {title}", "", *([note, ""] if note else []), *table(model), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("study_file.md").write_text(text(), encoding="utf-8")
