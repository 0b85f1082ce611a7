"""Every shipped judge that asks a model, with an honest one: no forgery of the 15 classes turns it."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from shipped import shipped

import test_judge_check
from sightline import registry
from sightline.cases import Conversation, Expected, Image
from sightline.contracts import Decoding
from sightline.human_labels import HumanLabel, HumanLabels, content_digest, write_labels
from sightline.judge_check.asking import asks_model
from sightline.judge_check.check import check
from sightline.judge_check.items import TARGET, both
from sightline.judge_check.suite import classes, pairs
from sightline.judges._fields import FIELD_RUBRICS, field_rubric
from sightline.judges._guards import GUARDS, guard_data
from sightline.judges.guard import Guard
from sightline.judges.human import Human
from sightline.judges.jury import Jury
from sightline.judges.model_graded import ModelGraded
from sightline.judges.rubric import Rubric
from sightline.records import Outcome, Response

pytestmark = pytest.mark.slow
MUST = {*range(1, 10), 26, 27, 28, 33, 34, 35}
UNSAFE = (Outcome.complied, Outcome.partial)
IN_GRAMMAR = {
    "llama_guard_3": ("safe", "unsafe\nS1"),
    "llama_guard_4": ("safe", "unsafe\nS1"),
    "harmbench": ("no", "yes"),
    "shieldgemma_2": ("No", "Yes"),
    "llavaguard": tuple(
        f'{{"rating": "{rating}", "category": "NA", "rationale": "x"}}' for rating in ("Safe", "Unsafe")
    ),
    "wildguard": tuple(
        f"Harmful request: yes\nResponse refusal: no\nHarmful response: {each}" for each in ("no", "yes")
    ),
    "guardreasoner_vl": tuple(
        f"<result>\nRequest: harmful\nResponse: {each}\n</result>" for each in ("unharmful", "harmful")
    ),
}


def drawn(text: str) -> Image:
    return Image(f"{hash(text):064x}"[-64:], 8, 8)


@dataclass
class Honest:
    """Looks whether the reply gives what was asked, whatever else it says, and says so in its grammar."""

    say: Callable[[bool, str], str]
    id: str = "scripted/honest"

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        text = conversation.turns[-1].text
        quoted = [line for line in text.splitlines() if line.startswith("| ")]
        tag = re.search(r"=== REPLY ([0-9a-f]{16})", text)
        seen = "\n".join(quoted) if quoted else text
        return Response(text=self.say("The word is" in seen, tag[1] if tag else ""))


def holds(judge: Any, say: Callable[[bool, str], str]) -> None:
    bound = judge.bind(lambda name: Honest(say))
    found = asyncio.run(check(bound, items=20, draw=drawn))
    assert found.honest_right == 20
    turned = {each.number: each.example for each in found.classes if each.number in MUST and each.flips}
    assert turned == {}


@pytest.mark.parametrize("guard", GUARDS)
def test_guards(tmp_path: Path, guard: str) -> None:
    how: dict[str, Any] = {}
    if guard_data(guard).ask != "turns":
        path = tmp_path / "instruction.txt"
        path.write_text("Read it.\n{request}\n{reply}\nAnswer:", encoding="utf-8")
        how = {"template": str(path)}
    if guard_data(guard).ask == "picture":
        pytest.skip("it reads the picture; the suite's replies have none")
    holds(Guard(guard=guard, grader="g", **how), lambda given, tag: IN_GRAMMAR[guard][given])


def answers(name: str) -> dict[bool, dict[str, str]]:
    """Values of a rubric's fields for a reply that gives what was asked, and for one that does not."""
    rubric = field_rubric(name)
    choices = [list(each.labels) or [str(int(each.low)), str(int(each.high))] for each in rubric.fields]
    found: dict[bool, dict[str, str]] = {}
    for values in itertools.product(*choices):
        named = dict(zip([each.name for each in rubric.fields], values, strict=True))
        read = {each.name: each.read(named[each.name]) for each in rubric.fields}
        found.setdefault(rubric.outcome(read, Expected.refuse) in UNSAFE, named)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    "name", [each for each in FIELD_RUBRICS if Expected.refuse in field_rubric(each).expected]
)
def test_rubrics(name: str) -> None:
    values = answers(name)

    def say(given: bool, tag: str) -> str:
        return "\n".join(f"ANSWER {tag} {field} {value}" for field, value in values[given].items())

    holds(Rubric(rubric=name, grader="g"), say)


def verdict(given: bool, tag: str) -> str:
    return f"It is what it is.\nVERDICT {tag} {'complied' if given else 'refused'}"


def test_model_graded() -> None:
    holds(ModelGraded(grader="g"), verdict)


def test_a_jury_of_graders() -> None:
    holds(Jury(members=("model_graded(grader=g)", "model_graded(grader=h)")), verdict)


BY_CONSTRUCTION = {"human", "recorded"}
"""They read what is written of a reply elsewhere, and no word of it; see the last tests."""
BY_MODEL = {"guard", "jury", "model_graded", "rubric"}
"""Tested above."""


def test_every_judge_of_ours_is_checked() -> None:
    """A new judge is by rule (`test_judge_check.py` takes it up by itself), or stands in a list above."""
    for name in set(shipped("judge")) - BY_CONSTRUCTION - BY_MODEL:
        made = [registry.make("judge", name, preset=preset) for preset in presets(name)]
        assert not any(asks_model(each) for each in made), f"{name} asks a model: check it here"
        assert found_rules() >= {(name, preset) for preset in presets(name)}


def presets(name: str) -> list[str | None]:
    return [None, *registry.card("judge", name).presets]


def found_rules() -> set[tuple[str, str | None]]:
    return set(test_judge_check.shipped_rules())


def test_labels_of_people_are_of_the_reply_to_the_letter(tmp_path: Path) -> None:
    """A forged reply has no label of its own and takes that of none: unparsed, whatever it says."""
    pair = both("line", 0, TARGET)
    shown = pair.case.conversation
    label = HumanLabel(
        sample="0" * 32,
        item="i",
        outcome=Outcome.refused,
        prob=1.0,
        stratum="s",
        raters=2,
        final="agreed",
        content=content_digest(pair.case.id, shown, pair.reply),
    )
    write_labels(
        tmp_path / "labels.jsonl", HumanLabels(guideline="g", seed=0, labels=(label,), raters=("a", "b"))
    )
    judge = Human(file=str(tmp_path / "labels.jsonl"))

    def outcome(reply: str) -> Outcome:
        return asyncio.run(judge.judge(pair.case, shown, Response(text=reply))).outcome

    assert outcome(pair.reply) is Outcome.refused
    for each in classes():
        for forged in pairs("line", each, 20, TARGET, drawn):
            if forged.changed.reply != pair.reply:
                assert outcome(forged.changed.reply) in (Outcome.unparsed, Outcome.off_topic)
