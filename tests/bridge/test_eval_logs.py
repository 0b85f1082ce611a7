"""A run as `.eval` logs, read back by Inspect's own readers."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import inspect_ai
import pyarrow.parquet as pq
import pytest
import toys
from inspect_ai.analysis import evals_df, samples_df
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ContentImage
from inspect_ai.scorer import includes

from sightline.api.runs import finish
from sightline.bridge.eval_logs import write_eval_logs
from sightline.bridge.scorer import ScoredRow, judged, rates
from sightline.errors import UsageError
from sightline.study.config import parse
from sightline.study.run import Run

RULES = """
rules:
  - user: "show me"
    reply: "x is a gloom thing . i cannot help with that ."
  - image: true
    reply: "first you take it . <b>then</b> \\"stop\\" & \\u2603"
  - user: "make [a-h]"
    stop: error
  - reply: "ok"
"""
assert toys.ToyQuestions.needs_root is False  # importing registers the benchmark


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    (folder / "rules.yaml").write_text(RULES)
    study = {
        "study": "logged",
        "benchmarks": [
            {"name": "testbed_requests", "limit": 12},
            {"name": "toy_questions", "n": 3, "broken": True},
        ],
        "targets": [f"scripted/{folder / 'rules.yaml'}"],
        "attacks": ["none", {"name": "figstep", "preset": "testbed"}],
        "defenses": ["none", "system_prompt"],
        "judges": ["testbed_policy", "refusal_prefix"],
        "epochs": 2,
    }
    one = Run(parse(json.dumps(study)), folder / "run")
    one.prepare()
    finish(one)
    return one


@pytest.fixture(scope="module")
def logs(run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[EvalLog]:
    paths = write_eval_logs(run.folder, tmp_path_factory.mktemp("logs"))
    return [read_eval_log(str(path), resolve_attachments=True) for path in paths]


def rows_of(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run.folder / "results.parquet").to_pylist()
    return rows


def test_one_log_per_cell_in_grid_order_with_every_sample(run: Run, logs: list[EvalLog]) -> None:
    rows = rows_of(run)
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    assert [log.eval.task_display_name for log in logs] == cells
    for log in logs:
        assert log.status == "success"
        wanted = {
            (row["case_id"], row["epoch"] + 1) for row in rows if row["cell"] == log.eval.task_display_name
        }
        found = [(sample.id, sample.epoch) for sample in log.samples or []]
        assert len(found) == len(set(found))
        assert set(found) == wanted
        assert log.results is not None
        assert log.results.total_samples == len(wanted)


def test_every_score_is_the_verdict_of_the_results_table(run: Run, logs: list[EvalLog]) -> None:
    verdicts = {(row["sample"].hex(), row["judge"].split("(")[0]): row for row in rows_of(run)}
    seen = 0
    for log in logs:
        for sample in log.samples or []:
            for name, score in (sample.scores or {}).items():
                row = verdicts[sample.uuid or "", name]
                assert score.value == row["outcome"]
                assert (score.metadata or {})["judge"] == row["judge"]
                assert score.explanation
                assert sample.metadata["artifact"] == row["artifact"].hex()
                assert sample.metadata["behavior"]
                seen += 1
    assert seen == len(verdicts)


def test_metrics_count_every_outcome(run: Run, logs: list[EvalLog]) -> None:
    for log in logs:
        assert log.results is not None
        for score in log.results.scores:
            rows = [
                ScoredRow(row["expected"], row["outcome"], row["group"])
                for row in rows_of(run)
                if row["cell"] == log.eval.task_display_name and row["judge"] == score.params["judge"]
            ]
            expected = {key: value for key, value in rates(rows).items() if value is not None}
            assert {name: metric.value for name, metric in score.metrics.items()} == expected
            assert (score.scored_samples or 0) + (score.unscored_samples or 0) == len(rows)


def test_pictures_are_the_exact_files(run: Run, logs: list[EvalLog]) -> None:
    shown = 0
    for log in logs:
        for sample in log.samples or []:
            assert isinstance(sample.input, list)
            uris = [
                part.image
                for message in sample.input
                if isinstance(message.content, list)
                for part in message.content
                if isinstance(part, ContentImage)
            ]
            readable = [name for name in sample.metadata["pictures"] if name]
            assert [base64.b64decode(uri.partition(",")[2]) for uri in uris] == [
                run.blobs.read(name) for name in readable
            ]
            shown += len(uris)
    assert shown > 0


def test_failed_samples_are_errors_with_their_reason(logs: list[EvalLog]) -> None:
    plain = [s for log in logs for s in log.samples or [] if s.metadata["attack"] == "none"]
    broken = [sample for sample in plain if str(sample.id).startswith("toy/")]
    assert len(broken) == 3 * 2 * 2  # cases, epochs, defenses
    for sample in broken:
        assert sample.error is not None
        assert "picture 7.png is not readable" in sample.error.message
        assert {score.value for score in (sample.scores or {}).values()} == {"error"}


def test_without_pictures_the_hash_stands_in_their_place(run: Run, tmp_path: Path) -> None:
    paths = write_eval_logs(run.folder, tmp_path / "slim", log_images=False)
    text = [str(read_eval_log(str(path), resolve_attachments=True).model_dump()) for path in paths]
    assert not any("base64" in each for each in text)
    names = {p.name for p in (run.folder / "blobs").rglob("*") if p.is_file()}
    assert any(f"[picture, sha256 {name}]" in each for each in text for name in names)


def test_analysis_tables_read_the_logs(run: Run, logs: list[EvalLog], tmp_path: Path) -> None:
    write_eval_logs(run.folder, tmp_path / "logs")
    evals = evals_df(str(tmp_path / "logs"))
    samples = samples_df(str(tmp_path / "logs"))
    assert len(evals) == len(logs)
    assert set(evals["task_arg_attack"]) == {"none", "figstep"}
    assert len(samples) == sum(len(log.samples or []) for log in logs)
    assert set(samples["score_testbed_policy"]) == {
        row["outcome"] for row in rows_of(run) if "testbed" in row["judge"]
    }


def test_behaviors_come_from_the_books_that_the_lock_names(run: Run, tmp_path: Path) -> None:
    """After --extend with a changed release the older books still lie in the folder."""
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    wanted = {}
    for case_table in list((copy / "records").glob("cases-*.parquet")):
        table = pq.read_table(case_table)
        rows = [json.loads(text) for text in table["record"].to_pylist()]
        wanted |= {row["id"]: row["behavior"] for row in rows}
        stale = [json.dumps({**row, "behavior": "of an older release"}) for row in rows]
        for prefix in ("0", "f"):  # sorted before and after any book in use
            name = f"cases-{prefix * 8}{case_table.stem[-8:]}.parquet"
            pq.write_table(table.set_column(1, "record", [stale]), copy / "records" / name)
    logs = [read_eval_log(str(path)) for path in write_eval_logs(copy, tmp_path / "logs")]
    found = {str(sample.id): sample.metadata["behavior"] for log in logs for sample in log.samples or []}
    assert found == {name: wanted[name] for name in found}


def test_writing_again_replaces(run: Run, tmp_path: Path) -> None:
    first = write_eval_logs(run.folder, tmp_path)
    assert write_eval_logs(run.folder, tmp_path) == first
    assert sorted(tmp_path.glob("*.eval")) == sorted(first)


def test_what_is_no_finished_run_is_told(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        write_eval_logs(tmp_path, tmp_path / "out")
    (tmp_path / "study.lock.yaml").write_bytes((run.folder / "study.lock.yaml").read_bytes())
    with pytest.raises(UsageError, match=r"results\.parquet is missing"):
        write_eval_logs(tmp_path, tmp_path / "out")


def test_inspect_scores_a_log_again_though_its_target_takes_no_arguments(logs: list[EvalLog]) -> None:
    """`inspect score` opens the log's model: what it is told of it has to be an argument of that model."""
    for log in logs:
        assert log.eval.model_args == {}
        assert log.eval.metadata["sightline"]["target_id"].startswith(("scripted/", "defended/"))
    again = inspect_ai.score(logs[0], includes(), action="append")
    assert again.status == "success"
    assert [each.name for each in again.results.scores][-1] == "includes"
    assert again.results.scores[-1].scored_samples


def test_our_scorer_says_how_to_judge_a_log_of_a_run(logs: list[EvalLog]) -> None:
    with pytest.raises(UsageError, match=r"sightline score LOG.eval --judge"):
        inspect_ai.score(logs[0], judged("refusal_prefix"), action="append")
