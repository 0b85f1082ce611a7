"""kill -9 at random moments of live dialogues: no call that was recorded is made again, none is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sightline.plain import artifact_of
from sightline.study.results import results_digest
from sightline.tables import Table

VICTIM = Path(__file__).with_name("talk_kill_victim.py")
KILLS = 20
PAUSE = 0.01


def start(folder: Path, pause: float) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, str(VICTIM), str(folder), str(pause)], stderr=subprocess.PIPE)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def finished(folder: Path) -> None:
    process = start(folder, 0.0)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error.decode()


def dialogues(folder: Path) -> dict[str, Any]:
    """What was asked and said while crafting, and the script, by artifact."""
    with Table(folder / "run" / "records" / "craft") as table:
        made = [artifact_of(row) for row in table]
    return {each.key: (each.conversation, each.follow_ups, sorted(map(str, each.calls))) for each in made}


@pytest.mark.slow
def test_kill_nine_twenty_times(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finished(whole)
    needed = Counter(lines(whole / "ended.log"))
    rng, log = random.Random(11), killed / "ended.log"
    share = sum(needed.values()) // (KILLS + 1)
    for kill in range(KILLS):
        process = start(killed, PAUSE)
        until, enough = time.monotonic() + 60, len(lines(log)) + rng.randint(0, share)
        while process.poll() is None and time.monotonic() < until and len(lines(log)) <= enough:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.01)
        assert process.poll() is None, f"the study ended before kill {kill}: make it longer"
        process.send_signal(signal.SIGKILL)
        error = process.communicate()[1]
        assert b"Traceback" not in error, error.decode()
    finished(killed)

    kept = lines(killed / "kept.log")
    assert len(kept) == len(set(kept)) > 0, "a call that was recorded was made again"
    ended = Counter(line for line in lines(log) if not line.startswith("toy/grader"))
    graders = sum(n for line, n in needed.items() if line.startswith("toy/grader"))
    needed = Counter({line: n for line, n in needed.items() if not line.startswith("toy/grader")})
    assert not needed - ended, "a call is missing"
    assert sum((ended - needed).values()) <= KILLS, "only what was not recorded yet may be asked again"
    assert sum(line.startswith("toy/grader") for line in lines(log)) >= graders > 0
    assert dialogues(killed) == dialogues(whole)
    tables = [folder / "run" / "results.parquet" for folder in (whole, killed)]
    assert results_digest(tables[0]) == results_digest(tables[1])
    for folder in (whole, killed):
        assert not (folder / "run" / "records" / "craft.calls").exists()
        assert not (folder / "run" / "records" / "calls").exists()
