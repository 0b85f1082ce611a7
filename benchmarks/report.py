"""Memory, size and CPU time of the report over a large run (S3). Last line: one JSON object.

python benchmarks/report.py            # 10^6 result rows
python benchmarks/report.py --quick    # 10^5
python benchmarks/report.py --cells    # 2,000 cells of 24 to 36 samples, read by two judges

`report_cpu_s` is of a process that finds its byte code and templates compiled: the report of a small run, not
measured, goes before. `loop_cpu_s` is a plain loop of 20 million additions in the same process, and `ratio`
the report's CPU time against it: seconds differ between machines and with their load, the ratio does less.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

from run_folder import GRID_SHAPE, write_big_run, write_grid_run

# In a process of its own; VmHWM, because ru_maxrss of a child starts at its parent's peak.
WRITE = """
import sys, time
from pathlib import Path
from sightline import report
page = report.write(Path(sys.argv[1]))
cpu = time.process_time()
status = Path("/proc/self/status").read_text()
peak_kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
start, total = time.process_time(), 0
for number in range(20_000_000):
    total += number
print(page.stat().st_size, peak_kb, cpu, time.process_time() - start)
"""
SMALL = (2, 8, 2)
"""Targets, attacks and defenses of the run that only warms the cache of byte code."""


def measured(run: Path, byte_code: Path) -> list[float]:
    """What `WRITE` prints of a run; byte code is kept in a folder, whatever the shell says of it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(run)],
        env={**kept, "PYTHONPYCACHEPREFIX": str(byte_code)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(figure) for figure in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cells", action="store_true")
    chosen = parser.parse_args()
    rows = 100_000 if chosen.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        byte_code = Path(folder) / "byte_code"
        measured(write_grid_run(Path(folder) / "small", SMALL), byte_code)
        run = write_grid_run(path) if chosen.cells else write_big_run(path, rows)
        size, peak_kb, cpu, loop = measured(run, byte_code)
    figures = {
        **({"cells": math.prod(GRID_SHAPE)} if chosen.cells else {"rows": rows}),
        "report_html_mb": round(size / 1e6, 3),
        "report_peak_rss_mb": round(peak_kb / 1024, 1),
        "report_cpu_s": round(cpu, 2),
        "loop_cpu_s": round(loop, 2),
        "ratio": round(cpu / loop, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
