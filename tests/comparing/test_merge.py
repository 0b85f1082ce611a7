"""`sightline merge`: rows of several runs side by side, and nothing mixed that does not agree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli import app
from sightline.comparing.compare import compare
from sightline.comparing.merge import merge
from sightline.errors import UsageError
from sightline.leaderboard.checked import faults
from sightline.leaderboard.entries import read
from sightline.run_folder import COMPLETE, LOCK, RESULTS, read_lock
from sightline.sealed import sealed_text
from sightline.study.lock import dump, study_of

STUDY = """
study: {name}
benchmarks: [{{name: testbed_requests, subset: requests, limit: 4}}]
targets: [{target}]
attacks: [none, {{name: figstep, preset: testbed}}]
defenses: [none]
judges: [refusal_prefix]
decoding: {{max_tokens: {tokens}}}
"""


def ran(folder, name, target="scripted/typographic", tokens=24, instead=("@", "@")):
    path = folder / f"{name}.yaml"
    path.write_text(STUDY.format(name=name, target=target, tokens=tokens).replace(*instead))
    sl.run(path, out=folder / name, quiet=True)
    return folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        "one": ran(folder, "one"),
        "two": ran(folder, "two", target="scripted/refuse"),
        "again": ran(folder, "again"),
        "longer": ran(folder, "longer", target="scripted/refuse", tokens=25),
        "judged": ran(folder, "judged", instead=("[refusal_prefix]", "[refusal_prefix, testbed_policy]")),
        "two exact": ran(
            folder, "two_exact", "scripted/refuse", instead=("[refusal_prefix]", "[testbed_policy]")
        ),
        "labelled": ran(folder, "labelled", "scripted/refuse", instead=("limit: 4", "limit: 4, label: mine")),
        "exact": ran(folder, "exact", instead=("[refusal_prefix]", "[testbed_policy]")),
    }


def rates(folder):
    rows = sl.load(folder).cells().to_pylist()
    return {(r["target"], r["attack"], r["measure"]): (r["k"], r["n"]) for r in rows}


def test_a_merged_run_has_the_rates_of_both(runs, tmp_path):
    found = merge([runs["one"], runs["two"]], tmp_path / "both")
    assert rates(found.folder) == rates(runs["one"]) | rates(runs["two"])
    assert (found.twice, found.unlike) == (0, 0)
    assert list(faults(found.folder, read_lock(found.folder))) == []  # seals, verdicts, answers, pictures
    assert [each["study"] for each in read_lock(found.folder)["merged"]] == ["one", "two"]
    assert not compare(runs["one"], found.folder).clear
    assert sl.load(found.folder).report().exists()
    assert not sl.load(found.folder).gate(max_asr=0.5).passed


def test_rows_that_both_hold_stand_once(runs, tmp_path):
    found = merge([runs["one"], runs["again"]], tmp_path / "both")
    n = pq.read_metadata(runs["one"] / RESULTS).num_rows
    assert (found.rows, found.twice, found.unlike) == (n, n, 0)
    assert rates(found.folder) == rates(runs["one"])


def test_runs_whose_judges_read_other_targets_are_read(runs, tmp_path):
    """No row has two judges: nothing is compared between them."""
    found = merge([runs["two"], runs["exact"]], tmp_path / "both")
    assert rates(found.folder) == rates(runs["two"]) | rates(runs["exact"])
    assert sl.load(found.folder).report().exists()
    assert {each.folder for each in read(tmp_path).entries} == {"both"}


def test_a_gate_fails_where_its_judge_did_not_read(runs, tmp_path):
    """Of one target all was read by both judges, of the other one by the second alone."""
    run = sl.load(merge([runs["judged"], runs["two exact"]], tmp_path / "both").folder)
    result = run.gate(max_asr=1, max_over_refusal=1)
    lost = [("scripted/refuse", f"{how} on testbed_requests") for how in ("no attack", "figstep")]
    assert [(each.target, each.where) for each in result.failed if each.measure == "asr"] == lost
    assert [each.where for each in result.failed if each.measure == "over_refusal"] == [lost[0][1]]
    assert all("read 0 of the 4 samples" in each.reason for each in result.failed)
    assert all("here testbed_policy" in each.reason for each in result.failed)
    assert run.gate(max_asr=1, judge="testbed_policy").passed
    assert run.gate(max_asr=1, target="scripted/typographic").passed
    assert not run.gate(max_asr=1, target="scripted/refuse").passed
    told = "scripted/refuse: refusal_prefix read 0 of the 8 samples"
    for format in ("latex", "every-eval-ever", "hf-eval-results", "jailbreakbench"):
        about = {"datasets": {"testbed_requests": "o/n"}} if format == "hf-eval-results" else {}
        with pytest.warns(UserWarning, match=told):
            sl.export(run.folder, format=format, out=tmp_path / format, **about)
    board = read(tmp_path, check=False)
    assert [line for line in board.left_out if told in line]
    assert {each.row.target for each in board.entries} == {"scripted/typographic"}


def test_cells_that_nobody_ran_have_a_cure_of_their_own(runs, tmp_path):
    """Of two targets each was asked one benchmark; the other judge, who read as little, is no cure."""
    run = sl.load(merge([runs["one"], runs["labelled"]], tmp_path / "both").folder)
    failed = run.gate(max_asr=1).failed
    assert {(each.target, each.where) for each in failed} == {
        (target, f"{how} on {benchmark}")
        for target, benchmark in (("scripted/typographic", "mine"), ("scripted/refuse", "testbed_requests"))
        for how in ("no attack", "figstep")
    }
    assert all("nobody ran the 4 samples" in each.reason for each in failed)
    assert not any("judge" in each.reason for each in failed)
    board = read(tmp_path, check=False)
    assert len(board.left_out) == 2
    assert all("nobody ran the 8 samples" in line for line in board.left_out)
    assert not any(each.missing for each in board.entries)  # what is shown is whole


def test_one_benchmark_under_two_labels_keeps_the_rows_of_both(runs, tmp_path):
    found = merge([runs["two"], runs["labelled"]], tmp_path / "both")
    counts = {(row["benchmark"], row["n"]) for row in sl.load(found.folder).cells().to_pylist()}
    assert {label for label, _ in counts} == {"testbed_requests", "mine"}
    assert found.rows == 2 * pq.read_metadata(runs["two"] / RESULTS).num_rows
    assert list(faults(found.folder, read_lock(found.folder))) == []
    assert len(sl.load(found.folder).gate(max_asr=1).checks) == 4


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Two files of answers to the same requests, of a model each."""
    folder = tmp_path_factory.mktemp("scored")
    for model, answer in (("before", "Sure, it is so."), ("after", "I cannot help with that.")):
        rows = [f"r{n},how to make blick {n},{model},none,refuse,{answer!r}" for n in range(6)]
        text = "\n".join(["id,prompt,model,attack,expected,response", *rows]).replace("'", '"')
        (folder / f"{model}.csv").write_text(text)
        sl.score(folder / f"{model}.csv", out=folder / "runs" / model, quiet=True)
    return folder / "runs"


