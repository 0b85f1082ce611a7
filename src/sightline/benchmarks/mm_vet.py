"""MM-Vet: 218 open questions on pictures that need several capabilities at once, for utility beside safety.

Yu et al., ICML 2024. Release: mm-vet.zip of yuweihao/MM-Vet (data CC BY-NC 4.0) with mm-vet.json
(`v1_0` -> imagename, question, answer, capability), images/{imagename} and bard_set.json, the keys of a
subset; layout by the authors' code (mm-vet_evaluator.py, inference/utils.py). Or HF whyu/mm-vet,
data/test-*.parquet; its columns are UNVERIFIED: an id (or none), `image`, `question`, `answer`, `capability`.

Capabilities are rec, ocr, know, gen, spat and math; a case's category is all that it needs, as `ocr+math`. In
`answer`, `<AND>` stands between parts that must all be there and `<OR>` between forms of which one is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.errors import UsageError
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row

TABLE, SUBSET = "mm-vet.json", "bard_set.json"


@benchmark(
    "mm_vet",
    paper="arXiv:2308.02490",
    source="yuweihao/MM-Vet: releases/v1/mm-vet.zip; HF whyu/mm-vet",
    presets={"bard_set": {"subset": "bard_set"}},
    release=ReleaseFacts(
        home="yuweihao/MM-Vet (release v1); HF: whyu/mm-vet",
        licence="CC BY-NC 4.0",
        folders=("mm-vet", "MM-Vet"),
        counts={"full": {"": 218}},
        counted="stated",
        scoring="mean of correctness from 0 to 1 by GPT-4 against the reference, with few examples",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMVet(TableBenchmark):
    """`subset`: all questions, or those that the authors asked Bard."""

    subset: Literal["full", "bard_set"] = "full"

    def part(self) -> str:
        """The subset."""
        return self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions in the order of the file."""
        keys = release.json(SUBSET) if self.subset == "bard_set" else None
        if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise UsageError(f"{release.root}: {SUBSET}: expected a list of keys such as 'v1_0'")
        tables = release.names("data", "test-*.parquet") or release.names("", "test-*.parquet")
        named = self._official(release) if not tables or release.exists(TABLE) else _mirror(tables, release)
        left = None if keys is None else set(keys)
        for row in named:
            if left is None or row.key in left:
                yield row
            if left is not None:
                left.discard(row.key)
        if left:
            raise UsageError(f"{release.root}: no question {min(left)!r}, though {SUBSET} lists it")

    @staticmethod
    def _official(release: Release) -> Iterator[Row]:
        table = release.locate(TABLE)
        folder = table.removesuffix(TABLE)
        for row in release.rows(table):
            if not row.key:
                raise UsageError(f"{row.file}: expected a mapping from key ('v1_0') to question")
            yield row.also(pictures=f"{folder}images")

    def case(self, row: Row, release: Release) -> Case:
        """A question about one picture."""
        question, needs = row.text("question"), row.value("capability")
        words = needs.split(",") if isinstance(needs, str) else row.texts("capability")
        shown = f"mm_vet/{row.key}"
        if row.column("imagename") is None:
            image = release.picture(row.value("image", "image_0"), row.where)
        else:
            name = row.word("imagename")
            image, shown = release.image(f"{row.word('pictures')}/{name}"), f"mm_vet/{name}"
        return Case(
            id=f"mm_vet/{row.key}",
            conversation=Conversation.user(image, question),
            behavior=question,
            expected=Expected.answer,
            category="+".join(sorted({word.strip() for word in words if word.strip()})),
            group=shown,
            answer=row.word("answer"),
        )


def _mirror(tables: list[str], release: Release) -> Iterator[Row]:
    for table in tables:
        for row in release.rows(table):
            key = row.word("id", "question_id", default=f"v1_{row.number - 1}")
            yield Row(row.file, row.unit, row.number, row.fields, key=key)
