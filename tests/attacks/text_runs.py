"""What the tests of attacks on texts share: requests that are refused, and what becomes of rewritten ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from picture_runs import Testbed

from sightline import whitebox
from sightline.benchmarks.testbed_requests import requests
from sightline.cases import Case, Expected
from sightline.contracts import Decoding
from sightline.judges.testbed_policy import TestbedPolicy
from sightline.records import Artifact, Outcome


def refused(count: int) -> list[Case]:
    """Restricted requests of different topics and wordings, none of which training has seen."""
    found = [case for case in requests() if case.expected is Expected.refuse]
    return [found[i * len(found) // count // 3 * 3 + i % 3] for i in range(count)]


def outcomes(testbed: Testbed, cases: Sequence[Case], sent: Sequence[Artifact]) -> list[Outcome]:
    """What the testbed's judge says of the ordinary target's answers."""
    found, judge = [], TestbedPolicy()
    for case, artifact in zip(cases, sent, strict=True):
        answer = asyncio.run(testbed.target.generate(artifact.conversation, Decoding(max_tokens=40)))
        found.append(asyncio.run(judge.judge(case, artifact.conversation, answer)).outcome)
    return found


def read_by_target(testbed: Testbed, artifact: Artifact) -> list[int]:
    """The tokens that the ordinary target reads of an artifact."""
    loaded = testbed.target.loaded()
    prepared = loaded.prepare(artifact.conversation, Decoding(), testbed.blobs.read)
    found: list[int] = prepared.tokens["input_ids"][0].tolist()
    return found


def holds(read: Sequence[int], ids: Sequence[int]) -> bool:
    """Whether tokens stand in a row among others."""
    return any(tuple(read[i : i + len(ids)]) == tuple(ids) for i in range(len(read) - len(ids) + 1))


class Noted:
    """Calls a function of the engine and keeps what it gives back."""

    def __init__(self, name: str, monkeypatch: Any) -> None:
        self.found: list[whitebox.TokenSearchResult] = []
        inner = getattr(whitebox, name)

        def called(*args: Any, **given: Any) -> whitebox.TokenSearchResult:
            self.found.append(inner(*args, **given))
            return self.found[-1]

        monkeypatch.setattr(whitebox, name, called, raising=False)
