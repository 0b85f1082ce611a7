"""Memory, size and CPU time of the report over a large run (S3). Last line: one JSON object.

python benchmarks/report.py            # 10^6 result rows
python benchmarks/report.py --quick    # 10^5
python benchmarks/report.py --cells    # 2,000 cells of 24 to 36 samples, read by two judges
"""

from __future__ import annotations

import argparse
import json
import math
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
status = Path("/proc/self/status").read_text()
peak_kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
print(page.stat().st_size, peak_kb, time.process_time())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cells", action="store_true")
    chosen = parser.parse_args()
    rows = 100_000 if chosen.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        run = write_grid_run(path) if chosen.cells else write_big_run(path, rows)
        done = subprocess.run(
            [sys.executable, "-c", WRITE, str(run)], capture_output=True, text=True, check=True
        )
    size, peak_kb, cpu = map(float, done.stdout.split())
    figures = {
        **({"cells": math.prod(GRID_SHAPE)} if chosen.cells else {"rows": rows}),
        "report_html_mb": round(size / 1e6, 3),
        "report_peak_rss_mb": round(peak_kb / 1024, 1),
        "report_cpu_s": round(cpu, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
