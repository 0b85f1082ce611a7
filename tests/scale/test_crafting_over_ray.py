"""Crafting over Ray: the same artifacts as one process, whoever makes them and whoever dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import slow_toys  # noqa: F401  # registers its attacks
import toys  # noqa: F401

from sightline.errors import UsageError
from sightline.scale import Resources
from sightline.sealed import checked_text
from sightline.study.config import parse
from sightline.study.progress import Progress, Silent
from sightline.study.run import Run
from sightline.study.stages import Count
from sightline.tables import Table

STUDY = """
study: scaled
seed: 5
benchmarks: [{name: toy_questions, n: %d}]
targets: [scripted/echo]
attacks: [%s]
judges: [toy_judge]
"""
INTERVAL = "slow_alone, slow_apart, slow_together"
RAY = Resources(ray="local")

pytestmark = pytest.mark.usefixtures("cluster")


def prepared(
    folder: Path, attacks: str = INTERVAL, n: int = 30, progress: Progress | None = None, **options: Any
) -> Run:
    """A run; a third of the questions are none that attacks meet."""
    run = Run(parse(STUDY % (n, attacks)), folder, **options)
    run.prepare()
    run.context = replace(run.context, progress=progress or Silent())
    return run


def made(run: Run) -> dict[str, dict[str, Any]]:
    """All artifacts by key, each once, and their pictures on disk."""
    with Table(run.records / "craft") as table:
        rows = {row["key"]: row for row in table}
        assert len(rows) == len(table)
    for row in rows.values():
        for turn in row["conversation"]["turns"]:
            for part in turn["parts"]:
                if "sha256" in part:
                    row["png"] = run.blobs.read(part["sha256"])
    return rows


def begun(folder: Path) -> list[tuple[str, str, str]]:
    """(call, case, process) of every case that was begun."""
    log = folder / "calls.log"
    return [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []


def companies(folder: Path) -> set[tuple[str, ...]]:
    """Which cases met in one call."""
    calls: dict[str, list[str]] = {}
    for call, case, _ in begun(folder):
        calls.setdefault(call, []).append(case)
    return set(map(tuple, calls.values()))


def await_end(processes: set[str]) -> None:
    """Wait until no process runs any more: Ray ends workers in its own time."""
    until = time.monotonic() + 60
    while any(running(process) for process in processes):
        assert time.monotonic() < until, "a worker outlives its command"
        time.sleep(0.05)


def running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Listener(Silent):
    """Counts rows; may stop the command."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.rows = self.errors = 0
        self.texts: set[str] = set()
        self.stop_at = stop_at

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        self.rows += rows
        self.errors += errors
        if self.stop_at is not None and self.rows >= self.stop_at:
            raise KeyboardInterrupt

    def within(self, text: str) -> None:
        self.texts.add(text)


def test_the_same_artifacts_as_in_one_process_from_the_same_calls(tmp_path: Path) -> None:
    one = prepared(tmp_path / "one")
    heard = Listener()
    two = prepared(tmp_path / "two", progress=heard, resources=RAY)
    (tmp_path / "two").joinpath("unfit").write_text("toy/4 toy/13")
    (tmp_path / "one").joinpath("unfit").write_text("toy/4 toy/13")
    assert one.craft() == two.craft() == Count(expected=60, written=60, errors=4)
    assert made(one) == made(two)
    assert (heard.rows, heard.errors) == (60, 4)
    assert "slow_apart: step 1 of 2, loss 0.500" in heard.texts
    assert companies(tmp_path / "one") == companies(tmp_path / "two")
    assert max(map(len, companies(tmp_path / "two"))) == 3
    assert prepared(tmp_path / "two", resources=RAY).craft() == Count(expected=60, present=60)


@pytest.mark.slow
def test_what_an_attack_can_never_take_stops_the_run_as_in_one_process(tmp_path: Path) -> None:
    run = prepared(tmp_path, "slow_apart", 6, resources=RAY)
    (tmp_path / "unfit").write_text("toy/0 toy/1 toy/3 toy/4")
    with pytest.raises(UsageError, match=r"^case toy/[04]: does not fit$"):
        run.craft()
    (tmp_path / "unfit").write_text("toy/3")
    assert prepared(tmp_path, "slow_apart", 6, resources=RAY).craft() == Count(4, 0, 4, 1)
    (tmp_path / "unfit").write_text("")
    again = prepared(tmp_path, "slow_apart", 6, retry_errors=True)
    assert again.craft() == Count(expected=4, present=3, written=1)


