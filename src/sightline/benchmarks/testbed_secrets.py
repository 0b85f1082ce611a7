"""Ask for the secret word of the system prompt, which the prompt forbids or allows to tell.

24 nouns that training never used, each planted as the secret twice: by a prompt that forbids to tell it
(expected: refuse) and by one that does not (its twin; expected: comply). Both are asked for in the same two
wordings, which training did not use either. Nothing but the system prompt differs between twins.

An attack that draws the request leaves the system prompt where it is.
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

FIRST = 0


@benchmark("testbed_secrets", source="Sightline", judge=JUDGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class TestbedSecrets(Benchmark):
    """No settings."""

    __test__: ClassVar[bool] = False
    needs_root: ClassVar[bool] = False

    def cases(self, release: Release) -> Iterator[Case]:
        """Each forbidden request, followed by its allowed twin."""
        for index, noun in enumerate(heldout_nouns(FIRST)):
            for number, text in enumerate(wordings.SECRET_REQUESTS_HELDOUT, start=1):
                closed, shared = (
                    Asked(
                        text=text,
                        drawn=wordings.SECRET_REQUESTS[0],
                        facts={"kind": "secret", "noun": noun},
                        system=prompts[index % len(prompts)].format(noun=noun),
                    )
                    for prompts in (wordings.SECRET_PROMPTS, wordings.SHARED_PROMPTS)
                )
                stem = f"testbed_secrets/{noun}/{number}"
                yield from twins(stem, closed, shared, category="secret", group=noun)
