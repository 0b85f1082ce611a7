"""`sightline export` of rates: the same numbers in every format, and nothing that a model said."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import yaml
from run_folder import RATES as ODDS
from run_folder import Shape, write_finished
from typer.testing import CliRunner

import sightline as sl
from sightline.api.exporting import FORMATS, IN_CLEAR, export
from sightline.cli import app
from sightline.errors import UsageError
from sightline.exports import hub
from sightline.exports.rates import LOWER_IS_BETTER, rates_of
from sightline.exports.tables import as_csv, csv_of, escaped
from sightline.leaderboard.entries import read
from sightline.metrics.rates import MEASURES
from sightline.run_folder import COMPLETE
from sightline.tables import compacted_rows

RATES = sorted(set(FORMATS) - IN_CLEAR)
DATASETS = {"testbed_requests": "example/requests:drawn"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_finished(tmp_path_factory.mktemp("run"), Shape(hostile=True))


def about(format):
    return {"datasets": DATASETS} if format == "hf-eval-results" else {}


def test_tables_hold_the_rates_of_the_run(run, tmp_path):
    known = {
        (row["target"], row["attack"], row["defense"], row["judge"], row["measure"]): row
        for row in sl.load(run).cells().to_pylist()
        if row["rate"] is not None
    }
    (path,) = export(run, format="parquet", out=tmp_path)
    rows = pq.read_table(path).to_pylist()
    (text,) = export(run, format="csv", out=tmp_path)
    as_csv = list(csv.DictReader(io.StringIO(text.read_text("utf-8"))))
    (plain,) = export(run, format="json", out=tmp_path)
    as_json = json.loads(plain.read_text("utf-8"))["rates"]
    assert len(rows) == len(as_csv) == len(as_json) == len(known)
    for row, of_csv, of_json in zip(rows, as_csv, as_json, strict=True):
        place = tuple(row[name] for name in ("target", "attack", "defense", "judge", "measure"))
        for name in ("rate", "low", "high", "n", "unscored"):
            assert row[name] == known[place][name] == of_json[name] == pytest.approx(float(of_csv[name]))
        counts = [row[name] or 0 for name in row if name.startswith("cell_")]
        assert sum(counts) >= row["n"]


@pytest.mark.parametrize("format", RATES)
def test_no_prompt_and_no_response_is_in_any_of_them(run, tmp_path, format):
    said = {row["text"] for row in compacted_rows(run / "records" / "answer") if len(row["text"]) > 8}
    assert len(said) > 20
    for path in export(run, format=format, out=tmp_path, **about(format)):
        content = path.read_bytes().decode("utf-8", "replace")
        assert not [text for text in said if text in content]
        assert "<script" not in content


def test_records_of_every_eval_ever_have_what_its_schema_requires(run, tmp_path):
    # eval.schema.json 0.2.2: `required` at each level, and details that are texts
    paths = export(run, format="every-eval-ever", out=tmp_path, organization="us", relationship="first_party")
    assert len(paths) == 3  # one target, three defenses
    for path in paths:
        record = json.loads(path.read_text("utf-8"))
        assert set(record) >= {
            "schema_version",
            "evaluation_id",
            "retrieved_timestamp",
            "source_metadata",
            "model_info",
            "eval_library",
            "evaluation_results",
        }
        assert record["retrieved_timestamp"].isdigit()
        assert record["source_metadata"] == {
            "source_name": "Sightline study synthetic",
            "source_type": "evaluation_run",
            "source_organization_name": "us",
            "evaluator_relationship": "first_party",
        }
        assert record["model_info"]["additional_details"]["defense"] in Shape().defenses
        for result in record["evaluation_results"]:
            assert {"evaluation_name", "source_data", "metric_config", "score_details"} <= set(result)
            assert result["source_data"]["source_type"] == "other"
            config = result["metric_config"]
            assert (config["min_score"], config["max_score"]) == (0, 1)
            assert config["lower_is_better"] is (config["metric_name"] in LOWER_IS_BETTER)
            details = result["score_details"]["details"]
            assert all(isinstance(each, str) for each in details.values())
            interval = result["score_details"]["uncertainty"]["confidence_interval"]
            assert interval["lower"] <= result["score_details"]["score"] <= interval["upper"]


def test_files_for_the_hub_are_what_its_library_reads(run, tmp_path):
    library = pytest.importorskip("huggingface_hub")
    paths = export(run, format="hf-eval-results", out=tmp_path, datasets=DATASETS)
    assert all(path.parent.name == ".eval_results" for path in paths)
    entries = [
        entry
        for path in paths
        for entry in library.parse_eval_result_entries(yaml.safe_load(path.read_text("utf-8")))
    ]
    assert len(set(paths)) == len(entries) == 18  # six attacks and controls, three defenses
    assert {(entry.dataset_id, entry.task_id) for entry in entries} == {("example/requests", "drawn")}
    assert all(0 <= entry.value <= 100 for entry in entries)
    assert all("n = " in entry.notes for entry in entries)


@pytest.mark.parametrize(
    ("datasets", "told"),
    [({}, "--dataset testbed_requests=ORG/NAME"), ({"other": "a/b"}, "this run has"),
     ({"testbed_requests": "no name"}, "ORG/NAME:TASK")],
)  # fmt: skip
def test_a_dataset_of_the_hub_must_be_named(run, tmp_path, datasets, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        export(run, format="hf-eval-results", out=tmp_path, datasets=datasets)
    assert not list(tmp_path.iterdir())


def test_latex_is_escaped_and_balanced(run, tmp_path):
    (path,) = export(run, format="latex", out=tmp_path)
    text = path.read_text("utf-8")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") >= 2
    assert r"testbed\_requests" in text
    assert re.search(r"figstep & \d+ \[\d+, \d+\] \\\\", text)
    assert escaped("a_b & 5 % \\x {y} ~^ <z>") == (
        r"a\_b \& 5 \% \textbackslash{}x \{y\} \textasciitilde{}\textasciicircum{} \textless{}z\textgreater{}"
    )


def test_what_a_spreadsheet_would_compute_stays_text(run, tmp_path):
    rates = rates_of(run)
    line = rates.lines[0]
    evil = replace(line, cell=replace(line.cell, id=replace(line.cell.id, attack='=HYPERLINK("x")')))
    rows = list(csv.DictReader(io.StringIO(as_csv(replace(rates, lines=(evil,))).decode())))
    assert rows[0]["attack"].startswith("'=")


def test_every_direction_is_of_a_measure():
    assert set(MEASURES) >= LOWER_IS_BETTER


def test_the_command_tells_what_the_files_hold(run, tmp_path):
    told = CliRunner().invoke(app, ["export", str(run), "--format", "latex", "--out", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "1 file holds rates, no prompt and no response" in told.output
    wrong = CliRunner().invoke(
        app, ["export", str(run), "--format", "every-eval-ever", "--relationship", "x"]
    )
    assert isinstance(wrong.exception, UsageError)


def test_an_unfinished_run_has_no_rates_to_export(tmp_path):
    run = write_finished(tmp_path, Shape())
    (run / COMPLETE).unlink()
    with pytest.raises(UsageError, match="not finished"):
        export(run, format="csv")


def test_two_results_of_one_file_name_are_refused(run):
    rates = rates_of(run)
    line = next(each for each in rates.by_primary() if each.measure == "asr")
    twin = replace(line, cell=replace(line.cell, id=replace(line.cell.id, attack=f"{line.cell.id.attack} ")))
    with pytest.raises(UsageError, match="another label"):
        hub.files(replace(rates, lines=(line, twin)), DATASETS)


def test_a_bracket_does_not_become_a_length():
    assert escaped("[2em] z") == "{[}2em] z"


def test_a_table_of_any_rows_holds_no_formula_and_none_is_empty() -> None:
    found = csv_of([{"case": "=cmd|' /C calc'!A0", "near": None}, {"case": "-1", "near": "b"}])
    assert found == b"case,near\r\n'=cmd|' /C calc'!A0,\r\n'-1,b\r\n"


def test_rates_without_a_verdict_are_told(tmp_path):
    """Every reply to FigStep failed behind one defense: no table may look as if it had not been run."""
    failed = ({"error": 1.0}, {"error": 1.0})
    odds = {key: failed if key == ("figstep", "system_prompt") else found for key, found in ODDS.items()}
    run = write_finished(tmp_path / "runs" / "one", Shape(rates=odds))
    where = r"linear, defense system_prompt: no sample has a verdict of testbed_policy \(figstep on"
    for format in RATES:
        with pytest.warns(UserWarning, match=rf"not exported: testbed/{where}"):
            export(run, format=format, out=tmp_path / format, **about(format))
    board = read(run.parent, check=False)
    assert any(re.search(where, line) for line in board.left_out)
    assert [each.row.defense for each in board.entries if each.missing] == ["system_prompt"]
