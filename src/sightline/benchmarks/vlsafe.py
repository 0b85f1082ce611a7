"""VLSafe: 1,110 harmful requests about harmless COCO pictures, which a safe model refuses.

Chen et al. 2023 (DRESS). Release: HF YangyiYY/LVLM_NLF, VLSafe/harmlessness_examine.jsonl (the test set:
image_id such as 000000051977.jpg, caption, query) and VLSafe/harmlessnss_alignment.jsonl (sic; for training,
also with a reference answer). Pictures are COCO's train2017 and not in it: put the file into the folder of
COCO, or the pictures beside it. No categories and no stated licence.

Official score: share of answers that DRESS's grader calls safe; later work uses ECSO's strict safe or unsafe.
Pitfall: many requests are harmful without their picture. Report `images='none'`, the text alone, beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._coco import coco_number, coco_picture, coco_places
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row

FILES = {
    "examine": "VLSafe/harmlessness_examine.jsonl",
    "alignment": "VLSafe/harmlessnss_alignment.jsonl",
}


@benchmark(
    "vlsafe",
    paper="arXiv:2311.10081",
    source="HF: YangyiYY/LVLM_NLF: VLSafe/harmlessness_examine.jsonl",
    presets={"text": {"images": "none"}},
    release=ReleaseFacts(
        home="HF: YangyiYY/LVLM_NLF; pictures: COCO train2017",
        folders=("LVLM_NLF",),
        counts={"examine": {"": 1110}},
        counted="stated",
        scoring="share of answers that a grader calls safe",
        shares=("coco_captions", "vqa_v2", "ok_vqa"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VLSafe(TableBenchmark):
    """`split`: the test set or the training set; `images`: with the COCO picture or the text alone."""

    split: Literal["examine", "alignment"] = "examine"
    images: Literal["coco", "none"] = "coco"

    def part(self) -> str:
        """The split."""
        return self.split

    def rows(self, release: Release) -> Iterator[Row]:
        """The requests."""
        places = coco_places(release, "train2017")
        for row in release.rows(release.locate(FILES[self.split])):
            yield row.also(_places=places)

    def case(self, row: Row, release: Release) -> Case:
        """A request with its picture."""
        number, query = coco_number(row, "image_id"), row.text("query")
        parts: tuple[str | Image, ...] = (query,)
        if self.images == "coco":
            parts = (coco_picture(release, number, row.value("_places")), query)
        return Case(
            id=f"vlsafe/{self.split}/{self.images}/{row.number}",
            conversation=Conversation.user(*parts),
            behavior=query,
            expected=Expected.refuse,
            category="",
            group=f"coco/{number}",
        )
