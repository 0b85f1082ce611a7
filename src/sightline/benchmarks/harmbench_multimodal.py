"""HarmBench: 110 harmful requests about pictures; its 400 text requests are another subset.

Mazeika et al., ICML 2024. Release: centerforaisafety/HarmBench (MIT): data/behavior_datasets/
harmbench_behaviors_multimodal_all.csv with Behavior, BehaviorID, FunctionalCategory, SemanticCategory,
ImageFileName, Source, ImageDescription, RedactedImageDescription, Tags; pictures in
data/multimodal_behavior_images, found by the stem of ImageFileName.
harmbench_behaviors_text_{all,test,val}.csv have Behavior, FunctionalCategory, SemanticCategory, Tags,
ContextString, BehaviorID: the 100 contextual requests are sent behind their context, and 100 are about
copyrighted text. Layout read in a copy of the repository.

Requests are sent verbatim. What judges read names what the picture shows, from ImageDescription; the
release's own classifier is shown RedactedImageDescription instead, which cases carry as the wording
`context`.

`labels(FOLDER)` reads data/classifier_val_sets/{multimodal,text}_behaviors_val_set.json: two answers per
request (220, and 602 of 301 text requests), each labelled by three people (1 = does the behavior), and by
automatic judges. Three of the text requests there are not among the 400.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from sightline.benchmarks._labels import LabelledAnswer, LabelledBenchmark, by_majority, said_of
from sightline.benchmarks._layout import pictures_by_stem, with_picture
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.errors import UsageError
from sightline.records import Outcome
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

FOLDER = "data/behavior_datasets"
PICTURES = ("data/multimodal_behavior_images", "multimodal_behavior_images")
YES = {"0": False, "1": True}
RATERS = ("human_0", "human_1", "human_2")
NOT_JUDGES = frozenset(
    {
        *RATERS,
        "behavior",
        "category",
        "test_case",
        "generation",
        "image_description",
        "model",
        "method",
        "experiment",
        "behavior_id",
    }
)
COUNTS = {
    "multimodal": (54, 36, 9, 4, 4, 3, 0),
    "text_all": (67, 65, 22, 56, 25, 65, 100),
    "text_test": (52, 53, 18, 42, 21, 54, 80),
    "text_val": (15, 12, 4, 14, 4, 11, 20),
}
CATEGORIES = (
    "cybercrime_intrusion",
    "illegal",
    "harmful",
    "chemical_biological",
    "harassment_bullying",
    "misinformation_disinformation",
    "copyright",
)


@benchmark(
    "harmbench_multimodal",
    paper="arXiv:2402.04249",
    source="centerforaisafety/HarmBench: data/behavior_datasets, data/multimodal_behavior_images",
    presets={"text": {"subset": "text_all"}},
    release=ReleaseFacts(
        home="centerforaisafety/HarmBench",
        licence="MIT",
        folders=("HarmBench", "HarmBench-main"),
        counts={
            part: {name: n for name, n in zip(CATEGORIES, numbers, strict=True) if n}
            for part, numbers in COUNTS.items()
        },
        scoring="share of requests for which a fine-tuned Llama-2-13B says that the answer does the behavior",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class HarmBenchMultimodal(LabelledBenchmark):
    """`subset`: requests with pictures, or text requests: all, or the test or validation split of them."""

    subset: Literal["multimodal", "text_all", "text_test", "text_val"] = "multimodal"

    def part(self) -> str:
        """The subset."""
        return self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The requests, with where their pictures lie."""
        pictured = self.subset == "multimodal"
        name = f"harmbench_behaviors_{'multimodal_all' if pictured else self.subset}.csv"
        table = release.locate(f"{FOLDER}/{name}", name)
        cure = f"They belong into {PICTURES[0]} of the release; text requests need none: subset=text_all."
        pictures = pictures_by_stem(release, *PICTURES, cure=cure) if pictured else {}
        for row in release.rows(table, columns=("Behavior", "BehaviorID", "SemanticCategory")):
            stem = "" if row.fault else PurePosixPath(str(row.value("ImageFileName", default=""))).stem
            yield row.also(picture=pictures.get(stem.casefold()) or f"{PICTURES[0]}/{stem}.png")

    def case(self, row: Row, release: Release) -> Case:
        """A request with its picture, or behind its context."""
        name, behavior, category = row.word("BehaviorID"), row.text("Behavior"), row.word("SemanticCategory")
        if self.subset == "multimodal":
            conversation = Conversation.user(release.image(row.word("picture")), behavior)
            context = row.text("RedactedImageDescription", default="")
            asked = with_picture(behavior, row.text("ImageDescription", default=""))
        else:
            context = row.text("ContextString", default="")
            asked = f"{context}\n\n---\n\n{behavior}" if context else behavior
            conversation = Conversation.user(asked)
        return Case(
            id=f"harmbench_multimodal/{name}",
            conversation=conversation,
            behavior=asked,
            expected=Expected.refuse,
            category=category,
            group=f"harmbench_multimodal/{name}",
            hazard=hazard("harmbench_multimodal", category),
            wordings={"context": context} if context else {},
        )

    def label_rows(self, release: Release) -> Iterator[Row]:
        """The answers, request by request.

        Raises:
            UsageError: if the file is no mapping of lists.
        """
        kind = "multimodal" if self.subset == "multimodal" else "text"
        name = f"{kind}_behaviors_val_set.json"
        table = release.locate(f"data/classifier_val_sets/{name}", name)
        found = release.json(table)
        if not isinstance(found, Mapping) or not all(isinstance(each, list) for each in found.values()):
            raise UsageError(
                f"{release.root}: {table}: expected a mapping from behavior to a list of answers"
            )
        requests = f"{FOLDER}/harmbench_behaviors_{kind}_all.csv"
        categories = {}
        if release.exists(requests):
            named = [row for row in release.rows(requests, columns=("BehaviorID",)) if not row.fault]
            categories = {
                str(row.value("BehaviorID")): str(row.value("SemanticCategory", default="")) for row in named
            }
        for behavior, entries in found.items():
            for number, entry in enumerate(entries, start=1):
                where, odd = f"{release.root}: {table}, {behavior!r}", not isinstance(entry, Mapping)
                fields: Mapping[str, Any] = {} if odd else entry
                yield Row(where, "entry", number, fields, key="", fault="not a mapping" if odd else "").also(
                    behavior=behavior, category=categories.get(behavior, "")
                )

    def labelled(self, row: Row) -> LabelledAnswer:
        """An answer; what counts is the majority of three people."""
        human = said_of(row, RATERS)
        if len(human) < len(RATERS):
            raise row.problem(f"expected the labels {', '.join(RATERS)}; found {', '.join(human) or 'none'}")
        harmful = by_majority(row, human, YES)
        shown = row.value("test_case", default="")
        case = f"harmbench_multimodal/{row.word('behavior')}"
        return LabelledAnswer(
            case_id=case,
            response=row.text("generation"),
            label="1" if harmful else "0",
            human=human,
            harmful=harmful,
            outcome=Outcome.complied if harmful else None,
            model=row.text("experiment", default="") or row.text("model", default="").removesuffix(".json"),
            attack=row.text("method", default=""),
            prompt=str(shown[-1]) if isinstance(shown, list) and shown else str(shown),
            judges=said_of(row, (name for name in row.fields if name not in NOT_JUDGES)),
            category=row.value("category"),
            group=case,
            votes={by: YES[said] for by, said in human.items()},
        )
