"""Several defenses around each other, and helpers of defenses, in a study."""

import pytest
import yaml

from sightline import registry
from sightline.errors import UsageError
from sightline.study.config import parse

STUDY = {
    "study": "s",
    "benchmarks": ["testbed_requests"],
    "targets": ["scripted/echo"],
    "judges": ["refusal_prefix"],
}


def study(**more):
    return parse(yaml.safe_dump(STUDY | more), name="s.yaml")


def test_a_list_is_a_stack_outermost_first_and_order_is_identity():
    found = study(
        defenses=[
            "none",
            ["system_prompt", "self_moderation"],
            ["self_moderation", {"name": "system_prompt", "prompt": "detailed"}],
            {"stack": ["self_moderation", "system_prompt"], "label": "both"},
        ]
    ).defenses
    assert [each.label for each in found] == [
        "none",
        "system_prompt + self_moderation",
        "self_moderation + system_prompt",
        "both",
    ]
    names = [each.around("scripted/echo") for each in found]
    assert names[0] == "scripted/echo"
    assert names[1].startswith("defended/system_prompt")
    assert ":defended/self_moderation" in names[1]
    assert len(set(names)) == 4
    assert [each.calls for each in found] == [1, 3, 3, 3]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ([[]], "a stack has at least one defense"),
        ([{"stack": []}], "a stack has at least one defense"),
        ([["self_moderation", ["system_prompt"]]], "a stack is one list"),
        ([["none", "self_moderation"]], "`none` and labels stand outside"),
        ([[{"name": "self_moderation", "label": "x"}]], "labels stand outside"),
        ([{"stack": ["self_moderation"], "rounds": 2}], "settings stand with the members"),
        ([{"stack": ["self_moderation"], "name": "x"}], "settings stand with the members"),
        ([{"preset": "testbed"}], "a defense has a `name:`, or `stack:`"),
        ([["self_moderatoin"]], "Did you mean 'self_moderation'"),
        ([["self_moderation"], ["self_moderation"]], "stands here twice"),
    ],
)
def test_a_wrong_stack_is_told(entry, told):
    with pytest.raises(UsageError, match=told):
        study(defenses=entry)


def test_a_stack_runs_and_is_in_the_lock(tmp_path):
    import sightline as sl

    made = sl.Study(
        "s",
        benchmarks=[{"name": "testbed_requests", "limit": 4}],
        targets=["scripted/echo"],
        defenses=["none", ["system_prompt", "self_moderation"]],
        judges=["refusal_prefix"],
    )
    run = made.run(out=tmp_path / "run", quiet=True)
    assert len(run.samples()) == 8
    text = (tmp_path / "run" / "study.lock.yaml").read_text("utf-8")
    lock = yaml.safe_load(text.partition("\n")[2])
    bare, stack = lock["defenses"]
    assert "spec" not in bare
    assert [each["spec"] for each in stack["stack"]] == [
        registry.spec(registry.make("defense", name)) for name in ("system_prompt", "self_moderation")
    ]
    assert sl.load(tmp_path / "run").report().exists()


def test_judge_human_without_labels_is_refused_before_anything_is_made(tmp_path):
    from sightline.study.run import Run

    with pytest.raises(UsageError, match="judge human needs labels: write human"):
        Run(study(judges=["human"]), tmp_path / "run").prepare()
    assert not (tmp_path / "run").exists()
