"""The report of a large run stays small in memory and on disk (specs/performance.md, S3)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "report.py"


@pytest.mark.slow
def test_report_over_a_million_rows():
    done = subprocess.run([sys.executable, str(BENCHMARK)], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["report_html_mb"] <= 5
    assert figures["report_peak_rss_mb"] <= 1000
