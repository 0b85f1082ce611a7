"""A defense's finished calls are kept as they end: neither a kill nor a failed try pays for them twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import toys  # noqa: F401  (registers the toy methods)

from sightline.api.runs import finish
from sightline.cases import Conversation
from sightline.contracts import Decoding, Target
from sightline.digests import digest
from sightline.errors import TransientError, UsageError
from sightline.records import Cost, Response
from sightline.registry import parse as parse_method
from sightline.study import replying
from sightline.study.call_log import CallLog
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.targets.defended import DefendedTarget
from sightline.targets.remembered import RememberedTarget

STUDY = """
study: inner
benchmarks: [{name: toy_questions, n: 6}]
targets: [toy/a]
attacks: [toy_plain]
defenses: [self_moderation]
judges: [toy_judge]
concurrency: 1
retries: 2
"""
MODERATION = parse_method("defense", "self_moderation")
CALLS = MODERATION.calls  # an answer, and two turns of moderation per round
ANSWERS = 4  # requests and twins of six toy questions


@dataclass
class Paid:
    """Counts what is asked of it; stops or fails at the calls of given numbers."""

    stops_at: int = 0
    fails_at: tuple[int, ...] = ()
    id: str = "paid@1"
    asked: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        self.asked.append(digest(conversation))
        if len(self.asked) == self.stops_at:
            raise UsageError("stopped")
        if len(self.asked) in self.fails_at:
            raise TransientError("503")
        self.done.append(digest(conversation))
        return Response(text=f"reply {len(conversation.turns)}", cost=Cost(calls_target=1, tokens_out=2))


@pytest.fixture(params=["opened", "remembered"])
def run_on(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Paid], Run]:
    monkeypatch.setattr(replying, "BACKOFF_SECONDS", 0.0)

    def run(bare: Paid) -> Run:
        def opened(name: str, images: object, **bounds: int | None) -> Target:
            target: Target = DefendedTarget(MODERATION, bare) if "self_moderation" in name else bare
            return target if request.param == "opened" else RememberedTarget(target.id, lambda: target)

        monkeypatch.setattr("sightline.targets.open_target", opened)
        made = Run(parse(STUDY), tmp_path / "run")
        made.prepare()
        finish(made)
        return made

    return run


@pytest.mark.parametrize("stops_at", [1, 2, CALLS, CALLS + 1, CALLS * ANSWERS])
def test_a_run_that_was_stopped_pays_for_no_call_twice(run_on: Callable[[Paid], Run], stops_at: int) -> None:
    first, second = Paid(stops_at=stops_at), Paid()
    with pytest.raises(UsageError, match="stopped"):
        run_on(first)
    run = run_on(second)
    calls = Counter([*first.done, *second.done])
    assert sum(calls.values()) == CALLS * ANSWERS
    assert set(calls.values()) == {1}
    rows = pq.read_table(run.folder / "results.parquet").to_pylist()
    assert [row["calls_target"] for row in rows] == [CALLS] * ANSWERS, "what was paid before is counted, too"
    assert not (run.records / "calls").exists(), "the answers hold their calls"


def test_a_try_that_failed_goes_on_where_it_failed(run_on: Callable[[Paid], Run]) -> None:
    bare = Paid(fails_at=(2, 3, 7))
    run_on(bare)
    assert len(bare.asked) == CALLS * ANSWERS + 3
    assert set(Counter(bare.done).values()) == {1}


def test_defenses_around_each_other_keep_the_calls_of_the_bare_target(tmp_path: Path) -> None:
    bare = Paid(stops_at=CALLS * CALLS - 1)
    nested = DefendedTarget(MODERATION, DefendedTarget(MODERATION, bare))
    request = Conversation.user("a question about numbers")

    def ask() -> Response:
        with CallLog(tmp_path / "calls") as log:
            calls = log.of("row")
            calls.begin()
            return asyncio.run(nested.generate_through(request, Decoding(), calls))

    with pytest.raises(UsageError, match="stopped"):
        ask()
    reply = ask()
    assert len(bare.done) == CALLS * CALLS
    assert reply.cost.calls_target == CALLS * CALLS
    anew = DefendedTarget(MODERATION, DefendedTarget(MODERATION, Paid()))
    plain = asyncio.run(anew.generate(request, Decoding()))
    assert (plain.text, plain.calls) == (reply.text, reply.calls)
