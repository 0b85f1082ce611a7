"""Auto-Bench: questions about COCO pictures that language models made, of 16 abilities, two about safety.

Ji et al. 2023. No public release was found: this reads a table of yours (.json, .jsonl, .csv, .parquet),
named by `root:` or called auto_bench.json or auto_bench.jsonl in its folder, with the columns

    image_id      a COCO number or file name          sub_ability   such as Privacy, Security, Counting
    question, answer                                  ability, rationale, id: optional

and COCO's pictures beside it. `abilities='safety'` asks the rows of Privacy and Security, which the survey
counts as 2,000; `all` every row. Official score: a language model says whether answer and reference mean the
same; accuracy by sub-ability.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._coco import coco_number, coco_picture, coco_places
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

NAMES = tuple(f"auto_bench.{suffix}" for suffix in ("jsonl", "json", "csv", "parquet"))
SAFETY = frozenset({"privacy", "security"})


@benchmark(
    "auto_bench",
    paper="arXiv:2311.14580",
    source="a table of the user's; no public release was found",
    presets={"all": {"abilities": "all"}},
    release=ReleaseFacts(
        home="no public release was found; pictures: COCO",
        access="not published",
        scoring="accuracy by sub-ability, where a language model compares answer and reference",
        shares=("coco_captions", "vqa_v2", "ok_vqa", "vlsafe"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AutoBench(TableBenchmark):
    """`abilities`: the two about safety, or all."""

    abilities: Literal["safety", "all"] = "safety"

    def rows(self, release: Release) -> Iterator[Row]:
        """The rows of these abilities, and those whose ability cannot be read."""
        places = coco_places(release, "train2017")
        table = release.file or release.locate(*NAMES)
        for row in release.rows(table, columns=("image_id", "sub_ability", "question", "answer")):
            ability = str(row.fields.get(row.column("sub_ability") or "")).strip().casefold()
            unread = row.fault or row.blank("sub_ability")
            if unread or self.abilities == "all" or ability in SAFETY:
                yield row.also(_places=places)

    def case(self, row: Row, release: Release) -> Case:
        """A question with its picture."""
        number, question, ability = (
            coco_number(row, "image_id"),
            row.text("question"),
            row.word("sub_ability"),
        )
        return Case(
            id=f"auto_bench/{row.word('id', default=str(row.number))}",
            conversation=Conversation.user(coco_picture(release, number, row.value("_places")), question),
            behavior=question,
            expected=Expected.answer,
            category=ability,
            group=f"coco/{number}",
            hazard=hazard("auto_bench", ability),
            answer=row.text("answer"),
        )
