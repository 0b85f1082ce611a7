"""CPU seconds and memory of reading releases: no picture is decoded, no table is held in memory.

    python benchmarks/reading.py            # 10^6 rows of JSONL
    python benchmarks/reading.py --quick    # 10^5; ends within a minute

* `mm_safetybench_listed_s`: all 5,040 cases of a synthetic MM-SafetyBench of the official size (1,680
  questions in three kinds of pictures), listed.
* Rows a second of a JSONL file: read (`rows`); to cases of a benchmark of five columns (`small_cases`), and
  these as a run stores them (`small_plain`); the same by `cases`, which is for any table (`own_cases`,
  `own_plain`). Each in a process of its own, `peak_mb` is the highest memory of all.

Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

import releases

from sightline.benchmarks.mm_safetybench import SCENARIOS

PEAK = """
status = Path("/proc/self/status").read_text()
peak_kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
print(count, time.process_time() - start, peak_kb)
"""
LISTED = """
import sys, time
from pathlib import Path
from sightline import registry
from sightline.release import OfficialRelease
start, count = time.process_time(), 0
for kind in ("SD", "TYPO", "SD_TYPO"):
    release = OfficialRelease(Path(sys.argv[1]), None, listing=True)
    cases = registry.make("benchmark", "mm_safetybench", images=kind).cases(release)
    count += sum(not image.problem for case in cases for image in case.conversation.images)
"""
STREAMED = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
from sightline import Case, Conversation, Expected, registry
from sightline.plain import plain_case
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.release import OfficialRelease

KINDS = {"harmful": Expected.refuse, "harmless": Expected.comply}

@benchmark("small", source="invented")
@dataclass(frozen=True, slots=True, kw_only=True)
class Small(TableBenchmark):
    def rows(self, release):
        yield from release.rows("rows.jsonl")

    def case(self, row, release):
        number, text = row.word("id"), row.text("prompt")
        return Case(
            id=f"small/{number}",
            conversation=Conversation.user(text),
            behavior=text,
            expected=row.one_of(KINDS, "kind"),
            category=row.word("category"),
            group=f"small/{row.word('topic')}",
        )

path, way = Path(sys.argv[1]), sys.argv[2]
own = {"labels": {"harmful": "refuse", "harmless": "comply"}}
reader = registry.make("benchmark", "cases", **own) if way.startswith("own") else Small()
release = OfficialRelease(path, None, listing=True)
start = time.process_time()
found = release.rows("rows.jsonl") if way == "rows" else reader.cases(release)
count = sum(1 for each in (map(plain_case, found) if way.endswith("plain") else found))
"""
WAYS = ("rows", "small_cases", "small_plain", "own_cases", "own_plain")


def measured(code: str, *arguments: str) -> tuple[int, float, float]:
    """How many, CPU seconds, and the highest memory in MB, of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code + PEAK, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    count, seconds, peak_kb = map(float, done.stdout.split())
    return int(count), seconds, peak_kb / 1024


def write_rows(path: Path, count: int) -> Path:
    """JSONL of invented questions; the label is called as the reader for any table knows it."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            row = {
                "id": number,
                "prompt": f"How would one {releases.activity(number)} on day {number}, and what is it for?",
                "kind": "harmful" if number % 2 else "harmless",
                "label": "harmful" if number % 2 else "harmless",
                "category": f"kind {number % 14} of things",
                "topic": number // 3,
            }
            file.write(json.dumps(row) + "\n")
    return path


def write_mm_safetybench(root: Path) -> Path:
    """MM-SafetyBench in the official size: one picture file under 5,040 names."""
    releases.mm_safetybench(root, questions=1)
    for scenario, (rows, _) in SCENARIOS.items():
        path = root / f"data/processed_questions/{scenario}.json"
        (question,) = json.loads(path.read_text("utf-8")).values()
        path.write_text(json.dumps({str(number): question for number in range(rows)}), encoding="utf-8")
        for kind in releases.KINDS:
            folder = root / "data/imgs" / scenario / kind
            for number in range(1, rows):
                (folder / f"{number}.jpg").hardlink_to(folder / "0.jpg")
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    rows = 100_000 if parser.parse_args().quick else 1_000_000
    figures: dict[str, float] = {"rows": rows}
    with tempfile.TemporaryDirectory() as folder:
        listed, seconds, _ = measured(LISTED, str(write_mm_safetybench(Path(folder) / "MM-SafetyBench")))
        figures |= {"mm_safetybench_listed": listed, "mm_safetybench_listed_s": round(seconds, 3)}
        path, highest = write_rows(Path(folder) / "rows.jsonl", rows), 0.0
        for way in WAYS:
            count, seconds, peak = measured(STREAMED, str(path), way)
            if count != rows:
                raise SystemExit(f"{way}: {count} of {rows} rows")
            highest = max(highest, peak)
            figures[f"{way}_per_s"] = round(rows / seconds)
            print(f"{way}: {rows / seconds:,.0f} rows a second, at most {peak:,.0f} MB")
    figures["peak_mb"] = round(highest, 1)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
