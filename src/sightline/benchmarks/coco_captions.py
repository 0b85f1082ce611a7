"""COCO captions: everyday scenes to describe, with five persons' captions, for utility and attacks.

Lin et al., ECCV 2014; Chen et al. 2015. Release: cocodataset.org, annotations/captions_{split}.json (images:
id and file_name; annotations: image_id and caption), pictures in {split}/. Sent is a sentence of ours that
asks for a description in one sentence. `answer` is the first caption, `answers` are all. Replies do not hold
a caption word by word: judge with a model that compares, or score CIDEr on `answers`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._coco import coco_number, coco_picture, coco_places
from sightline.benchmarks._vqa import faulty
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row, RowProblem

REQUEST = "Describe this picture in one sentence."


@benchmark(
    "coco_captions",
    paper="arXiv:1405.0312; arXiv:1504.00325",
    source="cocodataset.org: annotations/captions_val2017.json, val2017",
    release=ReleaseFacts(
        home="https://cocodataset.org/#download",
        licence="CC BY 4.0; pictures: Flickr's terms",
        folders=("coco", "COCO"),
        counts={"val2017": {"": 5000}, "train2017": {"": 118_287}, "val2014": {"": 40_504}},
        counted="from memory",
        scoring="CIDEr-D (`cider_d`) and BLEU-4 (`coco_bleu`) against all captions of a picture",
        shares=("vqa_v2", "ok_vqa", "vlsafe"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CocoCaptions(TableBenchmark):
    """`split`: which pictures; those of 2014 and 2017 are the same ones, divided otherwise."""

    split: Literal["val2017", "train2017", "val2014", "train2014"] = "val2017"

    def part(self) -> str:
        """The split."""
        return self.split

    def rows(self, release: Release) -> Iterator[Row]:
        """The pictures with their captions; a caption without a picture is a row that cannot be used."""
        places = coco_places(release, self.split)
        file = release.locate(f"annotations/captions_{self.split}.json")
        found: defaultdict[int, list[str]] = defaultdict(list)
        first: dict[int, Row] = {}
        for row in release.rows(file, under="annotations"):
            try:
                number, caption = coco_number(row, "image_id"), row.text("caption")
                found[number].append(caption)
                first.setdefault(number, row)
            except RowProblem as bad:
                yield faulty(row, bad)
        for row in release.rows(file, under="images"):
            try:
                yield row.also(_captions=found.pop(coco_number(row, "id"), []), _places=places)
            except RowProblem as bad:
                yield faulty(row, bad)
        for number in found:
            yield faulty(first[number], first[number].problem(f"there is no picture {number} in `images`"))

    def case(self, row: Row, release: Release) -> Case:
        """A picture to describe."""
        number, captions = coco_number(row, "id"), tuple(row.value("_captions"))
        if not captions:
            raise row.problem("no caption has this picture's number")
        return Case(
            id=f"coco_captions/{number}",
            conversation=Conversation.user(coco_picture(release, number, row.value("_places")), REQUEST),
            behavior=REQUEST,
            expected=Expected.answer,
            category="",
            group=f"coco/{number}",
            answer=captions[0],
            answers=captions if len(captions) > 1 else (),
        )
