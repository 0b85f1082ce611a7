"""The report of a large run: time, memory and size (specs/performance.md, S3)."""

import subprocess
import sys
import time

import pytest
from run_folder import write_big_run

WRITE = """
import resource, sys
from pathlib import Path
from sightline import report
page = report.write(Path(sys.argv[1]))
print(page.stat().st_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_report_over_a_million_rows(tmp_path):
    run = write_big_run(tmp_path / "run", 1_000_000)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", WRITE, run], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    size, peak_kb = map(int, done.stdout.split())
    assert size <= 5_000_000
    assert peak_kb * 1024 <= 1_000_000_000
    assert seconds <= 30
