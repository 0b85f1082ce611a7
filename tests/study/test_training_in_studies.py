"""`train:` of a study: trained before anything is crafted, found again, and told by line."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.errors import UsageError
from sightline.study.config import parse
from sightline.study.named import TrainedRun
from sightline.study.progress import Silent
from sightline.study.run import Run
from sightline.study.training import expanded

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("transformers") is None, reason="needs the extra `local`"
)
ROWS = "testbed_training(style='considered')"
STUDY = """
study: trained
train:
  - label: sft
    recipe: "safety_sft(preset='testbed', steps=2, batch=2, every=1, general='given', pairs=False, ratio=1.0)"
    base: testbed/linear
    rows: "testbed_training(subset='requests', layout='figstep')"
    checkpoints: true
  - label: tampered
    recipe: "ft_attack(preset='testbed', kind='identity', steps=1, batch=2)"
    base: sft
    rows: "testbed_training(subset='requests', layout='figstep')"
benchmarks: [{name: BENCHMARK, limit: 2}]
attacks:
  - none
  - {name: qi_visual, preset: testbed, surrogate: sft, label: qi, budget: {backwards: 1}}
judges: [testbed_policy]
"""


class Notes(Silent):
    """Keeps what a run notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def prepared(folder: Path, text: str = STUDY, benchmark: str = "testbed_requests", **settings: Any) -> Any:
    notes = Notes()
    run = Run(parse(text.replace("BENCHMARK", benchmark), name="a.yaml"), folder / "run", notes, **settings)
    run.prepare()
    return run, notes.notes


@pytest.mark.slow
def test_trained_targets_are_targets_and_are_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    dry, _ = prepared(tmp_path / "dry", train=False)
    assert [(each.label, each.there, each.steps, each.targets) for each in dry.untrained] == [
        ("sft", 0, 2, 2),
        ("tampered", 0, 1, 1),
    ]
    assert [each.label for each in dry.study.attacks] == ["none"]
    run, notes = prepared(tmp_path)
    names: Sequence[str] = run.study.targets
    step, final, tampered = names
    assert step == final.replace(":", "/step-1:")
    assert tampered.startswith("tuned/ft_attack@")
    assert tampered.endswith(f":{final}")
    assert [note.split(",")[0] for note in notes] == [
        "training sft on testbed/linear",
        "trained sft on testbed/linear",
        f"training tampered on {final}",
        f"trained tampered on {final}",
    ]
    assert run.study.decoding.max_tokens == 128
    own = run.study.attacks[1]
    assert (own.label, own.surrogates, own.answered_by) == ("qi", (final,), (final, None))
    first, second = run.study.trained
    assert (first.label, first.base, first.steps, first.rows) == ("sft", "testbed/linear", 2, 4)
    assert first.checkpoints == ((1, step),)
    assert (second.base, second.target, second.checkpoints) == (final, tampered, ())
    lock = yaml.safe_load((tmp_path / "run" / "study.lock.yaml").read_text("utf-8"))
    assert lock["trained"][0]["checkpoints"] == [[1, step]]
    run.craft()
    again, notes = prepared(tmp_path, train=False)
    assert again.study.targets == names
    assert [each.runs - each.there for each in again.untrained] == [0, 0]
    assert notes == []


def test_what_is_measured_is_not_trained_on(tmp_path: Path) -> None:
    benchmark = "\"testbed_training(subset='requests', layout='figstep')\""
    with pytest.raises(UsageError, match=r"a.yaml:4.*cases to be measured are among the rows to train on"):
        prepared(tmp_path, benchmark=benchmark)


