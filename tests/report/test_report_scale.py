"""The report of a large run stays small in memory and on disk (specs/performance.md, S3)."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markupsafe import Markup
from run_folder import Shape, write_run

from sightline import report
from sightline.report import figures

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "report.py"


@pytest.mark.slow
def test_report_over_a_million_rows():
    done = subprocess.run([sys.executable, str(BENCHMARK)], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["report_html_mb"] <= 5
    assert figures["report_peak_rss_mb"] <= 1000


def test_no_chart_is_drawn_that_the_page_does_not_show(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "inline_svg", lambda drawing, text: Markup(drawn.append(text) or "<svg/>"))
    monkeypatch.setattr("vl_convert.vegalite_to_svg", lambda *_, **__: "")
    monkeypatch.setattr(
        figures, "panels_svg", lambda _, text, spacing: Markup(drawn.append(text) or "<svg/>")
    )
    targets = tuple(f"testbed/linear@{number}" for number in range(8))
    shape = Shape(targets=targets, attacks=("none",), defenses=("none",), prompts=1, utility=1)
    page = report.write(write_run(tmp_path / "run", shape)).read_text()
    assert len(drawn) == page.count("<svg/>")
    assert sum(text.startswith("Outcomes of every cell") for text in drawn) == 6


def test_a_run_whose_answers_have_no_seconds_is_reported(tmp_path):
    run = write_run(tmp_path / "run", Shape(prompts=1, utility=1))
    path = run / "results.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("seconds")
    empty = pa.nulls(len(table), table.schema.field("seconds").type)
    pq.write_table(table.set_column(at, table.schema.field("seconds"), empty), path)
    (run / "records" / "complete.json").unlink(missing_ok=True)
    assert "<h2" in report.write(run).read_text()
