"""`sightline leaderboard`: equal conditions, how far each row was checked, and numbers from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.digests import sha256_file
from sightline.errors import UsageError
from sightline.leaderboard import site
from sightline.leaderboard.entries import boards, ranks, read
from sightline.run_folder import COMPLETE, LOCK, RESULTS, read_lock
from sightline.sealed import read_note, sealed_text
from sightline.store import write_note
from sightline.study.lock import dump
from sightline.study.results import results_digest

STUDY = """
study: small
benchmarks: [{name: testbed_requests, subset: requests, limit: 6}]
targets: [scripted/typographic]
attacks: [none, {name: figstep, preset: testbed}]
defenses: [none, {name: system_prompt, preset: testbed}]
judges: [refusal_prefix]
decoding: {max_tokens: 24}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A study that was run, in `one`, and what another clock would have made of it, in `two`."""
    import sightline as sl

    folder = tmp_path_factory.mktemp("runs")
    (folder / "small.yaml").write_text(STUDY)
    sl.run(folder / "small.yaml", out=folder / "one", quiet=True)
    shutil.copytree(folder / "one", folder / "two")

    def slower(table):
        at = table.column_names.index("seconds")
        column = pa.array([(each or 0) + 0.01 for each in table.column("seconds").to_pylist()], pa.float32())
        return table.set_column(at, "seconds", column)

    resealed(folder / "two", slower)
    return folder


def resealed(run, change):
    """A run whose table says something else, with the note that it finished with made to match."""
    table = change(pq.read_table(run / RESULTS))
    pq.write_table(table, run / RESULTS)
    mark = read_note(run / COMPLETE, "")
    mark.pop("crc", None)
    mark |= {"results": sha256_file(run / RESULTS), "digest": results_digest(run / RESULTS)}
    write_note(run / COMPLETE, mark)


@pytest.fixture
def runs(ran, tmp_path):
    shutil.copytree(ran, tmp_path / "runs")
    return tmp_path / "runs"


def test_a_run_that_breaks_is_named_and_the_others_stand(runs):
    def twice(table):
        return pa.concat_tables([table, table])

    resealed(runs / "two", twice)
    found = read(runs, check=False)
    assert {each.folder for each in found.entries} == {"one"}
    assert any("two: cannot be read (ContractError" in line for line in found.left_out)


def standings(folder):
    return {(each.folder, each.standing) for each in read(folder).entries}


def test_two_runs_of_one_study_reproduce_each_other(runs):
    found = read(runs)
    assert {(each.folder, each.standing) for each in found.entries} == {
        ("one", "reproduced"),
        ("two", "reproduced"),
    }
    ((_, members),) = boards(found).items()
    points = [each.worst[1].point for each in members]
    assert points == sorted(points)


def test_a_copy_reproduces_nothing(runs):
    shutil.rmtree(runs / "two")
    shutil.copytree(runs / "one", runs / "two")
    assert standings(runs) == {("one", "recomputed"), ("two", "recomputed")}
    assert all("copy" in each.why for each in read(runs).entries)


def test_a_table_made_better_than_its_verdicts_is_self_reported(runs):
    def nothing_obeyed(table):
        at = table.column_names.index("outcome")
        said = ["refused" if each == "complied" else each for each in table.column("outcome").to_pylist()]
        return table.set_column(at, "outcome", pa.array(said).dictionary_encode())

    resealed(runs / "one", nothing_obeyed)
    found = {each.folder: each for each in read(runs).entries}
    assert found["one"].standing == "self-reported"
    assert "recorded as complied, tabulated as refused" in found["one"].why
    assert found["two"].standing == "recomputed"


def test_a_changed_picture_is_seen(runs):
    picture = min(path for path in (runs / "one" / "blobs").rglob("*") if path.is_file())
    picture.write_bytes(picture.read_bytes()[:-9] + b"123456789")
    found = {each.folder: each for each in read(runs).entries}
    assert found["one"].standing == "self-reported"
    assert picture.name[:8] in found["one"].why


def test_unchecked_rows_are_self_reported(runs):
    assert {each.standing for each in read(runs, check=False).entries} == {"self-reported"}


def test_what_is_no_finished_run_is_left_out_and_told(runs):
    (runs / "two" / COMPLETE).unlink()
    (runs / "three").mkdir()
    (runs / "three" / LOCK).write_text("format: 1\n")
    found = read(runs)
    assert {each.folder for each in found.entries} == {"one"}
    told = "\n".join(found.left_out)
    assert "two: not finished" in told
    assert "three" in told


EXTERNAL = """
- {target: other/model, benchmark: testbed_requests, measure: asr, value: 0.25, n: 40,
   evidence: "table 3 of a paper, <script>alert(1)</script>"}
