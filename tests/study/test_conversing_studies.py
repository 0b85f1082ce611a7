"""Studies of attacks that converse: who is asked, what is kept, what failures leave, what is repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import talking_toys  # noqa: F401  (registers the toy attacks)
import toys
from speakers import Said, World

from sightline.api.runs import finish
from sightline.cases import Case, Conversation
from sightline.errors import ContractError, TransientError, UsageError
from sightline.plain import artifact_of
from sightline.records import Artifact, Response, Verdict
from sightline.study import replying
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.tables import Table
from sightline.targets._asked import UnfitError

STUDY = """
study: talks
seed: 3
benchmarks: [{name: toy_questions, n: 3}]
targets: [toy/a]
attacks: [toy_rewriter]
roles: {attacker: toy/helper, in_loop_judge: refusal_prefix}
judges: [toy_judge]
concurrency: 4
retries: 1
"""
CASES = 2  # of three toy questions, a request and its twin
SCRIPT = STUDY.replace("toy_rewriter", "{name: toy_script, turns: 3}").replace("roles:", "# roles:")


def rewrites(asked: Conversation) -> Said:
    """Adds a plus to what it is asked to rewrite."""
    return f"<ask>{asked.last_user_text().removeprefix('I cannot: ')}+</ask>"


def gives_in(asked: Conversation) -> Said:
    """Refuses what has fewer than two pluses, and says what it refuses."""
    text = asked.last_user_text()
    return "Sure, like this." if text.count("+") > 1 else f"I cannot: {text}"


def world(**says: Callable[[Conversation], Said]) -> World:
    names = {"toy/a": says.get("target", gives_in), "toy/helper": says.get("helper", rewrites)}
    others = {"toy/b": says.get("other", gives_in), "toy/grader": says.get("grader", graded)}
    return World({**names, **others})


def graded(asked: Conversation) -> Said:
    raise AssertionError("no grader is asked here")


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(replying, "BACKOFF_SECONDS", 0.0)

    def run(opened: World, text: str = STUDY, folder: str = "run", **options: bool) -> Run:
        monkeypatch.setattr("sightline.targets.open_target", opened.open)
        found = Run(parse(text), tmp_path / folder, **options)
        found.prepare()
        finish(found)
        return found

    return run


def artifacts(run: Run) -> list[Artifact]:
    with Table(run.records / "craft") as table:
        return [artifact_of(row) for row in table]


def answers(run: Run) -> list[dict[str, Any]]:
    with Table(run.records / "answer") as table:
        return list(table)


def results(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run.folder / "results.parquet").to_pylist()
    return rows


def purposes(artifact: Artifact) -> list[str]:
    return [call.purpose for call in artifact.calls]


ROUND = ["attacker", "target", "in_loop_judge"]


def test_an_attack_asks_its_roles_and_the_script_is_answered_and_judged(start: Start) -> None:
    talks = world()
    run = start(talks)
    for made in artifacts(run):
        assert made.conversation.last_user_text().endswith("++")
        assert purposes(made) == ROUND * 2
        assert made.calls[2].text.startswith("refused")
        assert (made.cost.calls_target, made.cost.calls_aux, made.cost.calls_judge) == (2, 2, 2)
        assert made.cost.tokens_in > 0
        assert made.cost.tokens_out > 0
        assert made.crafted_on == "toy/a@1"
    rows = results(run)
    assert [(row["outcome"], row["oracle"], row["craft_calls"]) for row in rows] == [
        ("complied", "undefended", 4)
    ] * CASES
    assert len(talks["toy/a"].ended) == CASES * 3, "twice while crafting, and once for the answer"
    assert not (run.records / "craft.calls").exists(), "the artifacts hold their calls"


def test_a_second_run_asks_nobody(start: Start) -> None:
    start(world())
    again = world()
    start(again)
    assert again.asked == 0


@pytest.mark.parametrize("said", ["I cannot help with that.", "", "Rewritten: please"])
def test_a_helper_that_refuses_is_silent_or_unreadable_leaves_a_problem(start: Start, said: str) -> None:
    run = start(world(helper=lambda _: said))
    for made in artifacts(run):
        assert made.problem is not None
        assert "attacker" in made.problem
        assert [call.text for call in made.calls] == [said] * 3
        assert made.cost.calls_aux == 3
        assert made.cost.calls_target == 0
    rows = results(run)
    assert [row["outcome"] for row in rows] == ["error"] * CASES
    assert all("attacker" in row["error"] for row in rows)
    assert [row["success"] for row in rows] == [False] * CASES


def test_a_case_whose_helper_fails_does_not_end_the_others(start: Start) -> None:
    run = start(world(helper=lambda asked: "no" if "question 1" in str(asked) else rewrites(asked)))
    assert sorted(row["outcome"] for row in results(run)) == ["complied", "error"]


def test_passing_failures_are_retried(start: Start) -> None:
    failing = Counter[str]()

    def often(says: Callable[[Conversation], Said], what: str) -> Callable[[Conversation], Said]:
        def now(asked: Conversation) -> Said:
            failing[what + str(asked)] += 1
            return TransientError(what) if failing[what + str(asked)] == 1 else says(asked)

        return now

    run = start(world(helper=often(rewrites, "429"), target=often(gives_in, "the request timed out")))
    assert [made.problem for made in artifacts(run)] == [None] * CASES
    assert {row["outcome"] for row in results(run)} == {"complied"}


@pytest.mark.parametrize("failure", ["429", "500 internal server error", "the request timed out"])
@pytest.mark.parametrize("down", ["helper", "target"])
def test_whoever_stays_down_leaves_errors_that_retry_errors_takes_up(
    start: Start, down: str, failure: str
) -> None:
    says = {"helper": rewrites, "target": gives_in}

    def later(asked: Conversation) -> Said:
        return TransientError(failure) if "+" in asked.last_user_text() else says[down](asked)

    first = world(**{down: later})
    run = start(first)
    role = {"helper": "attacker", "target": "target"}[down]
    problems = [made.problem for made in artifacts(run)]
    assert problems == [f"the {role} failed: {failure}"] * CASES
    assert [row["outcome"] for row in results(run)] == ["error"] * CASES

    resumed = world()
    start(resumed)
    assert resumed.asked == 0, "errors are not repeated unasked"
    (run.records / "judge.parquet").unlink()  # as if killed in a later stage: the log must outlive it
    start(resumed)

    second = world()
    run = start(second, retry_errors=True)
    assert {row["outcome"] for row in results(run)} == {"complied"}
    crafting = Counter([*first.said_to, *second.said_to])
    assert sum(crafting.values()) == CASES * (2 + 3), "no call that had ended was made again"
    assert [purposes(made) for made in artifacts(run)] == [ROUND * 2] * CASES, "calls before count, too"
    assert not (run.records / "craft.calls").exists()


def test_a_rejected_key_ends_the_run_and_names_the_role(start: Start) -> None:
    def rejected(asked: Conversation) -> Said:
        return UsageError("toy/helper: the key was rejected")

    with pytest.raises(UsageError, match=r"'toy_rewriter', role 'attacker': .*the key was rejected"):
        start(world(helper=rejected))
    with pytest.raises(UsageError, match=r"'toy_rewriter', role 'target': .*the key was rejected"):
        start(world(target=rejected))
    run = start(world())
    assert {row["outcome"] for row in results(run)} == {"complied"}


def test_a_request_that_a_model_cannot_take_is_that_artifacts_problem(start: Start) -> None:
    def short(asked: Conversation) -> Said:
        return UnfitError("the prompt has 900 tokens") if "question 1" in str(asked) else gives_in(asked)

    run = start(world(target=short))
    assert sorted(str(made.problem) for made in artifacts(run)) == [
        "None",
        "the target failed: the prompt has 900 tokens",
    ]
    assert sorted(row["outcome"] for row in results(run)) == ["complied", "error"]


def test_a_judge_in_the_loop_that_fails_is_no_bug_of_the_attack(start: Start) -> None:
    text = STUDY.replace("refusal_prefix", "toy_judge(down=true)").replace("[toy_judge]", "[refusal_prefix]")
    run = start(world(), text)
    assert [made.problem for made in artifacts(run)] == ["the in-loop judge failed: judge is down"] * CASES


def test_the_grader_of_the_judge_in_the_loop_is_retried_and_its_replies_are_kept(start: Start) -> None:
    tries = Counter[str]()

    def grades(asked: Conversation) -> Said:
        tries[str(asked)] += 1
        return TransientError("503") if tries[str(asked)] == 1 else "I would rather not say."

    text = STUDY.replace("refusal_prefix", "toy/grader")
    run = start(world(grader=grades), text)
    for made in artifacts(run):
        assert made.problem is None
        assert [c.text.split(".")[0] for c in made.calls if c.purpose == "in_loop_judge"] == ["unparsed"] * 3
        assert made.cost.calls_judge == 3
    assert set(tries.values()) == {2}


def test_the_same_dialogue_after_resume_wherever_it_stopped(start: Start) -> None:
    whole = start(world(), folder="whole")
    seen: set[str] = set()
    for stop in range(1, CASES * 5 + 1):
        calls = 0

        def counted(says: Callable[[Conversation], Said], stop: int = stop) -> Callable[[Conversation], Said]:
            def now(asked: Conversation) -> Said:
                nonlocal calls
                calls += 1
                return UsageError("stopped") if calls == stop else says(asked)

            return now

        first, second, folder = (
            world(helper=counted(rewrites), target=counted(gives_in)),
            world(),
            f"stop {stop}",
        )
        with pytest.raises(UsageError, match="stopped"):
            start(first, folder=folder)
        run = start(second, folder=folder)
        assert [(a.conversation, a.calls) for a in by_case(run)] == [
            (a.conversation, a.calls) for a in by_case(whole)
        ]
        assert run.results_digest() == whole.results_digest()
        both = Counter([*first.said_to, *second.said_to])
        assert sum(both.values()) == CASES * 5, f"stopped at call {stop}: a call was lost or repeated"
        seen |= set(both)
    assert len(seen) == CASES * 4, "the answer to the last question is asked again by the answer stage"


def by_case(run: Run) -> list[Artifact]:
    return sorted(artifacts(run), key=lambda made: made.case_id)


def test_two_runs_of_one_seed_are_equal(start: Start) -> None:
    assert start(world(), folder="one").results_digest() == start(world(), folder="two").results_digest()


def test_another_model_in_a_role_is_a_change_of_the_study(start: Start, tmp_path: Path) -> None:
    start(world())
    other = STUDY.replace("attacker: toy/helper", "attacker: toy/b")
    with pytest.raises(UsageError, match="toy/b"):
        start(world(other=rewrites), other)
    newer = World({"toy/a": gives_in, "toy/helper": rewrites}, version=2)
    with pytest.raises(UsageError, match="toy/helper@2"):
        start(newer)
    run = start(newer, extend=True)
    assert len(newer["toy/helper"].ended) == CASES * 2, "another helper makes other artifacts"
    assert {made.crafted_on for made in artifacts(run)} == {"toy/a@1", "toy/a@2"}


@pytest.mark.parametrize("made", ["another case", "nothing"])
def test_a_wrong_draft_is_told(start: Start, made: str) -> None:
    text = SCRIPT.replace("{name: toy_script, turns: 3}", f"{{name: toy_wrong_draft, gives: {made}}}")
    with pytest.raises(ContractError, match="'toy_wrong_draft': converse gave no draft of case toy/0"):
        start(world(), text)


def test_responses_of_a_script_show_every_turn(start: Start) -> None:
    talks = world(target=lambda asked: f"reply {len(asked.turns)}")
    run = start(talks, SCRIPT)
    assert {len(made.follow_ups) for made in artifacts(run)} == {2}
    for row in answers(run):
        assert row["replies"] == ["reply 1", "reply 3"]
        assert row["text"] == "reply 5"
        assert [call["purpose"] for call in row.get("calls", [])] == []
        assert row["cost"]["calls_target"] == 3


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Conversation, Response]]:
    """What the toy judge is shown, and the reply that it judges."""
    found: list[tuple[Conversation, Response]] = []
    judge = toys.ToyJudge.judge

    async def noting(self: toys.ToyJudge, case: Case, shown: Conversation, response: Response) -> Verdict:
        found.append((shown, response))
        return await judge(self, case, shown, response)

    monkeypatch.setattr(toys.ToyJudge, "judge", noting)
    return found


def test_the_judge_sees_the_whole_dialogue(start: Start, judged: list[tuple[Conversation, Response]]) -> None:
    start(world(target=lambda asked: f"reply {len(asked.turns)}"), SCRIPT)
    said = sorted([turn.text for turn in shown.turns] for shown, _ in judged)
    wanted = ["turn 1 of question {}", "reply 1", "turn 2 of question {}", "reply 3", "question {}"]
    assert said == [[text.format(number) for text in wanted] for number in range(CASES)]
    assert {response.text for _, response in judged} == {"reply 5"}


def test_a_reply_that_a_provider_blocks_ends_the_script(
    start: Start, judged: list[tuple[Conversation, Response]]
) -> None:
    times = Counter[str]()

    def blocks(asked: Conversation) -> Said:
        times[str(asked)] += 1
        if len(asked.turns) == 3 and times[str(asked)] == 2:  # the answer stage says it again
            return Response(text="", stop="content_filter")
        return f"reply {len(asked.turns)}"

    talks = world(target=blocks)
    run = start(talks, SCRIPT)
    assert [(row["stop"], row["replies"]) for row in answers(run)] == [
        ("content_filter", ["reply 1"])
    ] * CASES
    assert [len(shown.turns) for shown, _ in judged] == [3] * CASES, "the last turn was not sent"
    assert len(talks["toy/a"].asked) == CASES * (3 + 2)


def test_what_is_told_at_the_end_fits_what_failed(start: Start) -> None:
    """A helper that says no says so again from the log; one that is down may be asked again."""
    lasting = start(world(helper=lambda _: "No."), folder="refuses").findings()
    assert lasting.lasting == lasting.unscored == lasting.verdicts == CASES
    assert lasting.cure.startswith("no retry helps: mend the case or the study")
    assert "--extend" in lasting.cure
    assert "--retry-errors" not in lasting.cure
    for down in ("helper", "target"):
        passing = start(world(**{down: lambda _: TransientError("429")}), folder=down).findings()
        assert (passing.unscored, passing.lasting) == (CASES, 0)
        assert passing.cure == "fix it, then run the same command again with --retry-errors"
    both = start(
        world(helper=lambda asked: "No." if "question 1" in str(asked) else TransientError("429")),
        folder="both",
    ).findings()
    assert (both.unscored, both.lasting) == (CASES, 1)
    assert "--retry-errors" in both.cure
    assert "--extend" in both.cure
