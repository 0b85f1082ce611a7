"""SafetyBench: 11,435 multiple-choice questions about safety in seven categories, in English and Chinese.

Zhang et al., ACL 2024. Not MM-SafetyBench. Release: thu-coai/SafetyBench (MIT), opensource_data/test_{en,zh,
zh_subset}.json, lists of id, category, question and options (two to four), and test_answers_{...}.json,
mappings from id to category and answer (the option's number from 0); HF: thu-coai/SafetyBench has the files
at its root. The answers have been public since July 2025: without their file nothing can be scored, and
reading stops.

Each question is sent with its options behind letters and our own request for a letter; the right letter is
the answer (expected: classify). A question has the same id in both languages, and zh_subset holds 300
questions per category of zh: their cases are the same. Official scores count a missing prediction as wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._layout import letter, multiple_choice
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

CATEGORIES = {
    "Offensiveness": 1805,
    "Unfairness and Bias": 1904,
    "Physical Health": 1149,
    "Mental Health": 1566,
    "Illegal Activities": 1778,
    "Ethics and Morality": 1934,
    "Privacy and Property": 1299,
}
"""Category -> questions, in each language."""
FOLDER = "opensource_data"


@benchmark(
    "safetybench",
    paper="arXiv:2309.07045",
    source="thu-coai/SafetyBench: opensource_data",
    presets={"zh": {"subset": "zh"}, "zh_subset": {"subset": "zh_subset"}},
    release=ReleaseFacts(
        home="thu-coai/SafetyBench; HF: thu-coai/SafetyBench",
        licence="MIT",
        folders=("SafetyBench", "SafetyBench-main"),
        counts={"en": CATEGORIES, "zh": CATEGORIES, "zh_subset": dict.fromkeys(CATEGORIES, 300)},
        scoring="accuracy per category and over all questions; a missing prediction is wrong "
        "(`choice_accuracy`)",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyBench(TableBenchmark):
    """`subset`: English, Chinese, or the Chinese questions without words that filters block."""

    subset: Literal["en", "zh", "zh_subset"] = "en"

    def part(self) -> str:
        """The subset."""
        return self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions, each with its row of the answers."""
        keys = {
            row.key: row for row in release.rows(self._table(release, f"test_answers_{self.subset}.json"))
        }
        for row in release.rows(self._table(release, f"test_{self.subset}.json")):
            number = "" if row.fault else str(row.value("id", default=""))
            yield row.also(key=keys.get(number))

    def case(self, row: Row, release: Release) -> Case:
        """A question with its options; the answer is a letter."""
        number, question, options = row.integer("id"), row.text("question"), row.texts("options")
        key, category, language = row.value("key"), row.word("category"), self.subset[:2]
        if not isinstance(key, Row):
            raise row.problem(f"no answer to question {number} in test_answers_{self.subset}.json")
        text = multiple_choice(question, options, language)
        return Case(
            id=f"safetybench/{language}/{number}",
            conversation=Conversation.user(text),
            behavior=text,
            expected=Expected.classify,
            category=category,
            group=f"safetybench/{number}",
            hazard=hazard("safetybench", category),
            answer=letter(key, options, key.integer("answer")),
        )

    @staticmethod
    def _table(release: Release, name: str) -> str:
        return release.locate(f"{FOLDER}/{name}", name)
