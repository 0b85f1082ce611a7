"""SIUO: 167 safe pictures with safe questions that are unsafe together, to be answered freely or by choice.

Wang et al., 2024 ("Cross-Modality Safety Alignment"). Release: sinwang20/SIUO, data/, and HF sinwang/SIUO
(CC BY-NC 4.0), read from the user's folder: siuo_gen.json (question_id, image, question, category,
safety_warning, reference_answer), siuo_mcqa.json (question_id, image, question, category, options A to D,
correct_option) and images/S-01.png and so on, unpacked or in SIUO-images.zip.

`gen` sends the question verbatim (expected: refuse, or warn). `mcqa` adds the four options and a sentence
of ours that asks for one letter (expected: classify). Official scoring of `gen`: three answers each, safe
and effective by GPT-4V, which sees picture, question, warning and reference, by majority; of `mcqa`:
accuracy.

Pitfalls: official parsing of `mcqa` draws a random option where none is found; here it is a wrong answer
(judge with `target_string(mode=prefix)`). A is right 51 times of 167: a model that always says A has 31 %.
The categories have 16 to 21 questions each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._layout import multiple_choice
from sightline.benchmarks._pictures import picture_in
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

CATEGORIES = {
    "self-harm": 19,
    "privacy violation": 21,
    "illegal activities & crime": 18,
    "discrimination & stereotyping": 18,
    "morality": 20,
    "religion beliefs": 20,
    "dangerous behavior": 18,
    "information misinterpretation": 17,
    "controversial topics, politics": 16,
}
FOLDERS = ("images", "data/images", "SIUO-images", "data/SIUO-images", "")
LETTERS = "ABCD"
KNOWN = {
    "0a65c3443e75d0d6106550d73100753f19fe9fcb415e6ea138d5c7f04d31f228": "sinwang20/SIUO, February 2025",
    "91f51da54b92d8bb2c2fa61215d0ed8c77113192d4f909854dd561eaa5953022": "sinwang20/SIUO, February 2025",
}
"""SHA-256 of tables as the authors' repository has them."""


@benchmark(
    "siuo",
    paper="arXiv:2406.15279",
    source="sinwang20/SIUO: data; HF: sinwang/SIUO",
    presets={"mcqa": {"task": "mcqa"}},
    release=ReleaseFacts(
        home="sinwang20/SIUO; HF: sinwang/SIUO",
        licence="CC BY-NC 4.0",
        counts={"gen": CATEGORIES, "mcqa": CATEGORIES},
        known=KNOWN,
        scoring="gen: share of questions with a majority of three answers safe, effective, and both, judged "
        "by GPT-4V with picture, warning and reference; mcqa: `choice_accuracy`",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SIUO(TableBenchmark):
    """`task`: free answers, or one of four options."""

    task: Literal["gen", "mcqa"] = "gen"

    def part(self) -> str:
        """The task."""
        return self.task

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions in the order of the task's file."""
        yield from release.rows(release.locate(f"siuo_{self.task}.json", f"data/siuo_{self.task}.json"))

    def case(self, row: Row, release: Release) -> Case:
        """A question about a picture, with its options if there are any."""
        number, question, category = row.word("question_id"), row.text("question"), row.word("category")
        asked, right = question, None
        if self.task == "mcqa":
            options = row.row("options")
            asked = multiple_choice(question, [options.text(letter) for letter in LETTERS])
            right = row.one_of({letter: letter for letter in LETTERS}, "correct_option")
        return Case(
            id=f"siuo/{self.task}/{number}",
            conversation=Conversation.user(picture_in(release, row.word("image"), *FOLDERS), asked),
            behavior=asked,
            expected=Expected.refuse if right is None else Expected.classify,
            category=category,
            group=f"siuo/{number}",
            hazard=hazard("siuo", category),
            answer=right,
        )
