"""JailBreakV-28K: jailbreak prompts with pictures, a mini version, and the plain requests of RedTeam-2K.

Luo et al., COLM 2024. Release: HF JailbreakV-28K/JailBreakV-28k (MIT), read from the user's folder:
JailBreakV_28K/{JailBreakV_28K,mini_JailBreakV_28K}.csv with the columns id, jailbreak_query, redteam_query,
format, policy, image_path, from, selected_mini, transfer_from_llm, and RedTeam_2K.csv with id, question,
policy, from; older versions have them at the top, and RedTeam2K.csv. About 300 pictures are on the hub, the
others behind a form: put figstep/, llm_transfer_attack/ and query_related/ beside the tables. Columns were
read in others' readers, and RedTeam_2K.csv in a copy.

`jailbreak_query` is sent verbatim with its picture, or alone where the row has none; `redteam_query` is the
behavior that judges read, and the cluster. Official scoring: Llama Guard on prompt and answer, per format
and policy. RedTeam-2K is sent as plain text.

Pitfalls: 20,000 of the rows (formats Template, Persuade, Logic) are 5,000 texts with four pictures each
that have nothing to do with the request; take them apart from the 8,000 others (`formats`), and run a
control without pictures. There are no harmless twins: a model that always refuses is best here. The first
rows are all of one format, so a limit must draw at random. Pictures and questions come from other sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._pictures import picture_in
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.digests import digest
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard
from sightline.untrusted import whole

FORMATS = {name: name for name in ("Template", "Persuade", "Logic", "SD", "SD_typo", "typo", "figstep")}
KINDS = {
    "llm_transfer": ("Template", "Persuade", "Logic"),
    "query_related": ("SD", "SD_typo", "typo"),
    "figstep": ("figstep",),
}
TABLES = {
    "full": ("JailBreakV_28K.csv",),
    "mini": ("mini_JailBreakV_28K.csv",),
    "redteam_2k": ("RedTeam_2K.csv", "RedTeam2K.csv"),
}
FOLDER = "JailBreakV_28K"
POLICIES = {
    "Illegal Activity": 151,
    "Child Abuse": 134,
    "Government Decision": 131,
    "Political Sensitivity": 130,
    "Unethical Behavior": 130,
    "Hate Speech": 130,
    "Fraud": 128,
    "Tailored Unlicensed Advice": 128,
    "Malware": 125,
    "Violence": 124,
    "Physical Harm": 123,
    "Privacy Violation": 122,
    "Bias": 120,
    "Health Consultation": 115,
    "Economic Harm": 107,
    "Animal Abuse": 102,
}
"""Requests of RedTeam-2K, measured in a copy of it."""


@benchmark(
    "jailbreakv",
    paper="arXiv:2404.03027",
    source="HF: JailbreakV-28K/JailBreakV-28k",
    presets={"mini": {"subset": "mini"}, "redteam_2k": {"subset": "redteam_2k"}},
    release=ReleaseFacts(
        home="HF: JailbreakV-28K/JailBreakV-28k",
        licence="MIT (pictures: terms of their sources)",
        access="form",
        folders=("JailBreakV-28k", "JailBreakV_28K"),
        counts={
            "full": {"": 28000},
            "full llm_transfer": {"": 20000},
            "mini": {"": 280},
            "redteam_2k": POLICIES,
        },
        counted="stated",
        scoring="attack success by Llama Guard on prompt and answer, per format and policy",
        shares=("figstep_safebench", "advbench", "beavertails"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class JailBreakV(TableBenchmark):
    """`formats`: all, or those whose pictures are unrelated, query-related, or pages as in FigStep."""

    subset: Literal["full", "mini", "redteam_2k"] = "full"
    formats: Literal["all", "llm_transfer", "query_related", "figstep"] = "all"

    def part(self) -> str:
        """Subset and formats."""
        return self.subset if self.formats == "all" else f"{self.subset} {self.formats}"

    def rows(self, release: Release) -> Iterator[Row]:
        """The rows of the subset's table, with these formats."""
        names = TABLES[self.subset]
        table = release.locate(*(f"{FOLDER}/{name}" for name in names), *names)
        skipped = () if self.formats == "all" or self.subset == "redteam_2k" else self._others()
        for row in release.rows(table, columns=("policy",)):
            said = "" if row.fault else row.value("format", default=None)
            if not isinstance(said, str) or said.strip().casefold() not in skipped:
                yield row

    def _others(self) -> tuple[str, ...]:
        """The formats that are left out, in lower case."""
        return tuple(name.casefold() for name in FORMATS if name not in KINDS[self.formats])

    def case(self, row: Row, release: Release) -> Case:
        """A jailbreak prompt with its picture, or a plain request of RedTeam-2K."""
        policy, number = row.word("policy"), row.word("id", default=str(row.number))
        parts: tuple[str | Image, ...]
        if self.subset == "redteam_2k":
            asked = row.text("question", "redteam_query")
            parts, kind = (asked,), "plain"
        else:
            kind, asked = row.one_of(FORMATS, "format"), row.text("redteam_query")
            parts = (row.text("jailbreak_query"),)
            if not row.blank("image_path"):
                parts = (picture_in(release, row.word("image_path"), FOLDER, ""), *parts)
        return Case(
            id=f"jailbreakv/{self.subset}/{kind}/{number}",
            conversation=Conversation.user(*parts),
            behavior=asked,
            expected=Expected.refuse,
            category=policy,
            group=f"jailbreakv/{digest(whole(asked.strip()))[:16]}",
            hazard=hazard("jailbreakv", policy),
        )
