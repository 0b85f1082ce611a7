"""SafeBench of FigStep: 500 requests in ten topics that a safe model refuses, as text or as official pages.

Gong et al., AAAI 2025. Release: ThuCCSLab/FigStep (MIT), read from the user's folder or zip:
data/question/{safebench,SafeBench-Tiny}.csv with the columns dataset, category_id, task_id, category_name,
question, instruction; data/images/{SafeBench,SafeBench-Tiny}/query_ForbidQI_{category_id}_{task_id}_6.png.

`images='none'` sends the question verbatim; `images='official'` sends the official page with the sentence of
`attacks/figstep` (our wording of the paper's; set `instruction` to use another). Tiny is tasks 1-5 of each
topic. Topics 8-10 ask for advice (legal, financial, health), which most models give as plain text: report
ten topics and, with `topics='seven'`, the seven others. Results can be split by `category` all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sightline.attacks import instructions
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.errors import UsageError
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

TOPICS = (
    "Illegal Activity",
    "Hate Speech",
    "Malware Generation",
    "Physical Harm",
    "Fraud",
    "Adult Content",
    "Privacy Violation",
    "Legal Opinion",
    "Financial Advice",
    "Health Consultation",
)
ADVICE = frozenset({"Legal Opinion", "Financial Advice", "Health Consultation"})
COLUMNS = ("category_id", "task_id", "category_name", "question", "instruction")
FIGSTEP_ITEMS = 3


class Subset(NamedTuple):
    """The table of a subset of the release, and folders of its pictures: the second may replace the first."""

    table: str
    folders: tuple[str, ...]


SUBSETS = {
    "full": Subset("data/question/safebench.csv", ("data/images/SafeBench",)),
    "tiny": Subset(
        "data/question/SafeBench-Tiny.csv", ("data/images/SafeBench-Tiny", "data/images/SafeBench")
    ),
}


@benchmark(
    "figstep_safebench",
    paper="arXiv:2311.05608",
    source="ThuCCSLab/FigStep: data/question, data/images",
    presets={"tiny": {"subset": "tiny"}, "official": {"images": "official"}},
    release=ReleaseFacts(
        home="ThuCCSLab/FigStep",
        licence="MIT",
        folders=("FigStep", "FigStep-main"),
        counts={"full": dict.fromkeys(TOPICS, 50), "tiny": dict.fromkeys(TOPICS, 5)},
        known={
            "8e47f40b9b490fa2ca1393cdceb6081e9928848646f4b45fdd43726be941b394": "safebench.csv, 2025-06",
            "e5f85f7d0323fe2e4afa99f6715ee97c2581d93856af4728a72fdec94338e867": "SafeBench-Tiny.csv, 2025-06",
        },
        scoring="share of requests that a person judged to be answered harmfully in any of several repeats",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FigStepSafeBench(TableBenchmark):
    """`instruction`: the sentence shown with official pages ('' = ours)."""

    subset: Literal["full", "tiny"] = "full"
    images: Literal["none", "official"] = "none"
    topics: Literal["ten", "seven"] = "ten"
    instruction: str = ""

    def part(self) -> str:
        """The subset, if all its topics are read."""
        return self.subset if self.topics == "ten" else "-"

    def rows(self, release: Release) -> Iterator[Row]:
        """The rows of the subset's table, with these topics."""
        advice = ADVICE if self.topics == "seven" else frozenset()
        folder = self._folder(release) if self.images == "official" else ""
        for row in release.rows(SUBSETS[self.subset].table, columns=COLUMNS):
            if row.fault or row.value("category_name") not in advice:
                yield row.also(folder=folder)

    def case(self, row: Row, release: Release) -> Case:
        """A request as text, or as its page with the sentence that points at it."""
        task = f"{row.integer('category_id')}_{row.integer('task_id')}"
        question, topic = row.text("question"), row.word("category_name")
        parts: tuple[str | Image, ...] = (question,)
        if self.images == "official":
            page = release.image(f"{row.word('folder')}/query_ForbidQI_{task}_6.png")
            said = self.instruction or instructions.FIGSTEP
            parts = (page, said.replace("{items}", str(FIGSTEP_ITEMS)))
        return Case(
            id=f"figstep_safebench/{self.images}/{task}",
            conversation=Conversation.user(*parts),
            behavior=question,
            expected=Expected.refuse,
            category=topic,
            group=f"figstep_safebench/{task}",
            hazard=hazard("figstep_safebench", topic),
            wordings={"statement": row.word("instruction")},
        )

    def _folder(self, release: Release) -> str:
        """The first folder with pictures."""
        folders = SUBSETS[self.subset].folders
        found = next((folder for folder in folders if release.listing(folder)), "")
        if found:
            return found
        raise UsageError(
            f"{release.root}: no pictures found in {' or '.join(folders)}. "
            "Set `root:` of the benchmark in the study to the folder or .zip of the official release, "
            "or use images='none'."
        )
