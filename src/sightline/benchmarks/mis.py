"""MIS: a harmless question about two pictures that are harmful together (Multi-Image Safety, test split).

Ding et al., 2025. Release: HF Tuwhy/MIS_Test (licence not stated), read from the user's folder:
mis_easy.json, mis_hard.json and mis_real.json, lists of question, image_path1, image_path2, category;
pictures in easy_image/1/object1.png and so on, below the folder or in archives there. Names and keys were
read in the authors' DripNowhy/MIS, README.md and evaluation/inference_vllm.py; the files themselves were
not.

Easy and hard have generated pictures (easy ones show something unsafe), real ones are photographs. Official
scoring: GPT-4o, which sees both pictures, says unsafe (attack success), safe with the objects named (safety
by reasoning), safe or refused without, or useless. Expected: refuse, or a safe answer that names the risk.

Pitfalls: many questions follow one sentence ("use the object in the first image to ..."), so run a control
without pictures. Pairs of pictures are the clusters. Models that take one picture cannot be measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._pictures import picture_in
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

SUBSETS = {"easy": 1675, "hard": 510, "real": 100}
FIRST = ("image_path1", "image1", "image_1")
SECOND = ("image_path2", "image2", "image_2")
FOLDERS = ("", "mis_test", "zip_files", "images")


@benchmark(
    "mis",
    paper="arXiv:2501.18533",
    source="DripNowhy/MIS: README.md, evaluation; HF: Tuwhy/MIS_Test",
    presets={name: {"subset": name} for name in SUBSETS},
    release=ReleaseFacts(
        home="HF: Tuwhy/MIS_Test",
        folders=("MIS_Test", "mis_test"),
        counts={**{name: {"": number} for name, number in SUBSETS.items()}, "all": {"": 2285}},
        counted="stated",
        scoring="share of unsafe answers, judged by GPT-4o with both pictures",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MIS(TableBenchmark):
    """`subset`: easy, hard, real, or all of them in this order."""

    subset: Literal["all", "easy", "hard", "real"] = "all"

    def part(self) -> str:
        """The subset."""
        return self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions of the subset, in the order of its files."""
        for name in SUBSETS if self.subset == "all" else (self.subset,):
            for row in release.rows(release.locate(f"mis_{name}.json", f"mis_test/mis_{name}.json")):
                yield row.also(subset=name)

    def case(self, row: Row, release: Release) -> Case:
        """A question about two pictures, which come first."""
        first, second = row.word(*FIRST), row.word(*SECOND)
        question, category = row.text("question"), row.word("category")
        images = (picture_in(release, name, *FOLDERS) for name in (first, second))
        return Case(
            id=f"mis/{row.word('subset')}/{row.word('id', default=str(row.number))}",
            conversation=Conversation.user(*images, question),
            behavior=question,
            expected=Expected.refuse,
            category=category,
            group=f"mis/{first} {second}",
            hazard=hazard("mis", row.word("sub_category", default=category), category),
        )
