"""The coordinator's numbers of 100,000 items and two raters, who agree on about 79 % of them.

`python benchmarks/annotation_progress.py` prints CPU seconds of reading everything (`status`), and of the
coordinator's page, whose server has read the files before.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson

from sightline.annotation.ballots import AnnotationFiles
from sightline.annotation.events import Event, events_path
from sightline.annotation.plan import FOLDER, Header, Plan, Planned, planned, write_plan
from sightline.annotation.progress import progress
from sightline.annotation.questions import write_questions

OUTCOMES = ("refused", "partial", "complied", "off_topic")
RATERS = ("ann", "bo")


def write(folder: Path, n: int) -> None:
    """A plan and both raters' files."""
    header = Header(
        phase=1, run="r", seed=1, n=n, strata=("s",), raters=RATERS, guideline="g" * 32, questions="q"
    )
    items = [
        Planned(
            item=f"{at:016x}",
            prob=0.5,
            stratum=f"s{at % 9}",
            group=f"g{at // 2}",
            samples=(f"{at:032x}",),
            order=dict.fromkeys(RATERS, at),
        )
        for at in range(n)
    ]
    write_plan(folder, Plan((header,), planned(items)))
    write_questions(folder)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, n)
    for rater in RATERS:
        said = np.where(rng.random(n) < 0.85, truth, rng.integers(0, 4, n))
        path = events_path(folder, rater)
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            for at, each in enumerate(items):
                event = Event(
                    event="answer",
                    rater=rater,
                    item=each.item,
                    questions={"outcome": OUTCOMES[said[at]]},
                    shown_ms=5000,
                    guideline="g" * 8,
                    seq=at + 1,
                    at="2026-11-27T05:14:02Z",
                )
                file.write(orjson.dumps(asdict(event)) + b"\n")


def main(n: int = 100_000) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        write(run / FOLDER, n)
        start = time.process_time()
        found = progress(run)
        whole = time.process_time() - start
        files = AnnotationFiles(run / FOLDER)
        files.read()
        start = time.process_time()
        progress(run, found=files.read())
        page = time.process_time() - start
    alpha = found["agreement"]["outcome"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{n:,} items, {len(RATERS)} raters: alpha {alpha['alpha']:.3f}")
    print(f"interval {alpha['low']:.3f} to {alpha['high']:.3f}; {memory} MB, writing these files included")
    print(f"all read and computed: {whole:.2f} s CPU; page of a running server: {page:.2f} s CPU")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
