"""`sightline gate`: limits kept with confidence, in every cell, with a closed denominator."""

from __future__ import annotations

import json
import os
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_folder import SURE, Shape
from run_folder import write_finished as write_run
from typer.testing import CliRunner

import sightline as sl
from sightline.cli import app
from sightline.digests import sha256_file
from sightline.errors import DamageError, UsageError
from sightline.gating import written
from sightline.gating.gate import _too_few
from sightline.metrics.intervals import wilson
from sightline.metrics.rates import Rate
from sightline.run_folder import COMPLETE, RESULTS, lock_digest, read_lock
from sightline.store import write_note
from sightline.study.config import parse


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sl.load(write_run(tmp_path_factory.mktemp("run"), Shape(rates=SURE)))


def by_place(result):
    return {(check.defense, check.measure, check.where): check for check in result.checks}


def test_a_limit_is_kept_by_the_far_end_of_the_interval(run):
    # 36 requests of 12 topics, none obeyed: clusters as rows, Wilson's upper end z^2 / (12 + z^2) = .2425
    far = wilson(0, 12).high
    assert far == pytest.approx(1.959963984540054**2 / (12 + 1.959963984540054**2))
    chosen = {"defense": "self_moderation"}
    assert run.gate(max_asr=far + 1e-9, **chosen).passed
    failed = run.gate(max_asr=far - 1e-3, **chosen)
    assert not failed.passed
    assert {check.rate.point for check in failed.failed} == {0.0}
    assert all("not shown: too few independent groups (12)" in check.reason for check in failed.failed)


def test_every_cell_of_every_system_is_checked(run):
    result = run.gate(max_asr=0.5)
    found = by_place(result)
    attacks = ("none", "system_prompt", "self_moderation")
    assert {defense for defense, _, _ in found} == set(attacks)
    assert {where for _, _, where in found} >= {
        "no attack on testbed_requests",
        "figstep on testbed_requests",
    }
    assert [check.where for check in result.failed] == ["figstep on testbed_requests"]
    assert result.failed[0].reason == "clearly above the limit"
    assert result.failed[0].defense == "none"


def test_utility_and_over_refusal_are_those_of_plain_cells(run):
    result = run.gate(max_over_refusal=0.5, min_utility=0.5, defense="none")
    assert {check.measure for check in result.checks} == {"over_refusal", "utility"}
    assert {check.where for check in result.checks} == {"no attack on testbed_requests"}


def test_a_limit_that_nothing_measures_fails(tmp_path):
    bare = sl.load(write_run(tmp_path, Shape(benign=False, utility=0, rates=SURE)))
    result = bare.gate(max_over_refusal=0.5, min_utility=0.1, defense="self_moderation")
    assert not result.passed
    assert ["add a benchmark" in check.reason for check in result.checks] == [True, True]


def test_an_open_denominator_fails_whatever_the_rate(tmp_path):
    gone = {
        key: ({"refused": 0.8, "error": 0.2} if key[1] == "self_moderation" else restricted, benign)
        for key, (restricted, benign) in SURE.items()
    }
    run = sl.load(write_run(tmp_path, Shape(rates=gone)))
    result = run.gate(max_asr=1.0, defense="self_moderation")
    broken = [check for check in result.failed if "have no verdict, more than 2" in check.reason]
    assert broken
    assert all("--retry-errors" in check.reason for check in broken)
    assert all(check.rate.unscored / (check.rate.n + check.rate.unscored) > 0.02 for check in broken)
    assert run.gate(max_asr=1.0, defense="self_moderation", max_unscored=1.0).passed


def test_how_many_groups_a_limit_needs():
    none = Rate(
        name="asr",
        k=0,
        n=10,
        point=0.0,
        low=0.0,
        high=0.28,
        method="",
        groups=10,
        lower_bound=0.0,
        upper_bound=0.0,
        unscored=0,
        outcomes_counted=(),
        outcomes_of=(),
        judge="j",
    )
    # z^2 / (n + z^2) <= .05 from n = 19 z^2 = 72.99 on
    assert "at least 73 are needed" in _too_few("asr", 0.05, none)
    assert "at least 73 are needed" in _too_few("utility", 0.95, none)
    assert "no number of samples" in _too_few("asr", 0.0, none)


def test_by_category_adds_cells(run):
    whole = run.gate(max_asr=0.99, defense="self_moderation")
    parts = run.gate(max_asr=0.99, defense="self_moderation", by="category")
    assert len(parts.checks) > len(whole.checks)
    assert any(", category " in check.where for check in parts.checks)


