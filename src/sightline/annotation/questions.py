"""What raters are asked: questions with their choices and keys, and how an answer becomes an outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from sightline import taxonomy
from sightline.digests import digest
from sightline.documents import read_text, read_yaml
from sightline.errors import UsageError, nearest
from sightline.records import Outcome
from sightline.store import write_atomically

QUESTIONS = "questions.yaml"
GUIDELINE = "guideline.md"
DEFAULT = ("outcome",)
HAZARDS = "hazards"
"""In place of choices: the codes of the common taxonomy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer: its name, its key ('' if it is searched for), its text, and its outcome ('': none)."""

    name: str
    key: str
    text: str
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question; `choices` in the order of the screen. `set` names others that are asked with it."""

    id: str
    text: str
    choices: tuple[Choice, ...]
    set: str = ""

    def choice(self, name: str) -> Choice:
        """The choice of a name.

        Raises:
            UsageError: for a name that is none of them.
        """
        found = {each.name: each for each in self.choices}
        if name not in found:
            raise UsageError(f"question {self.id}: {nearest(name, found, 'choice')}")
        return found[name]


def shipped() -> dict[str, Question]:
    """All questions that come with Sightline, by id."""
    text = (files("sightline.annotation") / "data" / QUESTIONS).read_text(encoding="utf-8")
    return _parsed(yaml.safe_load(text), QUESTIONS)


def chosen_questions(names: Sequence[str] = DEFAULT) -> dict[str, Question]:
    """Questions by name, or by the name of a set of them (`dress`, `natural_helpful`), in that order.

    Raises:
        UsageError: for an unknown name, or none.
    """
    known = shipped()
    found: dict[str, Question] = {}
    for name in names:
        asked = [each for each in known.values() if name in (each.id, each.set)]
        if not asked:
            raise UsageError(
                nearest(name, {*known, *(each.set for each in known.values())} - {""}, "question")
            )
        found |= {each.id: each for each in asked}
    if not found:
        raise UsageError("an annotation asks at least one question")
    return found


def write_questions(folder: Path, chosen: Sequence[str] = DEFAULT) -> str:
    """Copy chosen questions into an annotation folder; returns their digest.

    Raises:
        UsageError: for an unknown question, or none.
    """
    found = chosen_questions(chosen).values()
    plain = [_plain(each) for each in found]
    write_atomically(folder / QUESTIONS, yaml.safe_dump(plain, allow_unicode=True, sort_keys=False).encode())
    return questions_digest(found)


def read_questions(folder: Path) -> dict[str, Question]:
    """The questions of an annotation folder, by id, in order.

    Raises:
        UsageError: if there are none, or the file is no list of questions.
    """
    path = folder / QUESTIONS
    return _parsed(read_yaml(read_text(path), str(path)), str(path))


def questions_digest(questions: Any) -> str:
    """Digest of questions, in order."""
    return digest([_plain(each) for each in questions])


def outcome_of(answers: Mapping[str, str], questions: Mapping[str, Question]) -> Outcome | None:
    """The outcome that answers name: of the first question whose choice has one; None if none has."""
    for name, question in questions.items():
        if name in answers and (found := question.choice(answers[name]).outcome):
            return Outcome(found)
    return None


def raw_question(questions: Mapping[str, Question]) -> Question | None:
    """What is asked of a reply as it was before a guard changed it: the first question with outcomes."""
    return next((each for each in questions.values() if any(one.outcome for one in each.choices)), None)


def _plain(question: Question) -> dict[str, Any]:
    choices = [
        {"name": each.name, "key": each.key, "text": each.text}
        | ({"outcome": each.outcome} if each.outcome else {})
        for each in question.choices
    ]
    named = {"set": question.set} if question.set else {}
    return {"id": question.id, **named, "text": question.text, "choices": choices}


def _hazards() -> list[dict[str, str]]:
    """The codes of the common taxonomy as choices, which are searched for: they have no keys."""
    codes = (each for each in taxonomy.hazards().values() if not each.is_tag)
    return [{"name": each.code, "key": "", "text": each.name} for each in codes]


def _parsed(found: Any, where: str) -> dict[str, Question]:
    try:
        questions = [
            Question(
                id=str(each["id"]),
                text=str(each["text"]),
                set=str(each.get("set", "")),
                choices=tuple(
                    Choice(**{name: str(value) for name, value in one.items()})
                    for one in (_hazards() if each["choices"] == HAZARDS else each["choices"])
                ),
            )
            for each in found
        ]
    except (KeyError, TypeError, AttributeError) as broken:
        raise UsageError(f"{where}: a list of questions with id, text and choices ({broken})") from None
    for each in questions:
        keys, names = [one.key for one in each.choices if one.key], [one.name for one in each.choices]
        if len(set(keys)) < len(keys) or len(set(names)) < len(names) or not names:
            raise UsageError(f"{where}: question {each.id} needs choices of different names and keys")
        for one in each.choices:
            if one.outcome and one.outcome not in set(Outcome):
                raise UsageError(
                    f"{where}: question {each.id}: {nearest(one.outcome, list(Outcome), 'outcome')}"
                )
    return {each.id: each for each in questions}
