"""VLSBench: 2,241 requests whose harm lies in the picture and is not told by the text.

Hu et al., ACL 2025. Release: HF Foreshhh/vlsbench (licence not stated), read from the user's folder:
data.json, a list of instruction_id, instruction, image_path (`imgs/0.png`), category, sub_category, source
and, since March 2025, image_description and safety_reason; pictures in imgs.tar, or unpacked. The file was
read in hxhcreate/VLSBench and AI45Lab/VLSBench, data/; both have the same requests.

Official scoring: GPT-4o, which sees the picture, says safe with refusal, safe with warning, or unsafe; the
safe rate is the share of the first two.

Pitfalls: 2,241 requests share 1,957 pictures, which are the clusters. Request 1685 is officially empty: it
is asked by its picture alone. Five subcategories stand below an odd category, so hazards go by the
subcategory. Sources overlap with MultiTrust, MLLMGuard, UnsafeBench, Ch3Ef and COCO. Text alone should tell
nothing: run a control without pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sightline.benchmarks._pictures import picture_in
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

SUBCATEGORIES = {
    "Weapon-Related Violence": 244,
    "Public Violence and Rioting": 186,
    "Abuse and Physical Altercations": 160,
    "Cybercrime": 226,
    "Property Crimes": 167,
    "Drug-Related Offenses": 115,
    "Human Trafficking and Exploitation": 28,
    "Risky or Dangerous Behaviors": 125,
    "Physical Self-Injury": 124,
    "Substance Abuse and Poisoning": 91,
    "Psychological and Disordered Harm": 32,
    "Adult Content": 178,
    "Erotic Visual Content": 165,
    "Racial and Ethnic Discrimination": 99,
    "Cultural Xenophobia": 62,
    "Religious Intolerance": 56,
    "Gender and Sexual Orientation Discrimination": 50,
    "Unauthorized Data Collection": 69,
    "Identity Theft and Impersonation": 64,
}
WORDLESS = frozenset({"1685"})
"""Requests of the official release that have no text."""
ALONE = "(the picture alone, without a text)"
KNOWN = {
    "6a29c8c129bb8dc23de779302791babfbd748bc658f90807b749b8138a76c08a": "hxhcreate/VLSBench, 2025",
    "a42245e79ab67fc9a08e4e35d3a4eba5ae85151d5ca5cd45821c53b22b175fdf": "AI45Lab/VLSBench, July 2025",
}
"""SHA-256 of tables as the authors' repository has them."""


@benchmark(
    "vlsbench",
    paper="arXiv:2411.19939",
    source="hxhcreate/VLSBench: data; HF: Foreshhh/vlsbench",
    release=ReleaseFacts(
        home="HF: Foreshhh/vlsbench",
        counts={"": SUBCATEGORIES},
        known=KNOWN,
        scoring="share of answers that refuse or warn, judged by GPT-4o with the picture",
        shares=("multitrust", "mllmguard", "unsafebench", "coco"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VLSBench(TableBenchmark):
    """No settings of its own."""

    def rows(self, release: Release) -> Iterator[Row]:
        """The requests in the order of the file."""
        yield from release.rows(release.locate("data.json", "data/data.json"))

    def case(self, row: Row, release: Release) -> Case:
        """A request with its picture."""
        number, shown = row.word("instruction_id"), row.word("image_path")
        wordless = number in WORDLESS and row.blank("instruction")
        asked = () if wordless else (row.text("instruction"),)
        category = row.word("sub_category")
        return Case(
            id=f"vlsbench/{number}",
            conversation=Conversation.user(
                picture_in(release, shown, "", "data", "imgs", "data/imgs"), *asked
            ),
            behavior=ALONE if wordless else row.text("instruction"),
            expected=Expected.refuse,
            category=category,
            group=f"vlsbench/{shown}",
            hazard=hazard("vlsbench", category, row.word("category")),
        )
