"""Studies of attacks that converse as they are read: roles, oracle, targets, budgets, grids, chains."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import talking_toys  # noqa: F401  (registers the toy attacks)
import toys  # noqa: F401
from speakers import World

from sightline.api.runs import finish
from sightline.budget import STOPPED
from sightline.cases import Conversation
from sightline.errors import UsageError
from sightline.plain import artifact_of
from sightline.records import Artifact
from sightline.report.budgets import stopped
from sightline.report.results import Results
from sightline.report.trust import warnings_of
from sightline.study.config import parse
from sightline.study.lock import read
from sightline.study.plan import plan
from sightline.study.run import Run
from sightline.tables import Table

STUDY = """study: talks
benchmarks: [{name: toy_questions, n: 3}]
targets: [toy/a, toy/b]
defenses: [none, toy_filter]
judges: [toy_judge]
retries: 0
roles:
  attacker: toy/helper
  in_loop_judge: refusal_prefix
attacks:
  - name: toy_rewriter
"""
CASES = 2
ATTACK_LINE = 11


def edited(entry: str, *changes: tuple[str, str]) -> str:
    text = STUDY.replace("name: toy_rewriter", entry)
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


NO_ROLES = ("roles:\n  attacker: toy/helper\n  in_loop_judge: refusal_prefix\n", "")
REWRITER = "name: toy_rewriter"
SCRIPT = "name: toy_script"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (edited(REWRITER, NO_ROLES), 8, r"role 'attacker': add `roles: \{attacker: ...\}`.*a target"),
        (
            edited(REWRITER, ("  in_loop_judge: refusal_prefix\n", "")),
            10,
            r"role 'in_loop_judge': add .*a judge other than those that score",
        ),
        (
            edited(REWRITER, ("attacker:", "atacker:")),
            11,
            "role 'attacker': add `roles:.*'atacker' is no role of it: write 'attacker'",
        ),
        (
            edited(REWRITER, ("  attacker: toy/helper", "  translator: toy/helper")),
            11,
            "gpt-4o-mini or vlm/FOLDER$",
        ),
        (
            edited(REWRITER, ("roles:", "roles:\n  target: toy/a")),
            7,
            "'target' is no role to fill, each of `targets:` is one",
        ),
        (
            edited(REWRITER, ("attacker: toy/helper", "attacker: {name: toy/helper}")),
            8,
            "a role is one text: a target .* a judge too.*got {'name': 'toy/helper'}",
        ),
        (
            edited(REWRITER, ("refusal_prefix", "model_graded(grader=scripted/judge.yaml)")),
            9,
            "put quotes around values .*: grader='scripted/judge.yaml'",
        ),
        (edited("name: chain(steps=[toy_plain])"), 11, "put quotes around values in lists"),
        (
            edited(SCRIPT + "\n    oracle: defended", ("[none, toy_filter]", "[none]")),
            12,
            "no defense in this study: oracle defended has nothing to adapt to",
        ),
        (edited(SCRIPT + "\n    then: {name: toy_dots, then: toy_plain}"), 12, r"one list: `then: \[a, b\]`"),
        (
            edited(REWRITER, ("roles:", "roles:\n  captionr: toy/helper")),
            7,
            "unknown role 'captionr'. Did you mean 'captioner'",
        ),
        (
            edited(REWRITER, ("in_loop_judge: refusal_prefix", "in_loop_judge: toy_judge")),
            9,
            "must not be a judge that scores.*both are toy_judge",
        ),
        (
            edited(REWRITER, ("in_loop_judge: refusal_prefix", "in_loop_judge: toy_judge(remark=x)")),
            9,
            "both are toy_judge",
        ),
        (
            edited(
                REWRITER,
                ("in_loop_judge: refusal_prefix", "in_loop_judge: toy/grader"),
                ("[toy_judge]", "[\"model_graded(grader='toy/grader')\"]"),
            ),
            9,
            "both ask toy/grader",
        ),
        (
            edited(
                REWRITER,
                ("in_loop_judge: refusal_prefix", "in_loop_judge: toy/grader"),
                ("[toy_judge]", "[\"model_graded(grader=('toy/other', 'toy/grader', 'toy/third'))\"]"),
            ),
            9,
            "both ask toy/grader",
        ),
        (
            edited(
                REWRITER,
                ("in_loop_judge: refusal_prefix", "in_loop_judge: defended/toy_filter:toy/grader"),
                ("[toy_judge]", "[\"injected_goal(grader='toy/grader')\"]"),
            ),
            9,
            "both ask toy/grader",
        ),
        (
            edited(REWRITER, ("in_loop_judge: refusal_prefix", "in_loop_judge: refusal_prefx")),
            9,
            "refusal_prefx.*Did you mean 'refusal_prefix'",
        ),
        (edited(REWRITER + "\n    oracle: none"), 12, "its oracle is undefended or defended"),
        (edited(REWRITER + "\n    oracle: dfended"), 12, "oracle"),
        (edited("name: toy_plain\n    oracle: defended"), 12, "asks no target: its oracle is none"),
        (edited("name: toy_plain\n    talks_to: toy/a"), 12, "asks no target; leave `talks_to` out"),
        (
            edited(REWRITER + "\n    oracle: defended\n    talks_to: toy/a"),
            12,
            "toy/a is undefended",
        ),
        (edited("name: toy_plain\n    budget: {target_calls: 3}"), 12, "nothing that a budget limits"),
        (edited(REWRITER + "\n    budget: {target_call: 3}"), 12, "target_calls"),
        (edited(REWRITER + "\n    budget: {target_calls: [3, 3]}"), 12, "are no levels"),
        (edited(REWRITER + "\n    budget: {target_calls: [1], tokens: [5]}"), 12, "of one quantity"),
        (edited(REWRITER + "\n    grid:\n      runds: [1, 2]"), 11, "runds"),
        (edited(REWRITER + "\n    grid:\n      rounds: []"), 13, "at least 1 item"),
        (edited(REWRITER + "\n    grid:\n      rounds: [1, 1]"), 13, "holds a value twice"),
        (edited(REWRITER + "\n    rounds: 2\n    grid:\n      rounds: [1, 2]"), 14, "stands beside the grid"),
        (edited(REWRITER + "\n    then: toy_dts"), 12, "toy_dots"),
        (edited(REWRITER + "\n    then: {name: toy_script, turs: 2}"), 12, "turs"),
    ],
)
def test_what_does_not_fit_names_its_line_and_the_cure(text: str, line: int, told: str) -> None:
    with pytest.raises(UsageError, match=rf"^talks.yaml:{line}: .*{told}"):
        parse(text, name="talks.yaml")


def test_the_graded_judge_and_the_columns_that_the_protocol_writes_are_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    head = STUDY.partition("roles:")[0].replace("toy/b", "testbed/linear")
    found = Counter(column.series for column in parse(head + block).attacks)
    assert found == {
        "gcg": 2 * 3,  # levels and seeds
        "pair": 2 * 2,  # targets and defenses
        "written [family=fiction]": 1,
        "written [family=persona_dual]": 1,
        "crescendo": 1,
        "last turn": 1,
    }
    columns = {column.series: column for column in parse(head + block).attacks}
    assert columns["pair"].roles["in_loop_judge"] == "model_graded(grader='scripted/judge.yaml')"
    assert columns["crescendo"].talks_to == columns["last turn"].talks_to == "testbed/linear"


def test_a_role_that_no_attack_asks_may_stand() -> None:
    assert parse(edited("name: toy_plain")).attacks[0].roles == {}
    assert parse(edited("name: toy_script")).attacks[0].roles == {}


def labels(text: str) -> list[str]:
    return list(dict.fromkeys(column.label for column in parse(text).attacks))


def test_labels_of_grids_levels_and_chains() -> None:
    grid = edited(REWRITER + "\n    grid: {rounds: [1, 2]}\n    budget: {target_calls: [3, 2]}")
    assert labels(grid) == [
        f"toy_rewriter [rounds={n}] [target_calls={calls}]" for n in (1, 2) for calls in (2, 3)
    ]
    both = edited(SCRIPT + "\n    label: script\n    then: toy_dots\n    grid: {turns: [1, 2]}\n    seeds: 2")
    assert labels(both) == [f"script [turns={n}] [seed {seed}]" for n in (1, 2) for seed in (0, 1)]
    steps = [column.attack.steps for column in parse(both).attacks]  # type: ignore[attr-defined]
    assert set(steps) == {("toy_script(turns=1)", "toy_dots"), ("toy_script(turns=2)", "toy_dots")}


def says_sorry(asked: Conversation) -> str:
    return "I cannot: " + asked.last_user_text()


def helps(asked: Conversation) -> str:
    return f"<ask>{asked.last_user_text()}+</ask>"


def world() -> World:
    return World({"toy/a": says_sorry, "toy/b": says_sorry, "toy/helper": helps})


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    def run(opened: World, text: str, folder: str = "run") -> Run:
        monkeypatch.setattr("sightline.targets.open_target", opened.open)
        found = Run(parse(text), tmp_path / folder)
        found.prepare()
        finish(found)
        return found

    return run


def artifacts(run: Run) -> list[Artifact]:
    with Table(run.records / "craft") as table:
        return [artifact_of(row) for row in table]


def results(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run.folder / "results.parquet").to_pylist()
    return rows


def filtered(asked: Conversation) -> bool:
    return asked.turns[0].text == "filtered"


def test_undefended_every_target_is_talked_to_and_shown_its_script_behind_every_defense(start: Start) -> None:
    talks = world()
    run = start(talks, edited(SCRIPT))
    assert Counter(made.crafted_on for made in artifacts(run)) == {"toy/a@1": CASES, "toy/b@1": CASES}
    assert len({made.key for made in artifacts(run)}) == 2 * CASES
    rows = results(run)
    assert Counter((row["target"], row["defense"], row["crafted_on"], row["oracle"]) for row in rows) == {
        (target, defense, f"{target}@1", "undefended"): CASES
        for target in ("toy/a", "toy/b")
        for defense in ("none", "toy_filter")
    }
    for name in ("toy/a", "toy/b"):
        assert Counter(map(filtered, talks[name].ended)) == {False: 2 * CASES * 3, True: CASES * 3}


def test_defended_each_cell_has_artifacts_that_its_own_loop_made(start: Start) -> None:
    talks = world()
    run = start(talks, edited(SCRIPT + "\n    oracle: defended"))
    made = artifacts(run)
    assert len({each.key for each in made}) == 4 * CASES
    assert len({each.crafted_on for each in made}) == 4
    rows = results(run)
    assert len(rows) == 4 * CASES
    for row in rows:
        assert row["oracle"] == ("undefended" if row["defense"] == "none" else "defended")
        assert row["target"] in row["crafted_on"]
        assert ("toy_filter" in row["crafted_on"]) == (row["defense"] == "toy_filter")
    for name in ("toy/a", "toy/b"):  # crafting and answering take three turns each
        assert Counter(map(filtered, talks[name].ended)) == {False: CASES * 6, True: CASES * 6}


def test_one_script_is_shown_to_all_where_the_attack_talks_to_one(start: Start) -> None:
    talks = world()
    run = start(talks, edited(SCRIPT + "\n    talks_to: toy/a"))
    made = artifacts(run)
    assert [each.crafted_on for each in made] == ["toy/a@1"] * CASES
    rows = results(run)
    assert Counter(row["target"] for row in rows) == {"toy/a": 2 * CASES, "toy/b": 2 * CASES}
    assert len({row["artifact"] for row in rows}) == CASES
    assert len(talks["toy/b"].ended) == 2 * CASES * 3, "it is asked for answers alone"


def test_a_script_of_the_defended_target_transfers_too(start: Start) -> None:
    run = start(world(), edited(SCRIPT + "\n    talks_to: defended/toy_filter():toy/a"))
    assert {row["oracle"] for row in results(run)} == {"defended"}


def test_the_plan_counts_calls_by_role(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.targets.open_target", world().open)
    run = Run(parse(edited(REWRITER + "\n    rounds: 2\n    talks_to: toy/a")), tmp_path / "run")
    run.prepare()
    found = plan(run.context, run.folder)
    assert {(share.name, share.calls) for share in found.asked} == {
        ("attacker toy/helper (crafting)", 6 * CASES),
        ("target toy/a (crafting)", 2 * CASES),
        ("in_loop_judge refusal_prefix (crafting)", 2 * CASES),
    }


@pytest.mark.parametrize("limit", ["target_calls", "aux_calls", "judge_calls", "calls"])
def test_the_end_of_a_budget_keeps_the_best_so_far(start: Start, limit: str) -> None:
    run = start(world(), edited(f"{REWRITER}\n    talks_to: toy/a\n    budget: {{{limit}: 2}}"))
    rounds = {"target_calls": 2, "aux_calls": 2, "judge_calls": 3, "calls": 1}[limit]
    for made in artifacts(run):
        assert made.problem is None
        assert made.conversation.last_user_text().count("+") == rounds
        assert made.note.startswith(f"{STOPPED}: toy_rewriter: the budget's {limit} are used up")
        spent = {
            "target_calls": made.cost.calls_target,
            "aux_calls": made.cost.calls_aux,
            "judge_calls": made.cost.calls_judge,
            "calls": made.cost.calls_target + made.cost.calls_aux,
        }
        assert spent[limit] == 2
        assert len(made.calls) == sum(
            (made.cost.calls_target, made.cost.calls_aux, made.cost.calls_judge),
        )


def test_no_call_begins_once_the_tokens_are_used_up(start: Start) -> None:
    run = start(world(), edited(f"{REWRITER}\n    talks_to: toy/a\n    budget: {{tokens: 10}}"))
    for made in artifacts(run):
        *before, last = [call.tokens_in + call.tokens_out for call in made.calls]
        assert sum(before) < 10 <= sum(before) + last or made.calls[-1].purpose == "in_loop_judge"
        assert made.problem is None
    run = start(world(), edited(f"{REWRITER}\n    talks_to: toy/a\n    budget: {{tokens: 1}}"), "poor")
    for made in artifacts(run):
        assert made.problem is not None
        assert made.problem.endswith("before there was a first draft")
        assert [call.purpose for call in made.calls] == ["attacker"]
    assert {row["outcome"] for row in results(run)} == {"error"}


def test_levels_of_a_budget_are_columns_of_one_series(start: Start) -> None:
    run = start(world(), edited(f"{REWRITER}\n    talks_to: toy/a\n    budget: {{target_calls: [1, 2]}}"))
    rows = results(run)
    assert Counter((row["series"], row["budget"]) for row in rows) == {
        ("toy_rewriter", "target_calls=1"): 4 * CASES,
        ("toy_rewriter", "target_calls=2"): 4 * CASES,
    }
    assert {row["craft_calls"] for row in rows} == {1 + 2, 2 + 3}


@pytest.mark.parametrize("group", ["true", "false"])
def test_calls_under_way_count_against_the_budget(start: Start, group: str) -> None:
    talks = world()
    entry = f"name: toy_branches\n    group: {group}\n    talks_to: toy/a\n    budget: {{target_calls: 4}}"
    run = start(talks, edited(entry))
    made = artifacts(run)
    assert talks["toy/a"].most_at_once >= 4
    assert all(each.cost.calls_target <= 4 for each in made)
    assert all("stopped by its budget" in each.note for each in made)
    if group == "false":  # the tasks of a group are cancelled with the one that finds the budget used up
        assert [(each.cost.calls_target, len(each.calls)) for each in made] == [(4, 4)] * CASES
    assert len(talks["toy/a"].asked) == 4 * CASES + 2 * CASES, "and once behind each defense"


def test_artifacts_that_a_budget_stopped_are_a_caution(start: Start) -> None:
    poor = start(world(), edited(f"{REWRITER}\n    talks_to: toy/a\n    budget: {{target_calls: 1}}"))
    (told,) = budgets_of(poor)
    made = artifacts(poor)
    assert told.startswith(
        f"toy_rewriter: {len(made)} of {len(made)} artifacts were stopped by their budget; "
    )
    levels = "budget: {target_calls: [1, 2]}"
    run = start(world(), edited(f"{REWRITER}\n    talks_to: toy/a\n    {levels}"), "levels")
    assert budgets_of(run) == [], "to be stopped is the point of a level"
    eager = "name: toy_eager\n    talks_to: toy/a\n    budget: {calls: 1}"
    run = start(world(), edited(eager), "eager")
    (told,) = budgets_of(run)
    assert f"{CASES} of {CASES} artifacts were stopped by their budget, {CASES} of them before the " in told
    with Results(run.folder) as held:
        assert told in warnings_of(run.folder, read(run.folder), held)


def budgets_of(run: Run) -> list[str]:
    with Results(run.folder) as results:
        return stopped(results)


def test_the_same_grader_by_another_name_is_refused_before_anybody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judge.yaml").write_text("rules: [{reply: 'no'}]")
    (tmp_path / "other.yaml").write_text("rules: [{reply: 'yes'}]")
    text = edited(
        REWRITER,
        ("[toy/a, toy/b]", "[scripted/echo]"),
        ("attacker: toy/helper", "attacker: scripted/echo"),
        ("[toy_judge]", "[\"model_graded(grader='scripted/judge.yaml')\"]"),
    )
    filtered_one = "defended/system_prompt:scripted/./judge.yaml"
    for same in ("scripted/./judge.yaml", f"scripted/{tmp_path}/judge.yaml", filtered_one):
        study = text.replace("in_loop_judge: refusal_prefix", f"in_loop_judge: {same}")
        with pytest.raises(UsageError, match="which a judge that scores asks, too"):
            Run(parse(study), tmp_path / "run").prepare()
        assert not (tmp_path / "run").exists()
    other = text.replace("in_loop_judge: refusal_prefix", "in_loop_judge: scripted/other.yaml")
    Run(parse(other), tmp_path / "run").prepare()
