"""OK-VQA: questions about COCO pictures that need knowledge from outside, with ten answers each, for utility.

Marino et al., CVPR 2019. Release: okvqa.allenai.org, OpenEnded_mscoco_{split}_questions.json and
mscoco_{split}_annotations.json in the form of VQA (see `vqa_v2`), where each answer has also `raw_answer` and
the category is a word or number in question_type, which the file's own `question_types` names. Pictures of
COCO 2014 or 2017. val2014 is what papers call its test set. Sent is the question with our sentence that asks
for a short answer; `answer` is the commonest of the ten, `answers` all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._vqa import question_rows, vqa_case
from sightline.cards import ReleaseFacts
from sightline.cases import Case
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row


@benchmark(
    "ok_vqa",
    paper="arXiv:1906.00067",
    source="okvqa.allenai.org: annotations and questions; cocodataset.org: pictures",
    release=ReleaseFacts(
        home="https://okvqa.allenai.org/download.html",
        folders=("OKVQA", "OK-VQA"),
        scoring="mean over leave-one-out subsets of min(persons with the same normalized answer / 3, 1) "
        "(`vqa_accuracy`)",
        shares=("coco_captions", "vqa_v2", "vlsafe"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class OKVQA(TableBenchmark):
    """`split`: val2014 is the set that papers report."""

    split: Literal["val2014", "train2014"] = "val2014"

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions with their annotations."""
        yield from question_rows(
            release,
            f"OpenEnded_mscoco_{self.split}_questions.json",
            f"mscoco_{self.split}_annotations.json",
            self.split,
        )

    def case(self, row: Row, release: Release) -> Case:
        """A question with its picture."""
        return vqa_case(row, release, name="ok_vqa", kind="question_type")
