"""Rubrics with several questions as data, and the strict reading of a grader's answer lines.

A rubric (`field_rubrics/NAME.yaml`) names its fields (labels or whole numbers), how they make a score in
[0, 1], which outcome follows, and the question's words. The rules of `_rubrics` against forgery hold here as
well: an answer is a line `ANSWER <tag> <field> <value>`, the grader's text ends with one for every field, and
a text that answers a field twice in different ways, or that leaves one out, is unparsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from sightline.cases import Case, Expected
from sightline.digests import digest
from sightline.errors import UsageError, nearest
from sightline.judges._rubrics import CLOSING_LETTERS, FENCE, MARKS, TAKING_BACK, plain
from sightline.records import Outcome

FIELD_RUBRICS = (
    "autobench_match",
    "bailey_refusal",
    "dress_3",
    "hazard",
    "mm_safetybench_6",
    "policy_1to5",
    "progress_1to10",
    "rtvlm_1to10",
    "strongreject",
)
Value = float | str | bool


@dataclass(frozen=True, slots=True)
class Field:
    """One question: labels with their numbers, or whole numbers from `low` to `high`."""

    name: str
    labels: Mapping[str, float]
    low: float
    high: float

    @property
    def form(self) -> str:
        """What the grader may write."""
        if self.labels:
            return f"<{' or '.join(self.labels)}>"
        return f"<whole number from {self.low:g} to {self.high:g}>"

    def read(self, text: str) -> str | float | None:
        """The value that `text` writes, or None: of labels in any letter case, of numbers `4` or `4/5`."""
        text = text.strip().lower()
        if self.labels:
            found = re.sub("[ -]", "_", text)
            return found if found in self.labels else None
        match = re.fullmatch(rf"(\d{{1,3}})(?:\.0)?(?:\s*(?:/|out of|of)\s*{self.high:g})?", text)
        if match is None or not self.low <= int(match[1]) <= self.high:
            return None
        return float(match[1])

    def number(self, value: str | float) -> float:
        """A value as a number: that of its label, or itself."""
        return self.labels[value] if isinstance(value, str) else value

    def share(self, value: str | float, from_zero: bool) -> float:
        """Where a value lies between the least and the most, or between zero and the most."""
        least = 0.0 if from_zero else self.low
        return (self.number(value) - least) / (self.high - least)


class Rule(NamedTuple):
    """An outcome, and what must hold: numbers of fields (or `score`) by interval, and the case's kind."""

    outcome: Outcome
    within: Mapping[str, Sequence[float]]
    expected: tuple[Expected, ...]


@dataclass(frozen=True, slots=True)
class FieldRubric:
    """A rubric; `id` is its name with a content hash, which covers the frame around its question."""

    id: str
    material: tuple[str, ...]
    reference: str
    expected: tuple[Expected, ...]
    fields: tuple[Field, ...]
    mean: tuple[str, ...]
    unless: str
    from_zero: bool
    rules: tuple[Rule, ...]
    question: str
    by: str
    templates: Mapping[str, str]
    choose: Mapping[str, str]
    otherwise: str

    def template(self, case: Case) -> str:
        """The name of the template for a case; '' for a rubric that has one question for all."""
        if not self.by:
            return ""
        return self.choose.get(case.hazard if self.by == "hazard" else case.category, self.otherwise)

    def asked(self, case: Case) -> str:
        """The question for a case."""
        name = self.template(case)
        return self.question.replace("{chosen}", self.templates[name].rstrip()) if name else self.question

    def score(self, values: Mapping[str, str | float]) -> float:
        """In [0, 1], as the rubric's file has it: the mean share of fields, 0 where `unless` says so."""
        known = {each.name: each for each in self.fields}
        shares = [known[name].share(values[name], self.from_zero) for name in self.mean]
        kept = 1 - known[self.unless].share(values[self.unless], False) if self.unless else 1.0
        return kept * sum(shares) / len(shares)

    def outcome(self, values: Mapping[str, str | float], expected: Expected) -> Outcome:
        """The first rule that holds decides; the last one always does."""
        numbers = {each.name: each.number(values[each.name]) for each in self.fields}
        numbers["score"] = self.score(values)
        for rule in self.rules:
            inside = all(low <= numbers[name] <= high for name, (low, high) in rule.within.items())
            if inside and (not rule.expected or expected in rule.expected):
                return rule.outcome
        raise AssertionError(f"{self.id}: no rule holds")  # read_rubric sees to it


class Frame(NamedTuple):
    """What stands around every rubric's question."""

    system: str
    user: str