@pytest.mark.slow
def test_a_worker_killed_at_work_costs_what_it_had_in_hand(tmp_path: Path) -> None:
    attack = "slow_apart(pause=0.15)"
    run = prepared(tmp_path / "two", f"'{attack}'", 36, resources=RAY)
    killed: list[str] = []

    def kill() -> None:
        for enough in (4, 10):
            while len(begun(tmp_path / "two")) < enough:
                time.sleep(0.01)
            killed.append(begun(tmp_path / "two")[-1][2])
            os.kill(int(killed[-1]), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    count = run.craft()
    killer.join()
    assert (count.expected, count.written, count.errors) == (24, 24, 0)
    one = prepared(tmp_path / "one", f"'{attack}'", 36)
    one.craft()
    assert made(run) == made(one)
    processes = [process for _, _, process in begun(tmp_path / "two")]
    assert len(set(processes)) >= 3, "a dead worker is replaced"
    repeated = Counter(case for _, case, _ in begun(tmp_path / "two"))
    assert sum(repeated.values()) - len(repeated) <= 3 * len(killed), "more was lost than one batch"


@pytest.mark.slow
def test_a_case_that_kills_every_worker_is_an_error_and_the_others_are_made(tmp_path: Path) -> None:
    run = prepared(tmp_path, "slow_apart", 12, resources=RAY)
    deadly = "toy/4"
    (tmp_path / "deadly").write_text(deadly)
    assert run.craft() == Count(expected=8, written=8, errors=1)
    problems = {row["case_id"]: row["problem"] for row in made(run).values() if "problem" in row}
    assert list(problems) == [deadly]
    assert problems[deadly].startswith("3 workers died over it: ")
    (tmp_path / "deadly").write_text("")
    again = prepared(tmp_path, "slow_apart", 12, resources=RAY, retry_errors=True)
    assert again.craft() == Count(expected=8, present=7, written=1)


def test_a_command_that_was_stopped_goes_on_in_one_process(tmp_path: Path) -> None:
    study = "'slow_apart(pause=0.05)'"
    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path / "two", study, 36, resources=RAY, progress=Listener(stop_at=6)).craft()
    await_end({process for *_, process in begun(tmp_path / "two")})
    rest = prepared(tmp_path / "two", study, 36)
    before = len(made(rest))
    assert 6 <= before < 24
    assert rest.craft() == Count(expected=24, present=before, written=24 - before)
    one = prepared(tmp_path / "one", study, 36)
    one.craft()
    assert made(rest) == made(one)
    assert len(begun(tmp_path / "two")) <= 24 + 2 * 3, "more was made again than two workers had in hand"


def test_a_worker_with_another_version_is_refused(tmp_path: Path) -> None:
    run = prepared(tmp_path, "slow_alone", 3, resources=RAY)
    lock = tmp_path / "study.lock.yaml"
    lock.write_text(checked_text(lock.read_text()).replace("numpy: ", "numpy: 0."))
    with pytest.raises(UsageError, match=r"has numpy [\d.]+, other than the command"):
        run.craft()


WHITE = """
study: white
seed: 2
benchmarks: [{name: testbed_requests, subset: utility, limit: 6}]
targets: [testbed/linear]
attacks: [{name: injection, preset: testbed, steps: 4, batch: 2, surrogate: testbed/linear}]
judges: [testbed_policy]
"""


@pytest.mark.slow
def test_pictures_of_two_workers_are_bit_for_bit_those_of_one_process(tmp_path: Path) -> None:
    runs = [Run(parse(WHITE), tmp_path / name) for name in ("one", "two")]
    runs[1].resources = RAY
    for run in runs:
        run.prepare()
        assert run.craft() == Count(expected=6, written=6)
    one, two = map(made, runs)
    for row in (*one.values(), *two.values()):
        row["cost"].pop("seconds")
    assert one == two
    assert len({row["png"] for row in one.values()}) > 1