"""


def test_outside_numbers_stand_apart_with_their_evidence(runs):
    (runs / "external.yaml").write_text(EXTERNAL)
    page, rows = site.write(read(runs), runs / "site")
    text = page.read_text("utf-8")
    assert "Numbers from elsewhere" in text
    assert "table 3 of a paper" in text
    assert "<script" not in text
    assert json.loads(rows.read_text("utf-8"))["external"][0]["value"] == 0.25


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("target: x", "a list of numbers"),
        ("- {target: x, benchmark: b, measure: asr, value: 7, evidence: in a paper}", "entry 1, value"),
        ("- {target: x, benchmark: b, measure: asr, value: 0.5}", "entry 1, evidence"),
    ],
)
def test_an_outside_number_that_is_none_is_refused(runs, text, told):
    (runs / "external.yaml").write_text(text)
    with pytest.raises(UsageError, match=told):
        read(runs, check=False)


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no finished run"):
        read(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        read(tmp_path / "nowhere")


def test_the_command_writes_the_site(runs, tmp_path):
    told = CliRunner().invoke(app, ["leaderboard", str(runs), "--out", str(tmp_path / "site")])
    assert told.exit_code == 0, told.output
    assert "testbed_requests, judge refusal_prefix: 4 systems" in told.output
    text = Path(tmp_path / "site" / "index.html").read_text("utf-8")
    assert "no attack knew this defense" in text
    assert "reproduced" in text


def test_a_run_that_shares_answers_with_another_reproduces_nothing(runs):
    def half(table):
        at = table.column_names.index("seconds")
        own = pq.read_table(runs / "one" / RESULTS).column("seconds").to_pylist()
        mixed = [each if number % 2 else 7.5 + number for number, each in enumerate(own)]
        return table.set_column(at, "seconds", pa.array(mixed, pa.float32()))

    resealed(runs / "two", half)
    assert {standing for _, standing in standings(runs)} == {"recomputed"}


def test_a_merged_run_is_not_counted_beside_its_parts(runs):
    from sightline.comparing.merge import merge

    merge([runs / "one", runs / "two"], runs / "both")
    found = read(runs)
    assert {each.folder for each in found.entries} == {"one", "two"}
    assert "both: merged of runs that are here themselves" in found.left_out


def test_equal_rates_share_a_place(runs):
    ((_, members),) = boards(read(runs)).items()
    points = [each.worst[1].point for each in members]
    assert [1 + points.index(point) for point in points] == ranks(members)
    assert len(set(ranks(members))) == len(set(points))


@pytest.mark.parametrize("entry", ["value: 0.1, low: 0.9, high: 0.95", "value: true"])
def test_impossible_outside_numbers_are_refused(runs, entry):
    text = f"- {{target: x, benchmark: b, measure: asr, {entry}, evidence: in a paper}}"
    (runs / "external.yaml").write_text(text)
    with pytest.raises(UsageError, match="entry 1"):
        read(runs, check=False)


def test_a_pipe_is_not_waited_for(runs):
    import os

    os.mkfifo(runs / "external.yaml")
    with pytest.raises(UsageError, match="no regular file"):
        read(runs, check=False)


def test_trained_targets_are_named_by_label_on_the_page_and_by_string_in_its_rows(runs):
    target = "scripted/typographic"
    trained = {"label": "safer", "base": "testbed/linear", "seed": 0, "target": target, "steps": 9}
    for run in (runs / "one", runs / "two"):
        lock = read_lock(run) | {"trained": [trained | {"checkpoints": [[3, "tuned/a@b:c"]]}]}
        (run / LOCK).write_text(sealed_text(dump(lock)), "utf-8")
    site.write(read(runs, check=False), runs / "site")
    page = (runs / "site" / "index.html").read_text("utf-8")
    assert "1. safer step 9, defense" in page
    assert target not in page
    rows = json.loads((runs / "site" / "leaderboard.json").read_text("utf-8"))["rows"]
    assert {row["target"] for row in rows} == {target}


def test_what_nothing_attacked_has_no_place(runs):
    found = read(runs, check=False)
    bare = replace(found.entries[0].row, by_means={}, adaptive=None)
    site.write(
        replace(found, entries=(replace(found.entries[0], row=bare), *found.entries[1:])), runs / "site"
    )
    page = (runs / "site" / "index.html").read_text("utf-8")
    (quiet,) = (line for line in page.splitlines() if "no attack was run<" in line)
    assert not re.search(r">\d+\. ", quiet)
    assert page.index(quiet) > page.rindex('<th scope="row">1. ')