def test_the_judge_that_rewards_is_not_the_only_one_that_reports() -> None:
    text = STUDY.replace("BENCHMARK", "testbed_requests")
    line = next(each for each in text.splitlines() if "safety_sft(" in each)
    rewarded = text.replace(line, "    recipe: \"safety_rl(preset='testbed', reward='testbed_policy')\"")
    with pytest.raises(UsageError, match=r"a.yaml:4.*sft is rewarded by 'testbed_policy', the only judge"):
        parse(rewarded, name="a.yaml")
    both = rewarded.replace("judges: [testbed_policy]", "judges: [refusal_prefix, testbed_policy]")
    assert len(parse(both, name="a.yaml").trainings) == 2


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("safety_sft(", "safety_sfft(", r"a.yaml:5.*Did you mean 'safety_sft'"),
        ("base: testbed/linear", "base: openai/gpt-4o", r"a.yaml:6: train.0.base.*cannot be trained"),
        ("label: tampered", "label: sft", r"a.yaml:9.*'sft' stands here twice"),
        ("checkpoints: true", "checkpoint: true", "checkpoints"),
        ("surrogate: sft", "surrogate: [sft, testbed/linear]", r"a.yaml:16.*sft is a training.*no ensemble"),
        ("steps=2", "steps=0", r"a.yaml:5.*steps"),
    ],
)
def test_complaints_name_the_line(was: str, now: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse(STUDY.replace("BENCHMARK", "testbed_requests").replace(was, now, 1), name="a.yaml")


def made_of(text: str) -> tuple[Any, ...]:
    """The attacks of a study whose training `sft` has made two targets."""
    study = parse(text, name="a.yaml")
    runs = [
        TrainedRun(
            label="sft",
            role="defense",
            base="testbed/linear",
            seed=seed,
            target=f"tuned/safety_sft@{seed}:testbed/linear",
            steps=1,
            checkpoints=(),
            rows=1,
            taught=1,
            cpu_seconds=0.0,
            tokens=0,
            flops=0.0,
            factors={},
        )
        for seed in range(2)
    ]
    assert not [
        each for each in expanded(study, [], {}, drop={"sft", "tampered"}).attacks if each.answered_by
    ]
    return expanded(study, runs, {"sft": runs, "tampered": []}).attacks


def test_attacks_that_ask_or_adapt_meet_each_trained_target() -> None:
    text = STUDY.replace("BENCHMARK", "testbed_requests").replace(
        "  - {name: qi_visual, preset: testbed, surrogate: sft, label: qi, budget: {backwards: 1}}\n",
        "  - {name: checker_injection, checker: self_moderation, label: asks}\n"
        "  - {name: checker_injection, checker: self_moderation, oracle: defended, label: knows}\n"
        "  - {name: qi_visual, preset: testbed, oracle: defended, label: through}\n"
        "defenses: [none, {name: purify, preset: jpeg50}]\n"
        "roles: {in_loop_judge: refusal_prefix(phrases=testbed)}\n",
    )
    found = [each for each in made_of(text) if each.answered_by]
    names = [f"tuned/safety_sft@{seed}:testbed/linear" for seed in range(2)]
    asks = [each for each in found if each.label == "asks"]
    assert [(each.talks_to, each.answered_by, each.oracle) for each in asks] == [
        (name, (name, None), "undefended") for name in names
    ]
    knows = {each.answered_by: (each.talks_to, each.oracle) for each in found if each.label == "knows"}
    (behind,) = {label for _, label in knows} - {"none"}
    assert knows[names[0], "none"] == (names[0], "undefended")
    talks_to, oracle = knows[names[1], behind]
    assert (talks_to.split(":")[0].startswith("defended/purify("), oracle) == (True, "defended")
    assert talks_to.endswith(f":{names[1]}")
    through = {each.answered_by: each.surrogates for each in found if each.label == "through"}
    assert through[names[0], "none"] == (names[0],)
    assert through[names[1], behind] == (talks_to,)


@pytest.mark.parametrize("feedback", ["critique", "none"])
def test_a_dry_run_counts_what_needs_answers_of_the_base_that_are_right(tmp_path, feedback):
    recipe = f"conditional_nlf(preset='testbed', steps=4, every=0, feedback='{feedback}')"
    row = {"label": "nlf", "recipe": recipe, "base": "testbed/linear", "rows": ROWS}
    study = {"benchmarks": [{"name": "testbed_requests", "limit": 2}], "judges": ["testbed_policy"]}
    dry, _ = prepared(tmp_path, yaml.safe_dump({"study": "dry", "train": [row], **study}), train=False)
    assert [(each.label, each.steps, each.rows) for each in dry.untrained] == [("nlf", 4, 4 * 16)]
