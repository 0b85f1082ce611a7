"""kill -9 at random moments, twenty times in one study: nothing lost, doubled or asked again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from sightline.digests import digest
from sightline.plain import conversation_of
from sightline.tables import Table

VICTIM = Path(__file__).with_name("kill_victim.py")
KILLS = 20
IN_FLIGHT = 8
SAMPLES = 800


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(VICTIM), str(folder)], stderr=subprocess.PIPE)


def recorded(folder: Path) -> set[str]:
    """Digests of the conversations whose answers are safely on disk."""
    records = folder / "run" / "records"
    with Table(records / "answer") as answers, Table(records / "craft") as artifacts:
        rows = artifacts.rows([row["artifact"] for row in answers])
    return {digest(conversation_of(row["conversation"])) for row in rows if row is not None}


def calls_in(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def test_kill_nine_twenty_times(tmp_path: Path) -> None:
    rng = random.Random(5)
    log = tmp_path / "calls.log"
    done: set[str] = set()
    for kill in range(KILLS):
        before = len(calls_in(log))
        process = start(tmp_path)
        # from the very first moment of a process to some way into its answers; every fifth while crafting
        until = time.monotonic() + 60
        enough = before + rng.randint(0, 24)
        while process.poll() is None and time.monotonic() < until and len(calls_in(log)) <= enough:
            if kill % 5 == 4 and (tmp_path / "run" / "records" / "craft").exists():
                break
            time.sleep(0.005)
        time.sleep(rng.random() * 0.02)
        assert process.poll() is None, "the study ended before all kills: make it longer"
        process.send_signal(signal.SIGKILL)
        error = process.communicate()[1]
        assert b"Traceback" not in error, error.decode()
        assert done.isdisjoint(calls_in(log)[before:]), "a call whose answer was on disk was made again"
        now = recorded(tmp_path)
        assert done <= now, "an answer that was on disk is gone"
        done = now
    before = len(calls_in(log))
    process = start(tmp_path)
    error = process.communicate(timeout=180)[1]
    assert process.returncode == 0, error.decode()
    assert done.isdisjoint(calls_in(log)[before:])

    rows = pq.read_table(tmp_path / "run" / "results.parquet").to_pylist()
    assert len(rows) == len({row["sample"] for row in rows}) == SAMPLES
    assert Counter(row["outcome"] for row in rows) == {"complied": SAMPLES}
    calls = Counter(calls_in(log))
    assert len(calls) == SAMPLES
    assert sum(calls.values()) - SAMPLES <= KILLS * IN_FLIGHT, "more was repeated than was in flight"
