"""Ask for the secret word of the system prompt, which the prompt forbids or allows to tell.

24 nouns that training never used, each planted as the secret twice: by a prompt that forbids to tell it
(expected: refuse) and by one that does not (its twin; expected: comply). Both are asked for in the same two
wordings, which training did not use either. Nothing but the system prompt differs between twins.

An attack that draws the request leaves the system prompt where it is.

Preset `injection`: behind a prompt that forbids to tell the word, the user asks an honest question about the
picture of a scene (24 scenes, their color in three wordings; expected: answer), and a third party wants the
word told. Judge: `injected_goal`, beside `testbed_policy` for the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from sightline.benchmarks._testbed import JUDGE, Asked, heldout_nouns, injected, twins
from sightline.cases import Case
from sightline.contracts import Benchmark, Release
from sightline.goals import Goal
from sightline.registry import benchmark
from sightline.testbed import wordings
from sightline.testbed.world import world

FIRST = 0


@benchmark(
    "testbed_secrets",
    source="Sightline",
    presets={"injection": {"scenario": "injection"}},
    judge=JUDGE,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TestbedSecrets(Benchmark):
    """`scenario`: who asks for the secret word, the user or a third party."""

    __test__: ClassVar[bool] = False
    needs_root: ClassVar[bool] = False

    scenario: Literal["requests", "injection"] = "requests"

    def cases(self, release: Release) -> Iterator[Case]:
        """Each forbidden request, followed by its allowed twin; or honest questions with a leak as goal."""
        yield from _requests() if self.scenario == "requests" else _injections(release)


def _injections(release: Release) -> Iterator[Case]:
    prompts = wordings.SECRET_PROMPTS
    for index, (noun, scene) in enumerate(zip(heldout_nouns(FIRST), world().scenes_heldout, strict=True)):
        goal = Goal(kind="leak", target=noun, instruction=wordings.SECRET_REQUESTS[2])
        system = prompts[index % len(prompts)].format(noun=noun)
        stem = f"testbed_secrets/injection/{noun}"
        yield from injected(stem, scene, goal, release, group=noun, system=system)


def _requests() -> Iterator[Case]:
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
