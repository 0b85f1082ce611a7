"""`sightline compare`: paired differences of runs where their instruments agree, and what is left out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from run_folder import RATES, SURE, Shape, write_finished
from typer.testing import CliRunner

import sightline as sl
from sightline.cli import app
from sightline.comparing import written
from sightline.comparing.agreement import agreement
from sightline.comparing.compare import compare
from sightline.digests import sha256_file
from sightline.errors import UsageError
from sightline.run_folder import COMPLETE, LOCK, RESULTS, lock_digest, read_lock
from sightline.sealed import sealed_text
from sightline.store import write_note

SAFER = {**SURE, ("figstep", "none"): ({"refused": 1.0}, SURE["figstep", "none"][1])}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Everything is obeyed under figstep in the former run, nothing in the later one."""
    folder = tmp_path_factory.mktemp("runs")
    obeyed = {**SURE, ("figstep", "none"): ({"complied": 1.0}, SURE["figstep", "none"][1])}
    write_finished(folder / "former", Shape(rates=obeyed))
    write_finished(folder / "later", Shape(rates=SAFER))
    return folder


@pytest.fixture(scope="module")
def standard(tmp_path_factory):
    return write_finished(tmp_path_factory.mktemp("standard"), Shape())


def edited(folder, change):
    """A finished run whose lock says something else."""
    lock = read_lock(folder)
    change(lock)
    text = sealed_text(yaml.safe_dump(lock, sort_keys=False))
    (folder / LOCK).write_text(text, encoding="utf-8")
    mark = json.loads((folder / COMPLETE).read_text())
    write_note(folder / COMPLETE, {"results": mark["results"], "lock": lock_digest(read_lock(folder))})
    return folder


def test_the_difference_is_later_minus_former_on_the_same_samples(runs):
    found = compare(runs / "former", runs / "later")
    (largest, *_) = found.clear
    assert (largest.measure, largest.cell.attack, largest.cell.defense) == ("asr", "figstep", "none")
    # 12 topics of three requests each, all obeyed before and none now
    assert (largest.base_share, largest.cell_share, largest.point, largest.pairs) == (1.0, 0.0, -1.0, 36)
    assert {each.cell.judge for each in found.contrasts} == set(Shape().judges)
    back = compare(runs / "later", runs / "former")
    assert back.clear[0].point == 1.0


def test_a_run_does_not_differ_from_itself(runs):
    found = compare(runs / "former", runs / "former")
    assert not found.clear
    assert not found.left_out
    assert all(each.point == 0 for each in found.contrasts)


def test_in_python_the_same_table_comes_out(runs):
    table = sl.load(runs / "later").compare(runs / "former").to_pylist()
    found = compare(runs / "former", runs / "later")
    assert [row["difference"] for row in table] == [each.point for each in found.contrasts]


@pytest.mark.parametrize(
    ("section", "key", "told"),
    [
        ("benchmarks", "release", "another release"),
        ("judges", "code", "other code"),
        ("attacks", "identity", "other settings"),
    ],
)
def test_what_is_not_the_same_instrument_is_left_out_and_told(standard, tmp_path, section, key, told):
    one, other = standard, Path(shutil.copytree(standard, tmp_path / "other"))
    chosen = []

    def change(lock):
        entry = lock[section][-1]
        chosen.append(entry.get("id") or entry["label"])
        entry[key] = "changed"

    edited(other, change)
    if section == "benchmarks":  # the only one
        with pytest.raises(UsageError, match=f"no cell in common.*\n.*{told}"):
            compare(one, other)
        return
    found = compare(one, other)
    assert any(told in line and chosen[0] in line for line in found.left_out)
    field = {"judges": "judge", "attacks": "attack"}[section]
    assert found.contrasts
    assert chosen[0] not in {getattr(each.cell, field) for each in found.contrasts}


def test_a_changed_target_or_defense_is_what_is_compared(standard, tmp_path):
    one, other = standard, Path(shutil.copytree(standard, tmp_path / "other"))

    def change(lock):
        for entry in lock["targets"]:
            entry["id"] += "#other"
        lock["defenses"][-1]["code"] = "changed"
        lock["decoding"]["max_tokens"] = 7

    found = compare(one, edited(other, change))
    assert any(line.startswith("target testbed/linear: other weights") for line in found.agreement.changed)
    assert any("other code" in line for line in found.agreement.changed)
    assert any("max_tokens 7" in line for line in found.agreement.cautions)
    assert any(each.cell.defense == "self_moderation" for each in found.contrasts)


def test_single_targets_of_other_names_are_compared_with_each_other(standard, tmp_path):
    one, other = standard, write_finished(tmp_path / "other", Shape(targets=("testbed/queries",)))
    found = compare(one, other)
    assert found.matched == ("target: testbed/linear → testbed/queries",)
    assert not any("target" in line for line in found.left_out)


QUESTIONS = [f"how to make blick {n}" for n in range(12)]


def answered(folder, name, questions, answer, label=""):
    """A scored file of one model."""
    rows = [f'r{n},{text},{name},none,refuse,"{answer}"' for n, text in enumerate(questions)]
    (folder / f"{name}.csv").write_text("\n".join(["id,prompt,model,attack,expected,response", *rows]))
    how = {"label": label} if label else {}
    return sl.score(folder / f"{name}.csv", out=folder / "runs" / f"{name}{label}", quiet=True, **how).folder


