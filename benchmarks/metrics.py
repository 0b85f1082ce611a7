"""Coverage and speed of the intervals, speed of the summary: `python benchmarks/metrics.py [--quick]`.

Coverage is simulated (`_coverage.py`): how often a 95 % interval holds the truth, over numbers and sizes of
clusters, correlations within them, and shares; 4,000 runs of every setting, 300 with --quick. The table shows
the least coverage of all settings, with the mean behind it. The standard error of one setting is .003, of
--quick .013, so that the least of a hundred lies below .95 by three times that for an exact interval too.
Speed is CPU time in one process, least of three. The last line is one JSON object:

coverage_WHAT_least, _mean    over `coverage_WHAT_settings` settings; `_skewed`: cluster sizes very unequal
width_over_bootstrap          mean width of our interval of a rate / that of the bootstrap that it replaced
cluster_interval_s_1e6        one 95 % clustered interval: 10^6 rows in 10^4 clusters, summed up from the rows
row_resampling_ratio          resampling 10^5 rows 1,000 times with NumPy / our interval over the same rows in
                              10^3 clusters (the former scaled up from 50 replicates with --quick)
alpha_s_1e5x2                 Krippendorff's alpha of two raters of 10^5 items, from the labels on, with an
                              interval of 2,000 bootstrap replicates over items
alpha_s_1e5x2_groups          the same over 10^4 clusters of items
summary_s_SIZE                `summarize` over a Parquet file of SIZE rows: 10^6, or 10^5 with --quick
summary_peak_mb_SIZE          peak memory of the process that did it, Python and libraries included

(Not called statistics.py: a script's folder comes first on the import path, and Inspect AI imports the
standard library's `statistics`.)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _coverage import figures as coverage_figures
from _coverage import simulate, table
from sightline.metrics.intervals import cluster_sums, ratio_interval
from sightline.metrics.krippendorff import raters_agree

ATTACKS = ("none", "blank_image", "figstep", "mm_typography")
DEFENSES = ("none", "d1", "d2", "d3", "d4")
JUDGES = ("testbed_policy(x)", "refusal_prefix(x)")
OUTCOMES, CHANCES = ("refused", "complied", "partial", "error"), (0.5, 0.4, 0.09, 0.01)
COSTS = ("calls_target", "calls_aux", "calls_judge", "tokens_in", "tokens_out", "flops", "seconds")


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Least CPU time of several runs."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def clustered_rows(rows: int, clusters: int) -> tuple[Any, Any]:
    """0/1 rows whose chance of success differs by cluster."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, clusters, size=rows)
    chance = rng.beta(2, 5, size=clusters)
    return groups, rng.random(rows) < chance[groups]


def clustered(groups: Any, success: Any) -> None:
    """Our interval from the rows on."""
    ratio_interval(*cluster_sums(groups, success, np.ones(len(success))))


def row_resampling(success: Any, replicates: int) -> None:
    """The plain way: draw all rows again for every replicate."""
    rng = np.random.default_rng(0)
    values = success.astype(float)
    np.quantile([rng.choice(values, len(values)).mean() for _ in range(replicates)], (0.025, 0.975))


def write_results(path: Path, rows: int) -> None:
    """A result table of 4 attacks x 5 defenses x 2 judges with 50 cases per cluster."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [(a, d, j) for a in ATTACKS for d in DEFENSES for j in JUDGES]
    cases = np.arange(rows // len(cells))
    rng = np.random.default_rng(0)
    shared = {
        "case_id": [f"world-v1/request/{case:07d}" for case in cases],
        "group": [f"noun-{case // 50}" for case in cases],
        "category": [f"category-{case // 50 % 13}" for case in cases],
        "hazard": [f"H{case // 50 % 7}" for case in cases],
        "expected": np.where(cases % 2 == 0, "refuse", "comply"),
        "epoch": np.zeros(len(cases), np.int32),
        **{name: np.ones(len(cases), np.float32) for name in COSTS},
    }
    writer = None
    for attack, defense, judge in cells:
        constant = {"benchmark": "world", "release": "r1", "target": "testbed/linear", "crafted_on": ""}
        constant |= {"oracle": "none", "attack": attack, "attack_params": attack}
        constant |= {"defense": defense, "judge": judge}
        outcome = rng.choice(
            ["refused", "complied", "partial", "error"], len(cases), p=[0.5, 0.4, 0.09, 0.01]
        )
        same = {name: [value] * len(cases) for name, value in constant.items()}
        table = pa.table({**shared, **same, "outcome": outcome})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()


def summarize_here(path: Path) -> dict[str, float]:
    """CPU seconds and peak memory of a summary; runs in a process of its own."""
    from sightline.metrics.summary import summarize

    spent = seconds(lambda: summarize(path), 1)
    return {"s": spent, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage and speed of the intervals, speed of the summary.")
    parser.add_argument("--quick", action="store_true", help="ends within a minute")
    parser.add_argument("--summarize", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.summarize:
        print(json.dumps(summarize_here(options.summarize)))
        return
    print(f"load {os.getloadavg()[0]:.1f}, numpy {np.__version__}")
    tallies = simulate(*((300, 30) if options.quick else (4000, 400)))
    print(table(tallies))
    figures = coverage_figures(tallies)
    groups, success = clustered_rows(1_000_000, 10_000)
    figures["cluster_interval_s_1e6"] = seconds(lambda: clustered(groups, success))
    groups, success = clustered_rows(100_000, 1_000)
    replicates = 50 if options.quick else 1000
    plain = seconds(lambda: row_resampling(success, replicates), 1) * 1000 / replicates
    figures["row_resampling_ratio"] = plain / seconds(lambda: clustered(groups, success))
    rng = np.random.default_rng(0)
    truth = rng.random(100_000) < 0.05
    said = (truth[:, None] ^ (rng.random((100_000, 2)) < 0.02)).tolist()
    clusters = rng.integers(0, 10_000, 100_000).tolist()
    figures["alpha_s_1e5x2"] = seconds(lambda: raters_agree(said), 1)
    figures["alpha_s_1e5x2_groups"] = seconds(lambda: raters_agree(said, groups=clusters), 1)
    size, name = (100_000, "1e5") if options.quick else (1_000_000, "1e6")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.parquet"
        write_results(path, size)
        command = [sys.executable, __file__, "--summarize", str(path)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for figure, value in json.loads(said).items():
        figures[f"summary_{figure}_{name}"] = value
    for figure, value in figures.items():
        print(f"{figure:44s} {value:.4g}")
    print(json.dumps({figure: round(value, 4) for figure, value in figures.items()}))


if __name__ == "__main__":
    main()
