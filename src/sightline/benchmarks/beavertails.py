"""BeaverTails: requests that draw harm in 14 categories, and answers that people labelled by them.

Ji et al., NeurIPS 2023. HF: PKU-Alignment/BeaverTails (CC BY-NC 4.0): round0/{30k,330k}/{train,test}.jsonl,
packed as .gz or .xz, or Parquet files named {30k,330k}_{train,test}-*; columns prompt, response, category (14
yes or no) and is_safe. HF: PKU-Alignment/BeaverTails-Evaluation: 700 requests in test.jsonl or test-*.parquet
with prompt and category (file name and columns as others' readers have them). Any one table can be named as
`root:` too.

`subset='evaluation'` (the default) sends each of the 700 requests. The others hold many answers to one
request: they make one case for each request that differs, with the category that its answers were labelled
with most often. Pitfall: people labelled the answers, not the requests; where no answer was found unsafe the
category is 'none', and whether a safe model refuses is an assumption (expected: refuse, as the requests were
made for red-teaming). Train and test share requests; do not train on one and test on the other.

`labels(FOLDER)` gives every answer with the label: harmful unless `is_safe`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._labels import LabelledAnswer, LabelledBenchmark
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard
from sightline.untrusted import whole

PACKINGS = ("", ".gz", ".xz")
Subset = Literal["evaluation", "train_30k", "test_30k", "train_330k", "test_330k"]


@benchmark(
    "beavertails",
    paper="arXiv:2307.04657",
    source="PKU-Alignment/BeaverTails: round0; PKU-Alignment/BeaverTails-Evaluation",
    release=ReleaseFacts(
        home="HF: PKU-Alignment/BeaverTails-Evaluation, PKU-Alignment/BeaverTails",
        licence="CC BY-NC 4.0",
        folders=("BeaverTails-Evaluation", "BeaverTails"),
        counts={"evaluation": {"": 700}},
        counted="stated",
        scoring="share of answers that a moderation model or people label with any of the 14 categories",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class BeaverTails(LabelledBenchmark):
    """`subset`: the requests of the evaluation set, or those of a split of the labelled answers."""

    subset: Subset = "evaluation"

    def part(self) -> str:
        """The subset."""
        return self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The requests: each row of the evaluation set, or the first row of each request of a split."""
        if self.subset == "evaluation":
            for table in self._tables(release):
                for row in release.rows(table):
                    if row.column("is_safe") is not None:
                        raise UsageError(
                            f"{row.file}: labelled answers, not the evaluation set; choose the subset "
                            "test_30k or another one of the splits"
                        )
                    yield row.also(labelled="")
            return
        first: dict[object, Row] = {}
        flagged: dict[object, Counter[str]] = {}
        for row in self.label_rows(release):
            prompt = object() if row.fault else str(row.value("prompt", default=""))
            first.setdefault(prompt, row)
            flagged.setdefault(prompt, Counter()).update([] if row.fault else _flagged(row))
        for prompt, row in first.items():
            most = flagged[prompt].most_common(1)
            yield row.also(labelled=most[0][0] if most else "none")

    def case(self, row: Row, release: Release) -> Case:
        """A request, verbatim; it is known by its words, as splits share requests."""
        prompt = row.text("prompt")
        category = row.word("labelled", default="") or row.word("category")
        id = f"beavertails/{digest(whole(prompt))[:16]}"
        return Case(
            id=id,
            conversation=Conversation.user(prompt),
            behavior=prompt,
            expected=Expected.refuse,
            category=category,
            group=id,
            hazard=hazard("beavertails", category),
        )

    def label_rows(self, release: Release) -> Iterator[Row]:
        """The labelled answers of a split.

        Raises:
            UsageError: for the evaluation set, which has no answers.
        """
        if self.subset == "evaluation":
            raise UsageError(
                "beavertails: the evaluation set has no labelled answers; choose subset=test_30k"
            )
        for table in self._tables(release):
            yield from release.rows(table, columns=("prompt", "response", "category", "is_safe"))

    def labelled(self, row: Row) -> LabelledAnswer:
        """An answer, harmful unless it is labelled as safe."""
        prompt, safe = row.text("prompt"), row.flag("is_safe")
        id = f"beavertails/{digest(whole(prompt))[:16]}"
        return LabelledAnswer(
            case_id=id,
            response=row.text("response", default=""),
            label="safe" if safe else "unsafe",
            detail="; ".join(_flagged(row)),
            harmful=not safe,
            prompt=prompt,
            group=id,
        )

    def _tables(self, release: Release) -> list[str]:
        """The table that the user named, or the files of the subset; one that is absent is told when read."""
        if release.file:
            return [release.file]
        split, _, size = self.subset.partition("_")
        where, start = (f"round0/{size}/{split}", f"{size}_{split}") if size else ("data/test", "test")
        lines = [f"{stem}.jsonl{packing}" for stem in (where, start) for packing in PACKINGS]
        shards = [*release.names("data", f"{start}-*.parquet"), *release.names("", f"*{start}*.parquet")]
        return [*[name for name in lines if release.exists(name)][:1], *shards] or lines[:1]


def _flagged(row: Row) -> list[str]:
    """The categories that an answer was labelled with."""
    labels = row.row("category")
    said = {
        name: each if isinstance(each, bool) else labels.flag(name) for name, each in labels.fields.items()
    }
    return [name for name, each in said.items() if each]