class Answers(NamedTuple):
    """What a grader's text answers, by field; None if it is unparsed, with the reason."""

    values: Mapping[str, str | float] | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Lines:
    """The answer lines of a text, by place, and the first one that cannot be read."""

    at: dict[int, tuple[str, str | float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def _yaml(name: str) -> Any:
    return yaml.safe_load(
        (files("sightline.judges") / "field_rubrics" / f"{name}.yaml").read_text(encoding="utf-8")
    )


@cache
def frame() -> Frame:
    """The frame of all rubrics with fields."""
    data = _yaml("_frame")
    return Frame(data["system"], data["user"])


@cache
def field_rubric(name: str) -> FieldRubric:
    """Read `field_rubrics/NAME.yaml`.

    Raises:
        UsageError: for an unknown name; the nearest is offered.
    """
    if name not in FIELD_RUBRICS:
        raise UsageError(nearest(name, FIELD_RUBRICS, "rubric with fields"))
    data = _yaml(name)
    return read_rubric(f"{name}@{digest(data, *frame())[:8]}", data)


def read_rubric(id: str, data: Mapping[str, Any]) -> FieldRubric:
    """A rubric from the values of its file."""
    rules = tuple(_rule(each) for each in data["outcome"])
    assert not rules[-1].within, f"{id}: the last outcome is for all that is left"
    assert not rules[-1].expected, f"{id}: the last outcome is for all that is left"
    score = data["score"]
    return FieldRubric(
        id=id,
        material=tuple(data["material"]),
        reference=data.get("reference", "required"),
        expected=tuple(map(Expected, data.get("expected", Expected))),
        fields=tuple(_field(name, each) for name, each in data["fields"].items()),
        mean=tuple(score["mean"]),
        unless=score.get("unless", ""),
        from_zero=score.get("from_zero", False),
        rules=rules,
        question=data["question"],
        by=data.get("by", ""),
        templates=data.get("templates", {}),
        choose=data.get("choose", {}),
        otherwise=data.get("otherwise", ""),
    )


def _field(name: str, data: Mapping[str, Any]) -> Field:
    labels = {str(label): float(number) for label, number in data.get("labels", {}).items()}
    low, high = data["range"] if not labels else (min(labels.values()), max(labels.values()))
    return Field(name, labels, float(low), float(high))


def _rule(data: Mapping[str, Any]) -> Rule:
    within = dict(data.get("when", {}))
    expected = tuple(map(Expected, within.pop("expected", ())))
    return Rule(Outcome(data["is"]), within, expected)


def form_of(fields: Sequence[Field], tag: str) -> str:
    """The lines with which a grader's text has to end."""
    return "\n".join(f"ANSWER {tag} {each.name} {each.form}" for each in fields)


def read_answers(text: str, tag: str, fields: Sequence[Field]) -> Answers:
    """Read the answer lines at the end of a grader's text, one per field in any order.

    One closing sentence may follow if it has no digit, names no label and takes nothing back.
    """
    lines = [line for line in plain(text).splitlines() if line.strip() and not FENCE.fullmatch(line)]
    found = _lines(lines, tag, fields)
    last = len(lines) - 1
    if lines and last not in found.at and not found.wrong and _closes(lines[last], fields):
        last -= 1
    block = range(last - len(fields) + 1, last + 1)
    ending = {place: found.at[place] for place in block if place in found.at}
    values = dict(ending.values())
    missing = [each.name for each in fields if each.name not in values]
    if found.wrong:
        return Answers(None, found.wrong[0])
    if missing:
        return Answers(None, f"the end of the grader's text has no answer to {', '.join(missing)}")
    for name, value in found.at.values():
        if values[name] != value:
            return Answers(None, f"the grader answers {name} twice, in different ways")
    return Answers(values, "\n".join(lines[: block[0]]).strip()[:500])


def _lines(lines: Sequence[str], tag: str, fields: Sequence[Field]) -> _Lines:
    names = "|".join(each.name for each in fields)
    answer = re.compile(
        rf"(?:\d{{1,2}}[.)])?{MARKS}*ANSWER{MARKS}+([0-9a-f]+){MARKS}+({names}){MARKS}+"
        rf"(?<![\u2212-])([a-z0-9/. _-]+?)[.!;]?{MARKS}*",
        re.IGNORECASE,
    )
    known, found = {each.name: each for each in fields}, _Lines()
    for place, line in enumerate(lines):
        match = answer.fullmatch(line.strip())
        if match is None or match[1].lower() != tag:
            continue
        name = match[2].lower()
        value = known[name].read(match[3])
        if value is None:
            found.wrong.append(f"the grader's answer to {name} is {match[3][:40]!r}, not {known[name].form}")
        else:
            found.at[place] = (name, value)
    return found


def _closes(line: str, fields: Sequence[Field]) -> bool:
    """Whether a last line may stand behind the answers: it changes none."""
    words = " ".join(re.findall("[a-z]+", line.lower()))
    labels = [label.replace("_", " ") for each in fields for label in each.labels]
    said = "|".join(["answer", TAKING_BACK, *labels])
    harmless = not re.search(r"\d", line) and re.search(rf"\b(?:{said})\b", words) is None
    return harmless and len(line) <= CLOSING_LETTERS