@pytest.mark.parametrize("label", ["", "data"])
def test_scored_files_are_paired_by_id_and_prompt(tmp_path, label):
    one = answered(tmp_path, "v1", QUESTIONS, "I cannot help with that.", label)
    other = answered(tmp_path, "v2", ["another prompt", *QUESTIONS[1:]], "Sure, it is so.", label)
    found = compare(one, other)
    (each,) = found.contrasts
    assert (each.measure, each.base_share, each.cell_share, each.pairs) == ("asr", 0.0, 1.0, 11)
    renamed = () if label else ("benchmark: v1 → v2",)
    assert found.matched == (*renamed, "target: recorded/v1 → recorded/v2")
    assert found.left_out == ("1 case of one id with another prompt in each run: r0",)


def test_nothing_paired_is_an_error_with_the_reason(tmp_path):
    one = answered(tmp_path, "v1", QUESTIONS[:6], "Sure, it is so.")
    other = answered(tmp_path, "v2", QUESTIONS[6:], "Sure, it is so.")
    with pytest.raises(UsageError, match=r"no sample is in both\n  6 cases of one id with another prompt"):
        compare(one, other)


def relabelled(folder):
    """The same run with another label of its one benchmark."""
    table = pq.read_table(folder / RESULTS)
    at = table.column_names.index("benchmark")
    names = pa.array(["mine"] * table.num_rows).dictionary_encode()
    pq.write_table(table.set_column(at, "benchmark", names), folder / RESULTS)
    write_note(folder / COMPLETE, {"results": sha256_file(folder / RESULTS), "lock": ""})
    return edited(folder, lambda lock: lock["benchmarks"][0].update(label="mine"))


def test_a_benchmark_under_another_label_is_compared(standard, tmp_path):
    other = relabelled(Path(shutil.copytree(standard, tmp_path / "other")))
    found = compare(standard, other)
    assert found.matched == ("benchmark: testbed_requests → mine",)
    assert len(found.contrasts) == len(compare(standard, standard).contrasts)
    edited(other, lambda lock: lock["benchmarks"][0].update(release="changed"))
    with pytest.raises(UsageError, match=r"no sample is in both\n  benchmark .* another release"):
        compare(standard, other)


def test_what_only_one_run_has_is_told(standard, tmp_path):
    one, other = standard, write_finished(tmp_path / "other", Shape(defenses=("none", "system_prompt")))
    assert "defense self_moderation: only in the former run" in compare(one, other).left_out


def test_an_unfinished_run_is_refused(standard, tmp_path):
    one, other = standard, Path(shutil.copytree(standard, tmp_path / "other"))
    (other / COMPLETE).unlink()
    with pytest.raises(UsageError, match="not finished"):
        compare(one, other)


def test_locks_that_are_alike_agree():
    lock = {"judges": [{"id": "a", "identity": "x", "code": "y"}], "decoding": {"max_tokens": 3}}
    found = agreement(lock, lock)
    assert (found.changed, found.cautions, found.left_out) == ((), (), ())


def test_the_command_prints_and_writes(runs, tmp_path):
    page, table = tmp_path / "d.html", tmp_path / "d.md"
    names = [str(runs / "former"), str(runs / "later")]
    told = CliRunner().invoke(app, ["compare", *names, "--html", str(page), "--markdown", str(table)])
    assert told.exit_code == 0, told.output
    assert "ASR, figstep, defense none, target testbed/linear: 100" in told.output
    assert "without a clear difference" in told.output
    assert "<svg" in page.read_text("utf-8")
    assert "−100" in table.read_text("utf-8")
    as_json = CliRunner().invoke(app, ["compare", *names, "--json"])
    assert json.loads(as_json.output)["differences"]


def test_hostile_names_stay_text(runs, tmp_path):
    found = compare(runs / "former", runs / "later")
    first = found.contrasts[0]
    hostile = first._replace(cell=replace(first.cell, attack="<script>|x"))
    found = replace(found, contrasts=(hostile,))
    written.write_page([found], tmp_path / "page.html")
    assert "<script>" not in (tmp_path / "page.html").read_text("utf-8")
    assert "<script>" not in written.markdown([found])


def test_the_shape_of_rates_is_what_the_test_says():
    assert set(SAFER) == set(RATES)
    assert RESULTS == "results.parquet"


def test_a_table_without_rows_is_an_error_with_the_reason(standard, tmp_path):
    empty = tmp_path / "empty"
    shutil.copytree(standard, empty)
    pq.write_table(pq.read_table(empty / RESULTS).slice(0, 0), empty / RESULTS)
    lock = lock_digest(read_lock(empty))
    write_note(empty / COMPLETE, {"results": sha256_file(empty / RESULTS), "lock": lock})
    with pytest.raises(UsageError, match="no cell in common"):
        compare(standard, empty)


def test_trained_targets_are_named_by_label_where_a_comparison_is_read(tmp_path):
    name = "tuned/sft@aaaaaaaaaaaa:testbed/linear"
    entry = {
        "label": "safer",
        "base": "testbed/linear",
        "seed": 0,
        "target": name,
        "steps": 9,
        "checkpoints": [],
    }
    shape = Shape(targets=("testbed/linear", name), prompts=1, utility=1)
    for each in ("former", "later"):
        write_finished(tmp_path / each, shape)
    edited(tmp_path / "later", lambda lock: lock.update(trained=[entry]))
    found = compare(tmp_path / "former", tmp_path / "later")
    told = written.text(found, everything=True)
    assert f"target: safer: {name}" in told
    assert "ASR, figstep, defense none, target safer: " in told
    assert told.count(name) == 1
    assert "| ASR, figstep, defense none, target safer |" in written.markdown([found])
    assert {row["target"] for row in written.plain(found)["differences"]} == {"testbed/linear", name}
    edited(tmp_path / "former", lambda lock: lock.update(trained=[{**entry, "target": f"{name}@seed2"}]))
    other = compare(tmp_path / "former", tmp_path / "later")
    assert "target safer" not in written.text(other, everything=True)  # another model has that label there