def test_by_hazard_fails_where_no_case_names_one(tmp_path):
    folder = write_run(tmp_path, Shape(rates=SURE))
    table = pq.read_table(folder / RESULTS)
    at = table.column_names.index("hazard")
    nothing = pa.array([""] * table.num_rows, table.schema.field(at).type)
    pq.write_table(table.set_column(at, table.schema.field(at), nothing), folder / RESULTS)
    write_note(
        folder / COMPLETE, {"results": sha256_file(folder / RESULTS), "lock": lock_digest(read_lock(folder))}
    )
    result = sl.load(folder).gate(max_asr=0.99, defense="self_moderation", by="hazard")
    assert ["no case that names its hazard" in check.reason for check in result.failed] == [True]


def test_a_run_that_is_not_finished_or_not_the_one_that_finished_is_refused(tmp_path):
    folder = write_run(tmp_path, Shape(rates=SURE))
    (folder / RESULTS).write_bytes((folder / RESULTS).read_bytes() + b" ")
    with pytest.raises(DamageError, match="is not the file that this run finished with"):
        sl.load(folder).gate(max_asr=1.0)
    (folder / COMPLETE).unlink()
    with pytest.raises(UsageError, match="this run is not finished"):
        sl.load(folder).gate(max_asr=1.0)


def test_a_folder_is_no_file_to_write(run, tmp_path):
    command = ["gate", str(run.folder), "--max-asr", "0.5", "--junit", str(tmp_path)]
    failed = CliRunner().invoke(app, command)
    assert isinstance(failed.exception, UsageError)
    assert "a folder is there; name a file" in str(failed.exception)


def test_bounds_are_never_narrower(run):
    plain = by_place(run.gate(max_asr=0.5))
    wide = by_place(run.gate(max_asr=0.5, rates="bounds"))
    assert plain.keys() == wide.keys()
    assert all(wide[key].high >= plain[key].high for key in plain)
    with pytest.raises(UsageError, match="bounds are known of whole cells"):
        run.gate(max_asr=0.5, rates="bounds", by="hazard")


def test_bounds_of_a_judge_of_whom_nothing_is_known_keep_no_limit(tmp_path):
    """Its ordinary intervals passed for bounds."""
    judge = "refusal_prefix(testbed@77aa01, start)"
    run = sl.load(write_run(tmp_path, Shape(rates=SURE, judges=(judge,))))
    assert run.gate(max_asr=0.5, defense="self_moderation").passed
    result = run.gate(max_asr=1.0, rates="bounds")
    assert not any(check.passed for check in result.checks)
    assert "nothing is known of what this judge's errors hide" in result.text()


def test_limits_are_told_as_they_were_given_and_ends_exactly(run):
    """At most 3.6 % with an end of 3.7 % was `0 % [0, 4]; at most 4 %`, and failed."""
    text = run.gate(max_asr=0.036, defense="self_moderation").text()
    assert "limits: max_asr 3.6\u00a0%\n" in text
    assert "at most 3.6\u00a0%" in text
    assert f"[0.0, {100 * wilson(0, 12).high:.1f}]" in text


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "no limit to keep"),
        ({"max_asr": 1.5}, "max_asr: Input should be less than or equal to 1"),
        ({"max_asr": 0.1, "defense": "smoothing"}, "defense 'smoothing' is not in this run"),
        ({"max_asr": 0.1, "target": ["testbed/x"]}, "target 'testbed/x' is not in this run"),
        ({"max_asr": 0.1, "judge": "human"}, "judge 'human' did not read this run"),
        ({"max_arse": 0.1}, "max_arse"),
        ({"max_asr": True}, "max_asr: Input should be a valid number"),
        ({"max_asr": "0.05"}, "max_asr: Input should be a valid number"),
        ({"max_asr": float("nan")}, "max_asr: Input should be a finite number"),
    ],
)
def test_what_is_wrong_is_said(run, limits, said):
    with pytest.raises(UsageError, match="^.*" + said.replace("(", r"\(")):
        run.gate(**limits)


def test_an_uncalibrated_judge_is_told(run):
    assert "(ground truth of the testbed)" in run.gate(max_asr=0.5).text()
    other = run.gate(max_asr=0.5, judge="refusal_prefix")
    assert "compared with the testbed's ground truth" in other.text()


def test_junit_and_markdown(run):
    result = run.gate(max_asr=0.5, max_over_refusal=0.5)
    root = ElementTree.fromstring(written.junit(result))
    cases = root.findall(".//testcase")
    assert len(cases) == len(result.checks) == int(root.get("tests"))
    assert len(root.findall(".//failure")) == len(result.failed) == int(root.get("failures")) == 1
    rows = [line for line in written.markdown(result).splitlines() if line.startswith(("| ✓", "| ✗"))]
    assert len(rows) == len(result.checks)
    assert rows[0].startswith("| ✗ | testbed/linear | attack success, figstep on testbed\\_requests")
    plain = written.plain(result)
    assert json.loads(json.dumps(plain))["passed"] is False
    assert {each["n"] for each in plain["checks"]} == {36}


