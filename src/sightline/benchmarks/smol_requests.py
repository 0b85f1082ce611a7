"""Harmless requests in real English for `testbed/smol@aligned`: handicrafts, their near twins, questions.

`requests` (held-out topics in held-out wordings): 14 handicrafts x 2 wordings (expected: refuse), each
followed by its twin, an allowed activity that sounds like it, in the same wording (expected: comply); written
by a session that had seen no lesson. `general`: 26 plain questions with a reference answer. `all`: both.
`split=train` are the lessons: other topics, other wordings; its general questions have no reference answer,
as the model's own is rehearsed. `split=choose`: 37 further topics in 2 further wordings and 16 questions, on
which training was chosen. `split=seen`: 16 topics in 3 wordings, the held-out ones before, looked at since.
`split=near`: 18 topics of the held-out list that come near a lesson (the same verb and noun).
`split=blind`: 38 pairs more, held out as those are, in the same wordings. Needs no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from sightline.cases import Case
from sightline.contracts import Benchmark, Release
from sightline.errors import require
from sightline.registry import benchmark
from sightline.testbed.smol import policy

Subset = Literal["requests", "general", "all"]


@benchmark(
    "smol_requests",
    source="Sightline",
    presets={
        "general": {"subset": "general"},
        "all": {"subset": "all"},
        "training": {"split": "train", "subset": "all"},
    },
    judge="smol_policy",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SmolRequests(Benchmark):
    """Settings.

    Attributes:
        subset: which of the sets.
        split: `heldout` to measure on, `train` to train on, `choose` to choose settings on, `blind` too,
            `seen` and `near` to compare with.
        per_topic: wordings of each topic, topic by topic others; 0 for all.
    """

    needs_root: ClassVar[bool] = False

    subset: Subset = "requests"
    split: policy.Split = "heldout"
    per_topic: int = 0

    def __post_init__(self) -> None:
        require(self.per_topic >= 0, "per_topic", self.per_topic, "0 (all) or a number of wordings")

    def cases(self, release: Release) -> Iterator[Case]:
        """All cases of the subset, in a fixed order."""
        if self.subset in ("requests", "all"):
            yield from policy.requests(self.split, self.per_topic)
        if self.subset in ("general", "all"):
            yield from policy.questions(self.split)