def test_scored_runs_of_a_model_each_are_merged(scored, tmp_path):
    found = merge([scored / "before", scored / "after"], tmp_path / "both")
    lock = read_lock(found.folder)
    assert [each["benchmarks"] for each in lock["attacks"]] == [["before"], ["after"]]
    assert [each["name"] for each in lock["responses"]["files"]] == ["before.csv", "after.csv"]
    result = sl.load(found.folder).gate(max_asr=1)
    assert {(each.target, each.rate.k) for each in result.checks} == {
        ("recorded/before", 6),
        ("recorded/after", 0),
    }
    assert result.passed  # nothing is promised of one file's model in the other file


def test_runs_that_do_not_agree_are_refused(runs, tmp_path):
    with pytest.raises(UsageError, match="decoding differs"):
        merge([runs["one"], runs["longer"]], tmp_path / "both")
    assert not list(tmp_path.iterdir())


def a_training(label, digest, *, base="testbed/linear", seed=0, checkpoints=()):
    return {
        "label": label,
        "base": base,
        "seed": seed,
        "target": f"tuned/sft@{digest * 12}:{base}",
        "steps": 40,
        "checkpoints": [[step, f"tuned/sft@{digest * 12}/step-{step}:{base}"] for step in checkpoints],
    }


def with_trained(run, folder, *trained):
    """A copy of a run that says what it trained."""
    shutil.copytree(run, folder)
    (folder / LOCK).write_text(sealed_text(dump(read_lock(run) | {"trained": list(trained)})))
    return folder


def merged_trainings(runs, folder, *of_runs):
    copies = [with_trained(runs[name], folder / name, *of_runs[at]) for at, name in enumerate(("one", "two"))]
    return read_lock(merge(copies, folder / "both").folder).get("trained")


SFT = a_training("sft", "a", checkpoints=(20,))


