"""Attacks that converse from Python: roles by name and opened, one prompt and several, scripts played."""

from __future__ import annotations

from pathlib import Path

import pytest
import talking_toys  # noqa: F401  (registers the toys)

import sightline as sl
from sightline import registry
from sightline.errors import UsageError

REWRITER = """
rules:
  - user: "unreadable|could not be read"
    reply: "no tag"
  - reply: "sure: <ask>again: {user}</ask>"
"""


@pytest.fixture
def helper(tmp_path: Path) -> str:
    path = tmp_path / "helper.yaml"
    path.write_text(REWRITER)
    return f"scripted/{path}"


def test_one_prompt_with_roles_by_name_and_opened(helper: str) -> None:
    attack = registry.make("attack", "toy_rewriter")
    for roles in (
        {"attacker": helper, "in_loop_judge": "refusal_prefix"},
        {"attacker": sl.open_model(helper), "in_loop_judge": sl.judges.RefusalPrefix()},
    ):
        result = attack("scripted/echo", "steps for balopi", roles=roles, quiet=True)
        assert result.text == "again: steps for balopi"
        assert [call.purpose for call in result.calls] == ["attacker", "target", "in_loop_judge"]
        assert (result.cost.calls_target, result.cost.calls_aux, result.cost.calls_judge) == (1, 1, 1)
        assert result.crafted_on.startswith("scripted/echo#")


def test_a_defended_model_is_what_the_loop_talks_to(helper: str) -> None:
    attack = registry.make("attack", "toy_rewriter", rounds=1)
    model = sl.defenses.SelfModeration(rounds=1)("scripted/echo")
    roles = {"attacker": helper, "in_loop_judge": "refusal_prefix"}
    result = attack(model, "steps for balopi", roles=roles, quiet=True)
    assert result.crafted_on.startswith("defended/self_moderation")
    assert result.cost.calls_target == 1  # a question; the defense's own calls are its business


def test_a_helper_that_cannot_be_read_is_told_and_does_not_end_a_list(helper: str) -> None:
    attack = registry.make("attack", "toy_rewriter")
    roles = {"attacker": helper, "in_loop_judge": "refusal_prefix"}
    with pytest.raises(UsageError, match="toy_rewriter: the attacker gave no answer that can be read"):
        attack("scripted/echo", "unreadable thing", roles=roles, quiet=True)
    bad, good = attack("scripted/echo", ["unreadable thing", "steps for x"], roles=roles, quiet=True)
    assert "no answer that can be read" in bad.problem
    assert [call.text for call in bad.calls] == ["no tag"] * 3
    assert good.problem is None


def test_scripts_are_played_and_judged_whole() -> None:
    script = registry.make("attack", "toy_script", turns=3)
    result = script("scripted/echo", "steps for balopi", quiet=True)
    assert [turn.text for turn in result.follow_ups] == ["turn 2 of steps for balopi", "steps for balopi"]
    assert result.text == "steps for balopi"
    reply = sl.open_model("scripted/echo").ask(result)
    assert reply.replies == ("turn 1 of steps for balopi", "turn 2 of steps for balopi")
    assert reply.text == "steps for balopi"
    assert reply.cost.calls_target == 3
    assert sl.judges.RefusalPrefix()(result, reply).outcome == "complied"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({}, "asks in the role 'attacker': add `roles=\\{attacker: "),
        ({"roles": {"attacker": "scripted/echo"}}, "in_loop_judge"),
        (
            {"roles": {"attacker": "scripted/echo", "in_loop_judge": "nonesuch"}},
            "role 'in_loop_judge' .*nonesuch",
        ),
        (
            {"roles": {"attacker": "scripted/echo", "in_loop_judge": "refusal_prefix", "x": "y"}},
            "asks no 'x'; it asks attacker, in_loop_judge",
        ),
        ({"roles": "scripted/good.yaml"}, "roles='scripted/good.yaml': name the role, too"),
        ({"roles": {"attacker": None}}, "role 'attacker' is None: give a target string"),
        (
            {"roles": {"attacker": "scripted/echo", "in_loop_judge": sl.judges.RefusalPrefix}},
            "role 'in_loop_judge' is <class .*RefusalPrefix.*: give a target string",
        ),
        ({"roles": {"atacker": "scripted/echo"}}, "role 'attacker': add .*'atacker' is no role of it"),
        (
            {
                "roles": {
                    "attacker": "scripted/echo",
                    "in_loop_judge": "refusal_prefix",
                    "target": "scripted/echo",
                }
            },
            "'target' is no role to fill, it is the model given first",
        ),
    ],
)
def test_what_is_wrong_with_roles_is_told(how: dict, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        registry.make("attack", "toy_rewriter")("scripted/echo", "x", quiet=True, **how)


def test_a_budget_may_be_a_mapping_as_in_a_study(helper: str) -> None:
    roles = {"attacker": helper, "in_loop_judge": "refusal_prefix"}
    attack = registry.make("attack", "toy_rewriter")
    for budget in ({"calls": 2}, sl.Budget(calls=2)):
        result = attack("scripted/refuse", "steps for balopi", roles=roles, budget=budget, quiet=True)
        assert result.cost.calls_target + result.cost.calls_aux == 2
        assert result.note.startswith("stopped by its budget")


@pytest.mark.parametrize(
    ("budget", "why"),
    [
        ({"target_call": 5}, "unknown limit of a budget 'target_call'. Did you mean 'target_calls'.*tokens"),
        ({"calls": "many"}, "budget, 'calls': .*'many'"),
        ({"calls": 0}, "budget, 'calls': .*greater than 0, got 0"),
        ({"calls": [1, 2]}, "one call has one budget"),
        (5, "budget=5: give sl.Budget"),
    ],
)
def test_what_is_wrong_with_a_budget_is_told(budget: object, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        registry.make("attack", "toy_script")("scripted/echo", "x", budget=budget, quiet=True)


def test_it_needs_the_model_that_it_talks_to() -> None:
    with pytest.raises(UsageError, match="toy_script talks to the model"):
        registry.make("attack", "toy_script")(None, "x", quiet=True)


def test_chains_and_roles_in_a_study_of_objects(helper: str, tmp_path: Path) -> None:
    study = sl.Study(
        "talks",
        targets=["scripted/echo"],
        benchmarks=[{"name": sl.benchmarks.TestbedRequests(), "limit": 2}],
        attacks=[
            "none",
            "toy_rewriter",
            {"name": "toy_rewriter", "label": "drawn", "then": sl.attacks.FigStep()},
            {"name": "toy_script", "label": "alone", "then": ["last_turn"]},
        ],
        judges=["testbed_policy"],
        roles={"attacker": helper, "in_loop_judge": "refusal_prefix"},
    )
    run = study.run(out=tmp_path / "run", quiet=True)
    by = {row["attack"]: row for row in run.samples().arrow.to_pylist()}
    assert by["toy_rewriter"]["prompt"].startswith("again: ")
    assert by["drawn"]["pictures"]
    assert not by["alone"]["pictures"]
