"""Run as a process of its own by test_kill.py: a study with toy answers, to be killed at any moment.

With a number, the process kills itself before its file event of that number (a file opened to be written,
renamed or deleted in the folder); without one the answers are slow, so that there is time to kill it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from sightline.api.runs import finish

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from toys import ToyTarget

from sightline import targets
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: killed
benchmarks: [{name: toy_questions, n: %d, picture: true}]
targets: [toy/a]
attacks: [toy_plain, toy_dots]
judges: [toy_judge]
concurrency: 8
"""
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


def die_at(wanted: int, folder: Path) -> None:
    """Kill this process before its file event of that number."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in (*EVENTS, "open"):
            return
        path, mode = str(arguments[0]), arguments[1] if event == "open" else "w"
        writes = isinstance(mode, str) and not {"w", "x", "+"}.isdisjoint(mode)
        if writes and path.startswith(str(folder)) and not path.endswith(".log"):
            seen += 1
            if seen == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main(folder: Path, event: int | None) -> None:
    pause, cases = (0.01, 600) if event is None else (0.0, 12)
    targets.open_target = lambda name, images, **bounds: ToyTarget(pause=pause, log=folder / "calls.log")
    run = Run(parse(STUDY % cases), folder / "run")
    if event is not None:
        die_at(event, folder)
    run.prepare()
    finish(run)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
