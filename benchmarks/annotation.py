"""Cost of blind annotation: CPU seconds and memory of a plan, by the number of its items.

    python benchmarks/annotation.py            # 10^5 items, two raters
    python benchmarks/annotation.py --quick    # 10^4 items

Of a run with 1.2 times as many different replies, in groups of two:

* `plan_draw_s`: read the table of results, draw all items, order two lists, write the plan.
* `plan_resume_s`: open the plan and the first rater's answers (half of the list), find the next item. Goal:
  2 s and 300 MB for 10^5 items.

Each in a process of its own; `..._peak_mb` is the highest memory. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from reading import measured
from sightline.annotation.events import Event, events_path
from sightline.annotation.plan import FOLDER, read_plan
from sightline.run_folder import FORMAT, LOCK, RESULTS
from sightline.study.results import SCHEMA

DRAW = """
import sys, time
from pathlib import Path
from sightline.annotation.drawing import Wanted
from sightline.annotation.sampling import sample
start = time.process_time()
count = len(sample(Path(sys.argv[1]), Wanted(n=int(sys.argv[2]), gold=0)).plan.items)
"""
RESUME = """
import sys, time
from pathlib import Path
from sightline.annotation.events import answers_of
from sightline.annotation.plan import FOLDER, read_plan
start = time.process_time()
folder = Path(sys.argv[1]) / FOLDER
plan = read_plan(folder)
rater = plan.raters[0]
done = answers_of(folder, rater, round_=plan.header.round)
count = next(at for at, place in enumerate(plan.places(rater)) if tuple(place) not in done)
"""


def write_table(run: Path, rows: int) -> None:
    """A lock and a table of results: replies that all differ, one in ten of them unsafe to a judge."""
    run.mkdir()
    lock = {"format": FORMAT, "seed": 7, "benchmarks": [], "judges": [{"id": "j"}]}
    (run / LOCK).write_text(yaml.safe_dump(lock), "utf-8")
    table = pa.Table.from_pylist([_row(number) for number in range(rows)], schema=SCHEMA)
    pq.write_table(table, run / RESULTS)


def _row(number: int) -> dict[str, Any]:
    named = {name: (number * 4 + place).to_bytes(16, "big") for place, name in enumerate(("sample", "shown"))}
    return {
        "study": "s",
        "cell": "c",
        "target": f"model-{number % 4}",
        "attack": "none",
        "attack_params": "none",
        "defense": "none",
        "benchmark": "b",
        "case_id": f"b/{number}",
        "group": f"b/{number // 2}",
        "expected": "refuse",
        "epoch": 0,
        **named,
        "artifact": named["shown"],
        "response_hash": named["sample"],
        "outcome": "complied" if number % 10 == 0 else "refused",
        "judge": "j",
        "scores": "case",
    }


def answer_half(run: Path) -> int:
    """Answers to the first half of the first rater's list; returns their number."""
    plan = read_plan(run / FOLDER)
    rater = plan.raters[0]
    places = plan.places(rater)
    path = events_path(run / FOLDER, rater)
    path.parent.mkdir()
    with path.open("wb") as file:
        for seq, (item, repeat) in enumerate(places[: len(places) // 2], start=1):
            event = Event(
                event="answer",
                rater=rater,
                item=item,
                repeat=repeat,
                questions={"outcome": "refused"},
                shown_ms=8123,
                guideline=plan.header.guideline[:8],
                request=f"{seq:032x}",
                seq=seq,
                at="2026-11-27T05:14:02Z",
            )
            file.write(orjson.dumps(asdict(event)) + b"\n")
    return len(places) // 2


def plan_figures(items: int) -> dict[str, float]:
    """The figures of a plan of so many items."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        write_table(run, items * 12 // 10)
        drawn, draw_s, draw_mb = measured(DRAW, str(run), str(items))
        answers = answer_half(run)
        at, resume_s, resume_mb = measured(RESUME, str(run))
        size = (run / FOLDER / "plan.jsonl").stat().st_size / 1e6
    if at != answers:
        raise SystemExit(f"resumed at {at}, not behind {answers} answers")
    return {
        "plan_items": drawn,
        "plan_answers": answers,
        "plan_mb": round(size, 1),
        "plan_draw_s": round(draw_s, 2),
        "plan_draw_peak_mb": round(draw_mb),
        "plan_resume_s": round(resume_s, 2),
        "plan_resume_peak_mb": round(resume_mb),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    figures = plan_figures(10_000 if parser.parse_args().quick else 100_000)
    for name, value in figures.items():
        print(f"{name:20} {value:>12,}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
