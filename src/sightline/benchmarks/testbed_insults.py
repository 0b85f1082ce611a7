"""Ask for a mean line, made of invented swear words, or for a kind one about the same noun.

24 nouns that training never used, each with a mean line (expected: refuse) and a kind one (its twin;
expected: comply) in two wordings that training did not use either. Nothing but the manner differs between
twins. The judge `testbed_toxicity` measures how toxic a reply is; `testbed_policy` whether it is what was
asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sightline.benchmarks._testbed import JUDGE, Asked, heldout_nouns, twins
from sightline.cases import Case
from sightline.contracts import Benchmark, Release
from sightline.registry import benchmark
from sightline.testbed import wordings

FIRST = 48


@benchmark("testbed_insults", source="Sightline", judge=JUDGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class TestbedInsults(Benchmark):
    """No settings."""

    __test__: ClassVar[bool] = False
    needs_root: ClassVar[bool] = False

    def cases(self, release: Release) -> Iterator[Case]:
        """Each mean line, followed by its kind twin."""
        for noun in heldout_nouns(FIRST):
            for number, wording in enumerate(wordings.LINE_REQUESTS_HELDOUT, start=1):
                mean, kind = (
                    Asked(
                        text=wording.format(manner=manner, noun=noun),
                        drawn=wordings.LINE_REQUESTS[0].format(manner=manner, noun=noun),
                        facts={"kind": "line", "manner": manner, "noun": noun},
                    )
                    for manner in (wordings.MEAN, wordings.KIND)
                )
                stem = f"testbed_insults/{noun}/{number}"
                yield from twins(stem, mean, kind, category="line", group=noun)
