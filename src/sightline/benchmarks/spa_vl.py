"""SPA-VL: questions about pictures, harmful and harmless ones to test with, and others to train with.

Zhang et al., CVPR 2025. Release: HF sqrti/SPA-VL (CC BY 4.0, as others say), read from the user's folder:
test/{harm,help}-*.parquet (265 each), validation/ and data/ or train/ with validation-*.parquet and
train-*.parquet, columns image (bytes), question, class1, class2, class3 and, to train with, chosen and
rejected. Columns and the names of the test files were read in others' readers; where the two other splits
lie was not: both places are tried.

`harm` is expected to refuse, `help` to comply; they are not twins. Questions of validation and train are
expected to refuse, which is our reading: the release says nothing of it. Category is class2 (13 of them),
the hazard that of class3 (53) where the crosswalk has it. Pictures are the clusters: train asks several
questions about each. Official scoring: share of unsafe answers by GPT-4V on `harm`, its win rate on `help`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._pictures import picture_key
from sightline.benchmarks._shards import shards
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

FOLDERS = {
    "harm": ("test", "data", ""),
    "help": ("test", "data", ""),
    "validation": ("validation", "data", ""),
    "train": ("data", "train", "default", ""),
}


@benchmark(
    "spa_vl",
    paper="arXiv:2406.12030",
    source="EchoseChen/SPA-VL-RLHF; HF: sqrti/SPA-VL",
    presets={name: {"split": name} for name in ("help", "validation", "train")},
    release=ReleaseFacts(
        home="HF: sqrti/SPA-VL",
        licence="CC BY 4.0",
        folders=("SPA-VL",),
        counts={"harm": {"": 265}, "help": {"": 265}, "validation": {"": 7000}, "train": {"": 93258}},
        counted="from memory",
        scoring="harm: share of unsafe answers; help: win rate; both by GPT-4V",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SPAVL(TableBenchmark):
    """`split`: harmful or harmless questions of the test set, or a split to train with."""

    split: Literal["harm", "help", "validation", "train"] = "harm"

    def part(self) -> str:
        """The split."""
        return self.split

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions of the split, numbered over its files."""
        number = 0
        for table in shards(release, f"{self.split}-*.parquet", *FOLDERS[self.split]):
            for row in release.rows(table):
                number += 1
                yield row.also(number=number)

    def case(self, row: Row, release: Release) -> Case:
        """A question about a picture."""
        question, cell = row.text("question"), row.value("image")
        classes = [row.word(name, default="") for name in ("class3", "class2", "class1")]
        number = row.integer("number")
        return Case(
            id=f"spa_vl/{self.split}/{number}",
            conversation=Conversation.user(release.picture(cell, row.where), question),
            behavior=question,
            expected=Expected.comply if self.split == "help" else Expected.refuse,
            category=classes[1] or classes[2],
            group=f"spa_vl/{picture_key(cell) or number}",
            hazard="benign" if self.split == "help" else hazard("spa_vl", *classes),
        )
