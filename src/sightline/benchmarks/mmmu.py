"""MMMU: college questions on pictures in thirty subjects, for utility beside safety; several pictures each.

Yue et al., CVPR 2024. Release: HF MMMU/MMMU (Apache-2.0): {Subject}/{dev,validation,test}-*.parquet with the
columns id, question, options (a Python list as text), image_1 to image_7, answer, question_type, subfield.
Mirrors that merge the subjects have data/{split}-*.parquet. Layout by the dataset cards and by the authors'
code (MMMU-Benchmark/MMMU: mmmu/utils/data_utils.py); the Parquet files themselves were not opened here.

A mark `<image N>` in the question or an option is where picture N is shown; a picture without a mark comes
first. Options are written as `(A) ...`, one a line, and `ask_for` ends the question with our request for a
letter or a short answer. `answer` is the official letter; of a short answer with several right forms, the
first. Judge with `target_string(mode=prefix)`, or `exact` for those who want no word beside the letter.
Answers of the test split are not published; it is not read. Of the 900 validation questions 847 are multiple
choice and 53 short, by the authors' mmmu/answer_dict_val.json (measured).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.errors import UsageError
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row

SUBJECTS = (
    "Accounting",
    "Agriculture",
    "Architecture_and_Engineering",
    "Art",
    "Art_Theory",
    "Basic_Medical_Science",
    "Biology",
    "Chemistry",
    "Clinical_Medicine",
    "Computer_Science",
    "Design",
    "Diagnostics_and_Laboratory_Medicine",
    "Economics",
    "Electronics",
    "Energy_and_Power",
    "Finance",
    "Geography",
    "History",
    "Literature",
    "Manage",
    "Marketing",
    "Materials",
    "Math",
    "Mechanical_Engineering",
    "Music",
    "Pharmacy",
    "Physics",
    "Psychology",
    "Public_Health",
    "Sociology",
)
PICTURES = 7
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BY_LETTER = "Answer with the letter of the right option only."
BRIEFLY = "Answer with one word or a short phrase only."
KINDS = {"multiple-choice": BY_LETTER, "open": BRIEFLY, "short-answer": BRIEFLY}
"""Types of questions, as the files and the authors' code spell them, and what they end with."""
_MARK = re.compile(r"<image (\d)>")
_ID = re.compile(r"(?:dev|validation|test)_(.+)_\d+")


@benchmark(
    "mmmu",
    paper="arXiv:2311.16502",
    source="HF MMMU/MMMU; MMMU-Benchmark/MMMU: mmmu/utils/data_utils.py",
    presets={"dev": {"split": "dev"}},
    release=ReleaseFacts(
        home="HF: MMMU/MMMU",
        licence="Apache-2.0",
        folders=("MMMU",),
        counts={"dev": dict.fromkeys(SUBJECTS, 5), "validation": dict.fromkeys(SUBJECTS, 30)},
        counted="stated",
        scoring="share of right answers, over all questions; a reply without a letter gets none "
        "(`choice_accuracy`)",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMMU(TableBenchmark):
    """`ask_for`: end the question with a request for a bare answer, or leave it as it is."""

    split: Literal["validation", "dev", "test"] = "validation"
    ask_for: Literal["bare answer", "nothing"] = "bare answer"

    def part(self) -> str:
        """The split."""
        return self.split

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions, subject by subject, or as a merged mirror has them."""
        places = ([*SUBJECTS], ["data"], [""])
        found = ([name for part in place for name in self._tables(release, part)] for place in places)
        tables = next(filter(None, found), None)
        if tables is None:
            name = f"{SUBJECTS[0]}/{self.split}-00000-of-00001.parquet"
            raise UsageError(
                f"{release.root}: no {self.split}-*.parquet found in the folders of the subjects, in data or "
                f"in itself; the official release has {name}"
            )
        for table in tables:
            yield from release.rows(table)

    def _tables(self, release: Release, folder: str) -> list[str]:
        return release.names(folder, f"{self.split}-*.parquet")

    def case(self, row: Row, release: Release) -> Case:
        """A question with its pictures where it names them."""
        name, ending = row.word("id"), row.one_of(KINDS, "question_type")
        found = _ID.fullmatch(name)
        if found is None:
            raise row.problem(f"'id' is {name[:40]!r}, not like validation_Math_1")
        lines = [row.text("question")]
        options = _options(row) if ending == BY_LETTER else []
        lines += [f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False)]
        asked = [*lines, ending] if self.ask_for == "bare answer" else lines
        parts = _with_pictures("\n".join(asked), row, release)
        return Case(
            id=f"mmmu/{name}",
            conversation=Conversation.user(*parts),
            behavior="\n".join(lines),
            expected=Expected.answer,
            category=found[1],
            group=f"mmmu/{name}",
            answer=_answer(row, options),
        )


def _with_pictures(text: str, row: Row, release: Release) -> Iterator[str | Image]:
    """The text in pieces, with the pictures between them."""
    places = [int(number) for number in _MARK.findall(text)]
    for number in range(1, PICTURES + 1):
        if number not in places and not row.blank(f"image_{number}"):
            yield _picture(number, row, release)
    for index, piece in enumerate(_MARK.split(text)):
        if index % 2:
            yield _picture(int(piece), row, release)
        elif piece.strip():
            yield piece


def _picture(number: int, row: Row, release: Release) -> Image:
    cell = row.value(f"image_{number}", default=None)
    if cell is None:
        raise row.problem(f"<image {number}> is named, but image_{number} is missing")
    return release.picture(cell, f"{row.where}, image_{number}")


def _options(row: Row) -> list[str]:
    """The options of a question: a list, or a Python list as text."""
    options = _listed(row.value("options"))
    if not options or len(options) > len(LETTERS):
        raise row.problem(f"'options' is {str(row.value('options'))[:60]!r}, not a list of texts")
    return options


def _answer(row: Row, options: list[str]) -> str | None:
    """The reference; None where it is not published, which the files write as '?'."""
    answer = row.value("answer")
    forms = _listed(answer) or [row.word("answer")]
    if forms[0] == "?":
        return None
    if options and forms[0] not in LETTERS[: len(options)]:
        raise row.problem(
            f"'answer' is {str(answer)[:40]!r}, not the letter of one of {len(options)} options"
        )
    return forms[0]


def _listed(value: Any) -> list[str]:
    """A list of texts, also as Python writes one; nothing if it is none."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return []
    return value
