"""Scripts of several turns, played: what the target sees at every turn, blocks, defenses and their calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import talking_toys  # noqa: F401  (registers the toy attacks)
import toys  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from speakers import Said, Speaker, World

from sightline.api.runs import finish
from sightline.cases import Conversation, Image, Turn
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.plain import artifact_of
from sightline.records import Artifact, Response, Stop
from sightline.registry import parse as parse_method
from sightline.study.config import parse
from sightline.study.replying import play
from sightline.study.run import Run
from sightline.tables import Table

PICTURE = Image("ab" * 32, 8, 8)
Parts = st.lists(st.one_of(st.text("xyz ", min_size=1, max_size=5), st.just(PICTURE)), min_size=1, max_size=3)
Stops: tuple[Stop, ...] = ("stop", "length", "blocked_defense", "content_filter", "error")
GOES_ON = {"stop", "length", "blocked_defense"}


@given(st.lists(Parts, min_size=1, max_size=5), st.lists(st.sampled_from(Stops), min_size=5, max_size=5))
def test_every_turn_is_said_after_the_reply_to_the_one_before(
    script: list[list[str | Image]], stops: list[Stop]
) -> None:
    turns = [Turn("user", tuple(parts)) for parts in script]
    system = Turn("system", ("be brief",))
    first = Conversation((system, turns[0]))

    def says(asked: Conversation) -> Said:
        number = sum(turn.role == "user" for turn in asked.turns)
        return Response(text=f"reply {number}", stop=stops[number - 1])

    speaker = Speaker("toy/a@1", says)
    found = asyncio.run(play(speaker, first, turns[1:], Decoding(), retries=0))
    last = next((n for n, stop in enumerate(stops[: len(turns)]) if stop not in GOES_ON), len(turns) - 1)
    expected = [system]
    for number in range(last + 1):  # told in the order of the dialogue, apart from the code that plays it
        expected.append(turns[number])
        assert speaker.asked[number].turns == tuple(expected)
        expected.append(Turn("assistant", (f"reply {number + 1}",)))
    assert len(speaker.asked) == last + 1
    assert (found.text, found.stop) == (f"reply {last + 1}", stops[last])
    assert found.replies == tuple(f"reply {number + 1}" for number in range(last))
    assert first.played(turns[1:], found.replies).turns == tuple(expected[:-1])


STUDY = """
study: played
benchmarks: [{name: toy_questions, n: 3}]
targets: [toy/a]
defenses: [self_moderation]
attacks: [{name: toy_script, turns: 3, oracle: defended, budget: {target_calls: 3}}]
judges: [toy_judge]
concurrency: 2
"""
CASES, TURNS = 2, 3
INNER = parse_method("defense", "self_moderation").calls
Start = Callable[..., Run]


def answers(asked: Conversation) -> Said:
    """A word, whatever is asked."""
    return f"fine {len(asked.turns)}"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    def run(opened: World, folder: str = "run") -> Run:
        monkeypatch.setattr("sightline.targets.open_target", opened.open)
        found = Run(parse(STUDY), tmp_path / folder)
        found.prepare()
        finish(found)
        return found

    return run


def crafted(run: Run) -> list[Artifact]:
    with Table(run.records / "craft") as table:
        return sorted((artifact_of(row) for row in table), key=lambda made: made.case_id)


def test_a_question_to_a_defended_target_is_one_call_and_all_of_its_tokens(start: Start) -> None:
    talks = World({"toy/a": answers})
    run = start(talks)
    tokens = Counter[str]()
    for asked in talks["toy/a"].ended[: CASES * TURNS * INNER]:
        tokens["in"] += len(asked.last_user_text().split())
        tokens["out"] += len(str(answers(asked)).split())
    made = crafted(run)
    assert [each.problem for each in made] == [None] * CASES
    assert [(each.cost.calls_target, len(each.calls)) for each in made] == [(TURNS, TURNS)] * CASES
    assert sum(each.cost.tokens_in for each in made) == tokens["in"]
    assert sum(each.cost.tokens_out for each in made) == tokens["out"]
    assert len(talks["toy/a"].ended) == 2 * CASES * TURNS * INNER, "crafted, then played for the answer"
    with Table(run.records / "answer") as table:
        for row in table:
            assert row["cost"]["calls_target"] == TURNS * INNER
            turns = Counter(call["purpose"].partition("/")[0] for call in row["calls"])
            assert turns == {f"turn {number}": INNER for number in (1, 2, 3)}


@pytest.mark.parametrize("stop", [2, INNER + 1, CASES * TURNS * INNER, CASES * TURNS * INNER + INNER + 2])
def test_inner_calls_of_dialogues_and_of_played_scripts_are_kept(start: Start, stop: int) -> None:
    whole = start(World({"toy/a": answers}), folder="whole")
    calls = 0

    def stopped(asked: Conversation) -> Said:
        nonlocal calls
        calls += 1
        return UsageError("stopped") if calls == stop else answers(asked)

    first, second = World({"toy/a": stopped}), World({"toy/a": answers})
    with pytest.raises(UsageError, match="stopped"):
        start(first)
    run = start(second)
    assert len(first.said_to) + len(second.said_to) == 2 * CASES * TURNS * INNER
    assert run.results_digest() == whole.results_digest()
    assert [each.calls for each in crafted(run)] == [each.calls for each in crafted(whole)]
