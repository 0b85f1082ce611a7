"""Run as a process of its own by test_kill.py: a study with slow toy answers, to be killed at any moment."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from toys import ToyTarget

from sightline import targets
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: killed
benchmarks: [{name: toy_questions, n: 600, picture: true}]
targets: [toy/a]
attacks: [toy_plain, toy_dots]
judges: [toy_judge]
concurrency: 8
"""


def main(folder: Path) -> None:
    targets.open_target = lambda name, images, **bounds: ToyTarget(pause=0.01, log=folder / "calls.log")
    run = Run(parse(STUDY), folder / "run")
    run.prepare()
    asyncio.run(run.all_stages())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
