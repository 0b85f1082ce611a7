"""CPU time, disk and memory that the study engine adds to a sample, with a target that answers at once.

Measured as a slope between two sizes, so that start-up does not count; process CPU time, one process.
With Inspect's own engine on the same cell beside it. Last line: one JSON object.

    python benchmarks/engine_overhead.py            # 10^4 and 10^5 samples, Inspect at 200 and 1,000
    python benchmarks/engine_overhead.py --quick    # 2,000 and 20,000, under a minute
    python benchmarks/engine_overhead.py --million  # also 10^6: linearity, flat memory, resume
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.registry import benchmark

PICTURES = 100
STUDY = """
study: overhead
benchmarks: [{{name: counted_requests, n: {n}}}]
targets: [scripted/echo]
attacks: [none]
judges: [refusal_prefix]
"""


@benchmark("counted_requests")
@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRequests:
    """`n` requests that share a hundred pictures of 64 x 64 pixels."""

    n: int
    needs_root = False

    def cases(self, release: Release) -> Iterator[Case]:
        rng = np.random.default_rng(0)
        shown = [release.draw(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(PICTURES)]
        for i in range(self.n):
            text = f"request number {i}: please describe how one polishes a glimber of size {i % 97}"
            yield Case(
                id=f"counted/{i}",
                conversation=Conversation.user(shown[i % PICTURES], text),
                behavior=text,
                expected=Expected.refuse if i % 2 else Expected.comply,
                category=f"c{i % 10}",
                group=f"g{i // 10}",
            )


def measure(n: int) -> dict[str, float]:
    """One run of `n` samples in this process, then the same again (resume with nothing to do)."""
    from sightline.api.runs import finish
    from sightline.study.config import parse
    from sightline.study.run import Run

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cpu, wall = time.process_time(), time.perf_counter()
        run = Run(parse(STUDY.format(n=n)), folder)
        run.prepare()
        jsonl = _jsonl_bytes(run)
        run.tabulate()
        spent = time.process_time() - cpu
        again = time.perf_counter()
        second = Run(parse(STUDY.format(n=n)), folder)
        second.prepare()
        assert finish(second) == {}
        return {
            "n": n,
            "cpu_s": spent,
            "wall_s": again - wall,
            "resume_s": time.perf_counter() - again,
            "jsonl_bytes": jsonl / n,
            "parquet_bytes": sum(path.stat().st_size for path in folder.rglob("*.parquet")) / n,
            "results_bytes": (folder / "results.parquet").stat().st_size / n,
            "pictures": sum(path.is_file() for path in (folder / "blobs").rglob("*")),
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def _jsonl_bytes(run) -> int:  # type: ignore[no-untyped-def]
    """Run the three stages; bytes of their shards, read just before each is compacted."""
    total = 0
    compact = run.__class__._compact

    def counting(self, stage: str) -> None:  # type: ignore[no-untyped-def]
        nonlocal total
        total += sum(path.stat().st_size for path in (self.records / stage).glob("*.jsonl"))
        compact(self, stage)

    run.__class__._compact = counting
    try:
        run.craft()
        asyncio.run(run.answer())
        asyncio.run(run.judge())
    finally:
        run.__class__._compact = compact
    return total


def in_process_of_its_own(n: int) -> dict[str, float]:
    """`measure(n)` in a fresh process, so that peak memory is that run's own."""
    command = [sys.executable, __file__, "--one", str(n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(orjson.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--no-inspect", action="store_true")
    parser.add_argument("--one", type=int)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    small, large = (2_000, 20_000) if options.quick else (10_000, 100_000)
    rows = [in_process_of_its_own(n) for n in (small, large, *([1_000_000] if options.million else []))]
    figures: dict[str, float] = {"load_average": os.getloadavg()[0]}
    print(
        f"{'samples':>10} {'CPU ms each':>12} {'JSONL B':>8} {'Parquet B':>10} {'RSS MB':>8} {'resume s':>9}"
    )
    for row in rows:
        print(
            f"{row['n']:>10,.0f} {1000 * row['cpu_s'] / row['n']:>12.4f} {row['jsonl_bytes']:>8.0f} "
            f"{row['parquet_bytes']:>10.0f} {row['peak_rss_mb']:>8.0f} {row['resume_s']:>9.2f}"
        )
    slope = (rows[1]["cpu_s"] - rows[0]["cpu_s"]) / (rows[1]["n"] - rows[0]["n"])
    figures["sightline_cpu_ms_per_sample"] = round(1000 * slope, 4)
    figures["record_bytes_per_sample"] = round(rows[1]["jsonl_bytes"], 1)
    figures["parquet_bytes_per_sample"] = round(rows[1]["parquet_bytes"], 1)
    figures["results_bytes_per_sample"] = round(rows[1]["results_bytes"], 1)
    figures["pictures_stored_per_distinct_picture"] = rows[1]["pictures"] / PICTURES
    figures["peak_rss_mb"] = round(rows[-1]["peak_rss_mb"], 1)
    figures["resume_s"] = round(rows[-1]["resume_s"], 2)
    if options.million:
        per_sample = [row["cpu_s"] / row["n"] for row in rows]
        figures["linearity_1e6_over_1e4"] = round(per_sample[2] / per_sample[0], 3)
    if not options.no_inspect:
        from _inspect_side import inspect_engine_cpu_ms, inspect_target_cpu_ms

        count = 200 if options.quick else 1_000
        figures["inspect_cpu_ms_per_sample"] = round(inspect_engine_cpu_ms(count), 3)
        figures["through_inspect_provider_cpu_ms"] = round(inspect_target_cpu_ms(count), 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
