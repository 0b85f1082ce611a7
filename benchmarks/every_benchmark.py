"""One study over every benchmark that reads a release: 20 cases each on the smallest testbed model.

    python benchmarks/every_benchmark.py [--quick] [--target testbed/linear]

The releases are the synthetic ones of the tests, in the official layouts. Printed are the study's seconds,
the cases and outcomes of every benchmark, and whether every denominator is closed: its outcomes add up to its
cases. `--quick` asks 4 cases each. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))
import all_releases

from sightline import registry


def study(folder: Path, target: str, limit: int) -> dict[str, Any]:
    """The study of all releases, which are written into `folder`."""
    sources = [
        {"name": name, "root": str(write(folder / name)), "limit": limit, "on_bad_rows": "keep"}
        for name, write in all_releases.RELEASES.items()
    ]
    return {
        "study": "every-benchmark",
        "benchmarks": sources,
        "targets": [target],
        "attacks": ["none"],
        "judges": ["refusal_prefix"],
    }


def cases_of(source: dict[str, Any]) -> int:
    """Cases that a source of the study has, read apart from it."""
    benchmark = registry.make("benchmark", source["name"], on_bad_rows=source["on_bad_rows"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a synthetic release is smaller than the official one
        return len(benchmark(source["root"], limit=source["limit"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="4 cases of each benchmark instead of 20")
    parser.add_argument("--target", default="testbed/linear")
    asked = parser.parse_args()
    import pyarrow.parquet as pq

    limit = 4 if asked.quick else 20
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = folder / "study.yaml"
        plain = study(folder / "releases", asked.target, limit)
        file.write_text(yaml.safe_dump(plain, sort_keys=False))
        started = time.monotonic()
        command = [sys.executable, "-m", "sightline", "run", str(file), "--out", str(folder / "run")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        asked_for = {source["name"]: cases_of(source) for source in plain["benchmarks"]}
        rows = pq.read_table(folder / "run" / "results.parquet", columns=["benchmark", "outcome"]).to_pylist()
        outcomes: dict[str, Counter[str]] = {source["name"]: Counter() for source in plain["benchmarks"]}
        for row in rows:
            outcomes[row["benchmark"]][row["outcome"]] += 1
    for name, counts in outcomes.items():
        print(f"{name:24} {counts.total():4}  {', '.join(f'{n} {what}' for what, n in counts.most_common())}")
    print(
        json.dumps(
            {
                "benchmarks": len(outcomes),
                "rows": len(rows),
                "closed": all(counts.total() == asked_for[name] for name, counts in outcomes.items()),
                "errors": sum(counts["error"] for counts in outcomes.values()),
                "seconds": round(seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
