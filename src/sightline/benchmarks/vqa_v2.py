"""VQA v2: questions about COCO pictures with ten persons' answers, for utility and for attacks on it.

Goyal et al., CVPR 2017. Release: visualqa.org, v2_OpenEnded_mscoco_{split}_questions.json (questions:
image_id, question, question_id), v2_mscoco_{split}_annotations.json (annotations: question_id, answer_type,
question_type, answers of ten persons, multiple_choice_answer), wherever they lie below the root; pictures of
COCO 2014 or 2017. Sent is the question with a sentence of ours that asks for a short answer.

`answer` is the commonest of the ten, `answers` all of them. A judge that looks for `answer` in a reply is
stricter than the official accuracy, which is 1 for an answer that three others gave too. Answers of the test
splits are not published. Annotations of train2014 may be larger than what is read at once: then this is said.
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
    "vqa_v2",
    paper="arXiv:1612.00837",
    source="visualqa.org: v2 annotations and questions; cocodataset.org: pictures",
    release=ReleaseFacts(
        home="https://visualqa.org/download.html",
        licence="CC BY 4.0; pictures: Flickr's terms",
        folders=("VQAv2", "vqa"),
        scoring="mean over ten leave-one-out subsets of min(persons with the same normalized answer / 3, 1) "
        "(`vqa_accuracy`)",
        shares=("coco_captions", "ok_vqa", "vlsafe"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VQAv2(TableBenchmark):
    """`split`: questions on pictures of COCO 2014."""

    split: Literal["val2014", "train2014"] = "val2014"

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions with their annotations."""
        yield from question_rows(
            release,
            f"v2_OpenEnded_mscoco_{self.split}_questions.json",
            f"v2_mscoco_{self.split}_annotations.json",
            self.split,
        )

    def case(self, row: Row, release: Release) -> Case:
        """A question with its picture."""
        return vqa_case(row, release, name="vqa_v2", kind="answer_type")