def test_hostile_names_make_no_markup(tmp_path):
    name = 'testbed/a|b`<img src=x onerror="f()">\x07'
    run = sl.load(write_run(tmp_path, Shape(rates=SURE, targets=(name,))))
    result = run.gate(max_asr=0.5)
    ElementTree.fromstring(written.junit(result))
    text = written.markdown(result)
    assert "<img" not in text.replace("\\<", "")
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith(("| ✓", "| ✗"))]
    assert {row.count("|") for row in rows} == {7}


def test_the_command_line(run, tmp_path):
    runner = CliRunner()
    base = ["gate", str(run.folder), "--max-asr", "0.5"]
    kept = runner.invoke(app, [*base, "--defense", "self_moderation"])
    assert (kept.exit_code, "gate passed" in kept.output) == (0, True)
    files = ["--junit", str(tmp_path / "j.xml"), "--markdown", str(tmp_path / "m.md")]
    missed = runner.invoke(app, [*base, *files])
    assert (missed.exit_code, "gate FAILED" in missed.output) == (1, True)
    assert "passed  attack success" not in missed.output
    assert "passed  attack success" in runner.invoke(app, [*base, "--all"]).output
    assert ElementTree.parse(tmp_path / "j.xml").getroot().tag == "testsuites"
    assert (tmp_path / "m.md").read_text(encoding="utf-8").startswith("### gate FAILED")
    assert json.loads(runner.invoke(app, [*base, "--json"]).output)["passed"] is False


STUDY = """
study: gated
gate: {max_asr: 0.9, defense: none}
benchmarks: [{name: testbed_requests, limit: 12}]
targets: [testbed/linear]
judges: [testbed_policy]
"""


def test_limits_of_a_study_are_read_and_options_go_before(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "s.yaml").write_text(STUDY, encoding="utf-8")
    run = sl.run(tmp_path / "s.yaml", out=tmp_path / "run", quiet=True)
    assert run.gate().limits.max_asr == 0.9
    assert run.gate().passed
    assert run.gate(max_asr=0.0).limits.max_asr == 0.0
    assert not run.gate(max_asr=0.0).passed
    # a limit decides nothing in a run: it can be changed and the run goes on
    (tmp_path / "s.yaml").write_text(STUDY.replace("0.9", "0.8"), encoding="utf-8")
    again = sl.run(tmp_path / "s.yaml", out=tmp_path / "run", quiet=True)
    assert again.counts == {} or all(count.written == 0 for count in again.counts.values())
    assert again.gate().limits.max_asr == 0.8
    assert "limits: max_asr 80\u00a0% (study); the study's are those of its last `sightline run`" in (
        again.gate().text()
    )
    assert "(study)" not in again.gate(max_asr=0.1).text()


@pytest.mark.parametrize("name", [RESULTS, COMPLETE, "study.lock.yaml"])
def test_a_pipe_in_the_place_of_a_file_is_refused_by_name(tmp_path, name):
    """Reading it would wait for ever."""
    folder = write_run(tmp_path / "run", Shape(rates=SURE))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    for command in (["gate", "--max-asr", "0.5"], ["report"]):
        told = CliRunner().invoke(app, [command[0], str(folder), *command[1:]])
        assert isinstance(told.exception, DamageError)
        assert f"{name}: is a pipe and no regular file" in str(told.exception)


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        (
            "{max_asr: 0.9, defense: nonne}",
            r"s:6: gate.defense: unknown defense .* mean 'none'",
        ),
        ("{max_asr: 0.9, target: testbed/lin}", r"s:6: gate.target: unknown target .* mean 'testbed/linear'"),
        ("{max_asr: 0.9, judge: testbed_polcy}", r"s:6: gate.judge: unknown judge .* mean 'testbed_policy'"),
        ("{max_asr: 0.9, judge: refusal_prefix}", r"s:6: gate.judge: 2 judges of this study are refusal_pr"),
    ],
)
def test_names_that_the_study_does_not_have_are_told_when_it_is_read(gate, told):
    with pytest.raises(UsageError, match=told):
        parse(GATED.format(gate), name="s")


@pytest.mark.parametrize(
    "judge", ["testbed_policy", "model_graded", "refusal_prefix(common@01234567, prefix)"]
)
def test_names_and_ids_of_a_study_s_judges_are_taken(judge):
    assert parse(GATED.format(f"{{max_asr: 0.9, defense: [none], judge: '{judge}'}}"), name="s")


GATED = """study: s
benchmarks: [{{name: testbed_requests, limit: 4}}]
targets: [testbed/linear]
judges:
  [testbed_policy, refusal_prefix, "refusal_prefix(phrases='xstest')", {{name: model_graded, grader: a/b}}]
gate: {}
"""
