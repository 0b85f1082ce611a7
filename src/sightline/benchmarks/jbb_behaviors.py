"""JBB-Behaviors: 100 harmful requests in ten categories, and a benign one on the same theme for each.

Chao et al., NeurIPS 2024. HF: JailbreakBench/JBB-Behaviors (MIT): data/harmful-behaviors.csv and
data/benign-behaviors.csv with the columns Index, Goal, Target, Behavior, Category, Source. Goals are sent
verbatim; attacks can aim at "{target}". The benign request with the same Index is the twin.

`labels(FOLDER)` reads data/judge-comparison.csv: 300 answers to jailbreak prompts, with the labels of three
people, their majority (1 = jailbroken), and four automatic judges. Its columns are read as others' readers
have them (goal, prompt, target_response, human1 to human3, human_majority; every other column is an automatic
judge). Answers to goals that are not among the 100 have case ids of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._labels import LabelledAnswer, LabelledBenchmark, by_majority, said_of
from sightline.benchmarks._layout import first_of
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.records import Outcome
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

CATEGORIES = (
    "Harassment/Discrimination",
    "Malware/Hacking",
    "Physical harm",
    "Economic harm",
    "Fraud/Deception",
    "Disinformation",
    "Sexual/Adult content",
    "Privacy",
    "Expert advice",
    "Government decision-making",
)
Half = Literal["harmful", "benign"]
OTHER: dict[str, Half] = {"harmful": "benign", "benign": "harmful"}
ANSWERS = "data/judge-comparison.csv"
TEXTS = frozenset(
    {"index", "goal", "prompt", "question", "target_response", "response", "behavior", "category"}
)
"""Columns of the table of answers, in small letters, that are no labels."""
YES = {"1": True, "0": False, "True": True, "False": False, "1.0": True, "0.0": False}


@benchmark(
    "jbb_behaviors",
    paper="arXiv:2404.01318",
    source="JailbreakBench/JBB-Behaviors: data",
    presets={"harmful": {"subset": "harmful"}, "benign": {"subset": "benign"}},
    release=ReleaseFacts(
        home="HF: JailbreakBench/JBB-Behaviors",
        licence="MIT",
        folders=("JBB-Behaviors",),
        counts={
            "all": dict.fromkeys(CATEGORIES, 20),
            "harmful": dict.fromkeys(CATEGORIES, 10),
            "benign": dict.fromkeys(CATEGORIES, 10),
        },
        counted="stated",
        scoring="share of answers that a Llama-3-70B judge calls jailbroken; benign requests refused",
        shares=("AdvBench", "HarmBench"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class JBBBehaviors(LabelledBenchmark):
    """`subset`: both halves, or one of them."""

    subset: Literal["all", "harmful", "benign"] = "all"

    def part(self) -> str:
        """The subset."""
        return self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The requests, harmful ones first."""
        for half in OTHER if self.subset == "all" else (self.subset,):
            table = first_of(release, f"data/{half}-behaviors.csv", f"{half}-behaviors.csv")
            for row in release.rows(table, columns=("Index", "Goal", "Target", "Category")):
                yield row.also(half=half)

    def case(self, row: Row, release: Release) -> Case:
        """A request, verbatim."""
        number, goal, half = row.integer("Index"), row.text("Goal"), row.word("half")
        category = row.word("Category")
        harmful = half == "harmful"
        target = row.text("Target", default="")
        return Case(
            id=f"jbb_behaviors/{half}/{number}",
            conversation=Conversation.user(goal),
            behavior=goal,
            expected=Expected.refuse if harmful else Expected.comply,
            category=category,
            group=f"jbb_behaviors/{number}",
            hazard=hazard("jbb_behaviors", category) if harmful else "benign",
            twin=f"jbb_behaviors/{OTHER[half]}/{number}" if self.subset == "all" else None,
            wordings={"target": target} if target else {},
        )

    def label_rows(self, release: Release) -> Iterator[Row]:
        """The answers of the judge comparison, each with the case of its goal."""
        goals: dict[str, int] = {}
        table = first_of(release, "data/harmful-behaviors.csv", "harmful-behaviors.csv")
        if release.exists(table):
            goals = {_plain(row.text("Goal")): row.integer("Index") for row in release.rows(table)}
        answers = ANSWERS if release.exists(ANSWERS) else ANSWERS.removeprefix("data/")
        for number, row in enumerate(release.rows(answers, columns=("goal",)), start=1):
            index = goals.get(_plain(str(row.value("goal", default="")))) if not row.fault else None
            yield row.also(**{_CASE: f"judge_comparison/{number}" if index is None else f"harmful/{index}"})

    def labelled(self, row: Row) -> LabelledAnswer:
        """An answer; what counts is the majority of the people."""
        names = [name for name in row.fields if name != _CASE and name.strip().casefold() not in TEXTS]
        people = [name for name in names if name.casefold().startswith("human")]
        majority = next((name for name in people if "majority" in name.casefold()), "")
        human = said_of(row, (name for name in people if name != majority))
        label = said_of(row, [majority] if majority else [])
        if not human and not label:
            raise row.problem("no label of a person: expected columns such as human1 and human_majority")
        harmful = by_majority(row, label or human, YES)
        case = f"jbb_behaviors/{row.word(_CASE)}"
        return LabelledAnswer(
            case_id=case,
            response=row.text("target_response", "response", default=""),
            label=label.get(majority) or ("1" if harmful else "0"),
            human=human,
            harmful=harmful,
            outcome=Outcome.complied if harmful else None,
            prompt=row.text("prompt", "question", default=""),
            judges=said_of(row, (name for name in names if name not in people)),
            expected=Expected.refuse if "/harmful/" in case else None,
            group=case,
            votes={by: YES[said] for by, said in human.items() if said in YES},
        )


_CASE = "(case)"
"""Column with which rows of answers carry the case that they belong to; no table has one of this name."""


def _plain(goal: str) -> str:
    """A goal as it is compared."""
    return " ".join(goal.split()).casefold()
