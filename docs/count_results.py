"""Outcomes of a run by benchmark, target, attack and what a safe model does, as a table for docs/results.

    python docs/count_results.py runs/frontier > docs/results/frontier.csv

A trained target stands by the label of its row, its seed and its step, what was trained first as `base`.
What was trained on several bases has a row for each of them. Counts are of the first judge of the case,
without a defense; `right` are replies with the whole score.
"""

from __future__ import annotations

import argparse
import csv
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from sightline.errors import UsageError
from sightline.leaderboard.missing import first_judge
from sightline.run_folder import RESULTS, finished_lock

COUNTS = """
    select benchmark, target, attack, expected, count(*) filter (outcome = 'complied') as complied,
        count(*) filter (outcome = 'refused') as refused, count(*) filter (score = 1) as "right",
        count(*) as n
    from read_parquet($table) where judge = $judge and defense = 'none' group by all order by all
"""
Place = tuple[str, str, str]


def places(lock: dict[str, Any]) -> dict[str, Place]:
    """Label, seed and step of each trained target, by its string; bases that were not trained are `base`."""
    found = dict[str, Place]()
    for run in lock.get("trained") or ():
        found.setdefault(run["base"], ("base", "", "0"))
        for step, string in [*run["checkpoints"], (run["steps"], run["target"])]:
            found[string] = (run["label"], str(run["seed"]), str(step))
    return found


def main() -> None:
    """Print the table of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    try:
        lock = finished_lock(run)
        judge = first_judge(lock)["id"]
    except UsageError as wrong:
        raise SystemExit(f"error: {wrong}") from None
    known = places(lock)
    counted = duckdb.execute(COUNTS, {"table": str(run / RESULTS), "judge": judge}).fetchall()
    rows = [
        (benchmark, *known.get(target, (target, "", "")), *others) for benchmark, target, *others in counted
    ]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = (
        "benchmark",
        "trained",
        "seed",
        "step",
        "attack",
        "expected",
        "complied",
        "refused",
        "right",
        "n",
    )
    with suppress(BrokenPipeError):
        writer.writerow(names)
        writer.writerows(sorted(rows, key=lambda row: (row[:3], int(row[3] or 0), *row[4:6])))


if __name__ == "__main__":
    main()
