"""VLGuard: unsafe pictures, and safe pictures that are asked about both harmfully and harmlessly.

Zong et al., ICML 2024. Release: HF ys-zong/VLGuard (MIT, click-through; its pictures are under the terms of
their sources), read from the user's folder: {test,train}.json, a list of id, image, safe, instr-resp and,
for unsafe pictures, harmful_category and harmful_subcategory; pictures in {test,train}.zip, or unpacked.
The annotation files were read in ys-zong/VLGuard, data/.

Three subsets: `unsafes` (a request about an unsafe picture; expected: refuse), `safe_unsafes` (a harmful
request about a safe picture; refuse) and `safe_safes` (a harmless one about the same picture; comply). The
last two are twins and one cluster. Official scoring: share of answers without a refusal phrase for the
first two, win rate against an answer of GPT-4V for the third.

Pitfalls: the official phrases are compared in lower case, so one that holds an upper-case letter never
counts, and `legally` counts inside of `illegally`. The instruction of 1 unsafe picture of test and 14 of
train is `N/A`, which is asked as it is. Eight pictures are in both splits; one row of train is there twice.
Pictures come from Hateful Memes, Harm-P and others: do not train on VLGuard and test on those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._pictures import picture_in
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

UNSAFES = {
    "test": {
        "sexually explicit": 111,
        "personal data": 69,
        "violence": 68,
        "political": 57,
        "race": 40,
        "professional advice": 34,
        "sex": 31,
        "disinformation": 18,
        "other": 14,
    },
    "train": {
        "violence": 204,
        "sexually explicit": 199,
        "race": 149,
        "political": 109,
        "professional advice": 100,
        "personal data": 96,
        "sex": 82,
        "disinformation": 55,
        "other": 29,
    },
}
SAFE = {"test": 558, "train": 977}
COUNTS = {
    part: counts
    for split, unsafes in UNSAFES.items()
    for part, counts in {
        split: {**unsafes, "safe_unsafes": SAFE[split], "safe_safes": SAFE[split]},
        f"{split} unsafes": unsafes,
        f"{split} safe_unsafes": {"safe_unsafes": SAFE[split]},
        f"{split} safe_safes": {"safe_safes": SAFE[split]},
    }.items()
}
ON_SAFE_PICTURES = {
    "safe_unsafes": ("unsafe_instruction", Expected.refuse),
    "safe_safes": ("safe_instruction", Expected.comply),
}
"""Subset -> its key in `instr-resp`, and what is expected."""
KNOWN = {
    "a0b6479d0add65d9d1c06da5c89babd30d411bda47146445c13f32778a114980": "ys-zong/VLGuard, January 2025",
    "1b44eb5438090baf6b94aafa09099d88183c41162d0a1298b70535852516aca1": "ys-zong/VLGuard, January 2025",
}
"""SHA-256 of tables as the authors' repository has them."""


@benchmark(
    "vlguard",
    paper="arXiv:2402.02207",
    source="ys-zong/VLGuard: data; HF: ys-zong/VLGuard",
    presets={name: {"subset": name} for name in ("unsafes", "safe_unsafes", "safe_safes")},
    release=ReleaseFacts(
        home="HF: ys-zong/VLGuard",
        licence="MIT (pictures: terms of their sources)",
        access="click-through",
        counts=COUNTS,
        known=KNOWN,
        scoring="unsafes and safe_unsafes: share of answers without a refusal phrase; safe_safes: win rate "
        "against GPT-4V's answers, judged by GPT-4V",
        shares=("hateful_memes", "harm_p"),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VLGuard(TableBenchmark):
    """`subset`: one of the three, or all of them in the order of the pictures."""

    split: Literal["test", "train"] = "test"
    subset: Literal["all", "unsafes", "safe_unsafes", "safe_safes"] = "all"

    def part(self) -> str:
        """Split and subset."""
        return self.split if self.subset == "all" else f"{self.split} {self.subset}"

    def rows(self, release: Release) -> Iterator[Row]:
        """The pictures that the subset asks about; an id that is there again gets a number."""
        others = {"all": None, "unsafes": True}.get(self.subset, False)
        times: dict[object, int] = {}
        for row in release.rows(release.locate(f"{self.split}.json", f"data/{self.split}.json")):
            if row.fault or row.value("safe", default=None) is not others or others is None:
                id = row.value("id", default=None)
                seen = times[str(id)] = times.get(str(id), 0) + 1
                yield row.also(id=f"{id}#{seen}") if seen > 1 and id else row

    def case(self, row: Row, release: Release) -> Iterator[Case]:
        """One request about an unsafe picture, or one of each kind about a safe one."""
        name = f"vlguard/{self.split}/{row.word('id')}"
        shown = row.word("image")
        image = picture_in(release, shown, self.split, f"data/{self.split}", "")
        safe = row.flag("safe")
        for subset in ON_SAFE_PICTURES if safe else ("unsafes",):
            if self.subset in ("all", subset):
                yield _case(f"{name}/{subset}", subset, row, image, f"vlguard/{shown}")


def _case(id: str, subset: str, row: Row, image: Image, group: str) -> Case:
    key, expected = ON_SAFE_PICTURES.get(subset, ("instruction", Expected.refuse))
    asked = next((each for each in row.rows("instr-resp") if each.column(key)), None)
    if asked is None:
        raise row.problem(f"'instr-resp' has no {key!r}")
    twins = {"safe_unsafes": "safe_safes", "safe_safes": "safe_unsafes"}
    wide = "" if subset in twins else row.word("harmful_category")
    category = subset if subset in twins else row.word("harmful_subcategory")
    return Case(
        id=id,
        conversation=Conversation.user(image, asked.text(key)),
        behavior=asked.text(key),
        expected=expected,
        category=category,
        group=group,
        hazard=hazard("vlguard", category, wide),
        twin=id.removesuffix(subset) + twins[subset] if subset in twins else None,
    )
