"""Attacks that converse inside Inspect: roles, the evaluated model as target, scripts played."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import talking_toys  # noqa: F401  (registers the toys)
from inspect_ai import eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import EvalLog, read_eval_log

from sightline.api.runs import finish
from sightline.bridge.outputs import KEY
from sightline.study.config import parse
from sightline.study.run import Run

RULES = """
rules:
  - reply: "sure: <ask>again: {user}</ask>"
"""
Evaluate = Callable[..., EvalLog]


@pytest.fixture
def helper(tmp_path: Path) -> str:
    path = tmp_path / "helper.yaml"
    path.write_text(RULES)
    return f"scripted/{path}"


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    def run(model: str, helpers: dict[str, Any] | None = None, **args: Any) -> EvalLog:
        [log] = eval(
            "sightline/testbed_requests",
            model=model,
            model_roles=helpers or {},
            task_args={"limit": 2, **args},
            log_dir=str(tmp_path / "logs"),
            display="none",
            ctl_server=False,
        )
        return read_eval_log(log.location, resolve_attachments=True)

    return run


def test_a_script_is_played_turn_by_turn_as_in_a_study(evaluate: Evaluate, tmp_path: Path) -> None:
    log = evaluate("scripted/echo", attack="toy_script")
    assert log.status == "success"
    said = [message.text for message in log.samples[0].messages]
    behavior = log.samples[0].metadata[KEY]["case"]["behavior"]
    turns = [f"turn 1 of {behavior}", f"turn 2 of {behavior}", behavior]
    assert said == [text for turn in turns for text in (turn, turn)]
    study = parse(
        "study: s\nbenchmarks: [{name: testbed_requests, limit: 2}]\ntargets: [scripted/echo]\n"
        "attacks: [toy_script]\njudges: [testbed_policy]\n"
    )
    run = Run(study, tmp_path / "run")
    run.prepare()
    finish(run)
    rows = pq.read_table(tmp_path / "run" / "results.parquet").to_pylist()
    ours = {row["case_id"]: row["outcome"] for row in rows}
    assert {sample.id: sample.scores["judged"].value for sample in log.samples} == ours


def test_roles_by_task_argument_and_by_inspect(evaluate: Evaluate, helper: str) -> None:
    judge = {"in_loop_judge": "refusal_prefix"}
    ours = evaluate("scripted/echo", attack="toy_rewriter", roles={"attacker": helper, **judge})
    theirs = evaluate("scripted/echo", helpers={"attacker": helper}, attack="toy_rewriter", roles=judge)
    for log in (ours, theirs):
        assert log.status == "success"
        assert log.samples[0].messages[0].text.startswith("again: ")
        calls = log.samples[0].metadata[KEY]["artifact"]["calls"]
        assert [call["purpose"] for call in calls] == ["attacker", "target", "in_loop_judge"]


@pytest.mark.parametrize(
    ("roles", "why"),
    [
        ({}, "'attacker': .* --model-role attacker=MODEL"),
        ({"attacker": "scripted/echo", "in_loop_judge": "testbed_policy"}, "must not be a judge that scores"),
        ({"atacker": "scripted/echo"}, "unknown role 'atacker'. Did you mean 'attacker'"),
        ({"target": "scripted/echo"}, "'target' is no role to fill, it is the model that is evaluated"),
    ],
)
def test_what_is_wrong_with_roles_is_told(evaluate: Evaluate, roles: dict[str, str], why: str) -> None:
    with pytest.raises(PrerequisiteError, match=why):
        evaluate("scripted/echo", attack="toy_rewriter", roles=roles)
