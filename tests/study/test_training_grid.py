"""Grids of trainings, the quick form of a study, and what a dry run says of trainings that were not done."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sightline.cli import app
from sightline.errors import UsageError
from sightline.study.config import load, parse

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("transformers") is None, reason="needs the extra `local`"
)
STUDY = """
study: mixed
train:
  - label: mix
    recipe: "safety_sft(preset='testbed', steps=2, batch=2, every=1, pairs=False)"
    base: testbed/linear
    checkpoints: true
    seeds: 2
    grid:
      ratio: [0.5, 1]
      rows:
        written: "testbed_training(layout='written')"
        both: ["testbed_training(subset='requests')", "testbed_training(subset='general')"]
  - label: further
    recipe: "ft_attack(preset='testbed', kind='identity', steps=3, batch=2)"
    base: "mix [ratio=1, rows=written]"
    rows: "testbed_training(subset='requests', layout='figstep')"
benchmarks: [{name: testbed_requests, limit: 2}]
judges: [testbed_policy]
"""
QUICK = """quick:
  targets: [testbed/linear]
  hypothesis: {primary: asr, contrast: [fast, testbed/linear], expect: less, mde: 0.3}
  train:
    - label: fast
      recipe: "ft_attack(preset='testbed', kind='identity', steps=4, batch=2, every=0)"
      base: testbed/linear
      rows: "testbed_training(subset='requests', layout='written')"
"""


def test_a_grid_is_every_combination_of_settings_and_rows() -> None:
    study = parse(STUDY + QUICK, name="a.yaml")
    *mixes, further = study.trainings
    assert [each.label for each in mixes] == [
        f"mix [ratio={ratio}, rows={rows}]" for ratio in (0.5, 1) for rows in ("written", "both")
    ]
    assert [each.recipe.ratio for each in mixes] == [0.5, 0.5, 1, 1]  # type: ignore[attr-defined]
    assert {(each.recipe.steps, each.seeds) for each in mixes} == {(2, 2)}  # type: ignore[attr-defined]
    assert [each.on[0].benchmark.layout for each in mixes] == ["written", "both"] * 2  # type: ignore[attr-defined]
    assert dict(mixes[1].factors) == {"ratio": "0.5", "rows": "both"}
    assert further.base == mixes[2].label


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("ratio: [0.5, 1]", "rato: [0.5, 1]", r"a.yaml:9: train.0.grid.*Did you mean 'ratio'"),
        ("ratio: [0.5, 1]", "ratio: [0.5, 0.5]", r"a.yaml:9.*holds a value twice"),
        ("ratio: [0.5, 1]", "ratio: [0.5, 7]", r"a.yaml:9.*ratio=7"),
        ("ratio: [0.5, 1]", "ratio: []", r"a.yaml:10.*at least 1 item"),
        ("    - label: fast\n", "    - labl: fast\n", r"a.yaml:24: train.0.labl"),
        ("quick:\n", "quick:\n  study: other\n", r"a.yaml:20: quick.*keeps the study's own 'study'"),
    ],
)
def test_complaints_name_the_line(was: str, now: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse((STUDY + QUICK).replace(was, now, 1), name="a.yaml")


def test_complaints_about_the_quick_form_name_its_line() -> None:
    with pytest.raises(UsageError, match=r"a.yaml:25: train.0.recipe.*steps"):
        parse((STUDY + QUICK).replace("steps=4", "steps=0"), name="a.yaml", quickly=True)
    with pytest.raises(UsageError, match=r"a.yaml:2: there is no quick form"):
        parse(STUDY, name="a.yaml", quickly=True)


def test_the_quick_form_stands_in_place_of_the_study(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(STUDY + QUICK, "utf-8")
    quick = load(path, quickly=True)
    assert (quick.name, [each.label for each in quick.trainings]) == ("mixed-quick", ["fast"])
    assert [source.limit for source in quick.sources] == [2]
    assert load(path).name == "mixed"


def test_the_limit_of_a_quick_form_goes_before_those_of_benchmarks() -> None:
    """`quick: {limit: 1}` did nothing where each benchmark has a limit of its own."""
    text = "quick: {limit: 1}\n"
    assert [each.limit for each in parse(STUDY + text, name="a.yaml", quickly=True).sources] == [1]
    assert [each.limit for each in parse(STUDY + text, name="a.yaml").sources] == [2]
    assert [each.limit for each in parse(STUDY + text, name="a.yaml", quickly=True, limit=3).sources] == [3]
    own = "quick: {limit: 1, benchmarks: [{name: testbed_requests, limit: 4}]}\n"
    assert [each.limit for each in parse(STUDY + own, name="a.yaml", quickly=True).sources] == [4]


@pytest.mark.slow
def test_a_dry_run_counts_trainings_and_a_run_of_the_quick_form_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.yaml"
    path.write_text(STUDY + QUICK, "utf-8")
    said = CliRunner().invoke(app, ["run", str(path), "--dry-run"]).output
    # eight runs of two steps and two rows, two runs of three steps; checkpoints of the eight are targets, too
    lines = {line.strip().split("  ")[0]: line.split() for line in said.splitlines() if line.strip()}
    assert lines["in all"][2:7] == ["10", "0", "10", "22", "44"]
    assert "18 targets that are to be trained" in said
    assert "unknown" in said
    assert not (tmp_path / "cache" / "tuned").exists()
    done = CliRunner().invoke(app, ["run", str(path), "--quick"])
    assert done.exit_code == 0, done.output
    lock = yaml.safe_load((tmp_path / "runs" / "mixed-quick" / "study.lock.yaml").read_text("utf-8"))
    assert (lock["study"], lock["made_from"]["quick"], len(lock["trained"])) == ("mixed-quick", True, 1)
    assert (lock["hypothesis"]["kind"], lock["hypothesis"]["contrast"]) == (
        "target",
        ["fast", "testbed/linear"],
    )
    brief = (tmp_path / "runs" / "mixed-quick" / "report.txt").read_text("utf-8")
    told = (
        "Hypothesis: asr of fast is less than that of testbed/linear without an attack on testbed_requests: "
    )
    assert f"{told}not decided" in " ".join(brief.split())
    again = CliRunner().invoke(app, ["judge", "runs/mixed-quick"])
    assert again.exit_code == 0, again.output
    said = CliRunner().invoke(app, ["run", str(path), "--quick", "--dry-run"]).output
    assert "to do" in said
    assert "in all" in said
    assert "hypothesis: asr of fast is less than that of testbed/linear without an attack. 1 groups" in said
