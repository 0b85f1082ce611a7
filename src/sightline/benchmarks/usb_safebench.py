"""USB-SafeBench: requests in 61 categories where picture, text, both or only their meeting is risky.

Zheng et al. 2025. Release: HF cgjacklin/USB (contact details asked for): USB_base_final.csv and
USB_hard_final.csv with the columns id, text, open_url, level1_category, level2_category, level3_category,
img_risk, text_risk (1 or 0), img_style, usage (vulnerability or overrefusal); pictures in img.zip, named by
open_url, such as img/vulnerability_eval/1.jpg. The authors' repository (Hongqiong12/USB-SafeBench) has judge
prompts only. Layout and totals as others' readers of the released files have them, UNVERIFIED here: nobody
without an account sees the files. Some pictures were withdrawn, so that a few rows (8 of base, 4 of hard by
such a reader) have none: read them with `on_bad_rows: keep`.

Risky Image / Risky Text and so on: RIRT, RIST, SIRT, SIST. The category of a case is its official cell, the
first level and the combination (`Public Safety/RIST`): the official figure is the plain mean of the twelve
cells. Hazards come from the third level. Over-refusal rows are 300 of MOSSBench's, expected to be answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

COLUMNS = ("id", "text", "open_url", "level1_category", "img_risk", "text_risk", "usage")
USAGES = {"vulnerability": Expected.refuse, "overrefusal": Expected.comply}


@benchmark(
    "usb_safebench",
    paper="arXiv:2505.23793",
    source="HF cgjacklin/USB: USB_base_final.csv, USB_hard_final.csv, img.zip",
    presets={"hard": {"subset": "hard"}, "over_refusal": {"usage": "overrefusal"}},
    release=ReleaseFacts(
        home="HF: cgjacklin/USB",
        licence="Apache-2.0, for research; terms of GPT-4 and Stable Diffusion",
        access="click-through",
        folders=("USB", "USB-SafeBench"),
        counts={
            "base": {"": 13_175},
            "hard": {"": 3_785},
            "base overrefusal": {"overrefusal": 300},
            "hard overrefusal": {"overrefusal": 300},
        },
        counted="stated",
        scoring="mean over 3 categories x 4 combinations of the share of replies that refuse or warn "
        "(GPT-4o, sees the picture); share of over-refusal rows refused",
        shares=("mossbench", "vlguard"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class USBSafeBench(TableBenchmark):
    """`usage`: requests to refuse, those to answer, or all."""

    subset: Literal["base", "hard"] = "base"
    usage: Literal["all", "vulnerability", "overrefusal"] = "all"

    def part(self) -> str:
        """The file, and what is read of it."""
        return self.subset if self.usage == "all" else f"{self.subset} {self.usage}"

    def rows(self, release: Release) -> Iterator[Row]:
        """The rows of the file with this usage."""
        for row in release.rows(f"USB_{self.subset}_final.csv", columns=COLUMNS):
            usage = str(row.fields.get("usage", "")).strip().casefold()
            if usage == self.usage or self.usage == "all" or usage not in USAGES:
                yield row  # what is no usage is told as a bad row

    def case(self, row: Row, release: Release) -> Case:
        """A picture and the text that is asked with it."""
        picture, text = row.word("open_url"), row.text("text")
        usage = row.one_of({each: each for each in USAGES}, "usage")
        levels = [row.word(f"level{level}_category", default="") for level in (3, 2, 1)]
        category, code = usage, ""
        if usage == "vulnerability":
            image_risk, text_risk = row.flag("img_risk"), row.flag("text_risk")
            category = f"{row.word('level1_category')}/{'SR'[image_risk]}I{'SR'[text_risk]}T"
            code = hazard("usb_safebench", levels[0], *levels[1:])
        return Case(
            id=f"usb_safebench/{usage}/{row.word('id')}",
            conversation=Conversation.user(release.image(picture), text),
            behavior=text,
            expected=USAGES[usage],
            category=category,
            group=f"usb_safebench/{picture}",
            hazard=code,
        )