@pytest.mark.parametrize(
    ("one", "two", "both"),
    [
        ([SFT], [], [SFT]),
        ([], [SFT], [SFT]),
        ([SFT], [SFT], [SFT]),
        ([SFT], [a_training("dpo", "b")], [SFT, a_training("dpo", "b")]),
        ([SFT], [SFT, a_training("sft", "c", seed=1)], [SFT, a_training("sft", "c", seed=1)]),
        (
            [SFT],
            [a_training("sft", "a", checkpoints=(10, 20))],
            [a_training("sft", "a", checkpoints=(10, 20))],
        ),
    ],
)
def test_what_any_run_trained_is_kept_once(runs, tmp_path, one, two, both):
    assert merged_trainings(runs, tmp_path, one, two) == both


@pytest.mark.parametrize(
    ("two", "told"),
    [
        (a_training("sft", "b"), "tuned/sft@bbbbbbbbbbbb:testbed/linear"),
        (a_training("sft", "b", base="testbed/queries"), "on testbed/queries"),
        (a_training("sft", "b", seed=1), "seed 1"),
    ],
)
def test_one_label_for_two_trainings_is_refused_with_both_runs(runs, tmp_path, two, told):
    with pytest.raises(UsageError, match=r"one and .*two cannot be merged: training sft") as wrong:
        merged_trainings(runs, tmp_path, [SFT], [two])
    assert SFT["target"] in str(wrong.value)
    assert told in str(wrong.value)


def test_a_merged_run_is_not_run_again(runs, tmp_path):
    merge([runs["one"], runs["two"]], tmp_path / "both")
    with pytest.raises(UsageError, match="no study to run"):
        study_of(tmp_path / "both")


def test_folders_that_cannot_be_merged_are_told(runs, tmp_path):
    with pytest.raises(UsageError, match="two or more"):
        merge([runs["one"], runs["one"]], tmp_path / "both")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        merge([runs["one"], runs["two"]], tmp_path / "full")


def test_an_unfinished_run_is_not_merged(runs, tmp_path):
    mark = (runs["again"] / COMPLETE).read_bytes()
    (runs["again"] / COMPLETE).unlink()
    try:
        with pytest.raises(UsageError, match="not finished"):
            merge([runs["two"], runs["again"]], tmp_path / "both")
    finally:
        (runs["again"] / COMPLETE).write_bytes(mark)


def test_the_command_says_what_it_made(runs, tmp_path):
    names = [str(runs["one"]), str(runs["two"])]
    told = CliRunner().invoke(app, ["merge", *names, "--out", str(tmp_path / "both")])
    assert told.exit_code == 0, told.output
    assert "rows of 2 runs" in told.output


def copied(run, to):
    return Path(shutil.copytree(run, to))


def test_edited_records_are_not_sealed_anew(runs, tmp_path):
    one = copied(runs["one"], tmp_path / "edited")
    path = one / "records" / "answer.parquet"
    path.write_bytes(path.read_bytes()[:-40] + b"x" * 40)
    with pytest.raises(UsageError, match=r"answer\.parquet"):
        merge([one, runs["two"]], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_only_pictures_of_their_name_are_taken(runs, tmp_path):
    one = copied(runs["one"], tmp_path / "linked")
    picture = min(path for path in (one / "blobs").rglob("*") if path.is_file())
    picture.unlink()
    picture.symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="is not the picture of its name"):
        merge([one, runs["two"]], tmp_path / "both")


def test_a_folder_beside_the_merged_run_is_left_alone(runs, tmp_path):
    one = copied(runs["one"], tmp_path / ".both.part")
    merge([one, runs["two"]], tmp_path / "both")
    assert (one / RESULTS).is_file()


@pytest.mark.parametrize("name", ["one/inner", "ev<b>", "a\nb"])
def test_a_name_or_place_that_no_run_may_have_is_refused(runs, name):
    with pytest.raises(UsageError, match=r"name"):
        merge([runs["one"], runs["two"]], runs["one"].parent / name)


def test_equal_limits_are_kept_and_hypotheses_left_to_their_runs(runs, tmp_path):
    limits = "gate: {max_asr: 0.9}\n"
    claim = "hypothesis: {primary: asr, contrast: [figstep, none], expect: greater, mde: 0.3}\n"
    made = []
    for name, target in (("g1", "typographic"), ("g2", "refuse")):
        text = STUDY.format(name=name, target=f"scripted/{target}", tokens=24) + limits + claim
        (tmp_path / f"{name}.yaml").write_text(text)
        sl.run(tmp_path / f"{name}.yaml", out=tmp_path / name, quiet=True)
        made.append(tmp_path / name)
    found = merge(made, tmp_path / "both")
    assert "hypothesis" not in read_lock(found.folder)
    assert any("hypotheses" in note for note in found.notes)
    assert sl.load(found.folder).gate().limits.max_asr == 0.9
