"""kill -9 at random moments and at file events: nothing lost, doubled or asked again, no litter left."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sightline.digests import digest
from sightline.plain import conversation_of
from sightline.tables import Table

VICTIM = Path(__file__).with_name("kill_victim.py")
KILLS = 20
IN_FLIGHT = 8
SAMPLES = 800


def start(folder: Path, *event: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(VICTIM), str(folder), *map(str, event)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def litter(folder: Path) -> list[Path]:
    """Unfinished files and empty shards of a run folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [p for p in files if p.name.startswith(".new-") or (p.suffix == ".jsonl" and not p.stat().st_size)]


def recorded(folder: Path) -> set[str]:
    """Digests of the conversations whose answers are safely on disk."""
    records = folder / "run" / "records"
    with Table(records / "answer") as answers, Table(records / "craft") as artifacts:
        rows = artifacts.rows([row["artifact"] for row in answers])
    return {digest(conversation_of(row["conversation"])) for row in rows if row is not None}


def calls_in(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


@pytest.mark.slow
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


def test_kill_nine_at_file_events(tmp_path: Path) -> None:
    """Killed before an early, then ever later file event of what is left to do, until the study ends."""
    log, done, event, killed = tmp_path / "calls.log", set[str](), 3, 0
    while True:
        before = len(calls_in(log))
        process = start(tmp_path, event)
        error = process.communicate(timeout=300)[1]
        assert b"Traceback" not in error, error.decode()
        assert done.isdisjoint(calls_in(log)[before:]), "a call whose answer was on disk was made again"
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        now = recorded(tmp_path)
        assert done <= now, "an answer that was on disk is gone"
        done, event, killed = now, event + 6, killed + 1
    assert killed >= 3, "the study ended too early: no kill was tried"
    assert litter(tmp_path / "run") == []
    rows = pq.read_table(tmp_path / "run" / "results.parquet").to_pylist()
    assert len(rows) == len({row["sample"] for row in rows}) == 16
    assert len(Counter(calls_in(log))) == 16


def test_what_a_kill_leaves_is_swept_by_the_next_run(tmp_path: Path) -> None:
    assert start(tmp_path, 9).wait(timeout=300) == -signal.SIGKILL
    shard = tmp_path / "run" / "records" / "answer" / "0000000001-1-a.jsonl"
    shard.parent.mkdir(parents=True, exist_ok=True)
    shard.touch()
    (tmp_path / "run" / ".new-1").write_bytes(b"half")
    assert len(litter(tmp_path / "run")) >= 2
    assert start(tmp_path, 10**6).wait(timeout=300) == 0
    assert litter(tmp_path / "run") == []
