"""What distribution costs: two Ray workers against one process, and the price of a shard (D1, D2).

    python benchmarks/scale.py [--quick]

Everything runs on one CPU, one thread each: workers then take turns, and do not slow each other down as the
two threads of one core would. Counted is process CPU time, in turns, without each process's first shard (it
loads torch and the model); never wall time.

* D1: the same shards of a search on the testbed's model by one process and by two workers of a local
  cluster. 2 x CPU seconds of a shard in one process / in a worker: 2 is as much work per CPU second. The
  artifacts must be equal, picture by picture. Ray's own processes are counted beside it, without their start.
* D2: shards without work: CPU seconds of the command, the worker and Ray's own processes for each.

(D3, what a killed worker costs, is counted by tests/scale.) The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from sightline.scale import Listener, Resources, Tally, map_shards
from sightline.scale.cluster import connected
from sightline.study.artifact_builder import Crafting, WorkUnit, is_error, open_crafting
from sightline.study.config import parse
from sightline.study.crafting import WorkQueue
from sightline.study.progress import Silent
from sightline.study.run import Run
from sightline.study.stages import Stage
from sightline.tables import Table

STUDY = """
study: scale
seed: 1
benchmarks: [{{name: testbed_requests, subset: utility, limit: {cases}}}]
targets: [testbed/linear]
attacks: [{{name: injection, preset: testbed, steps: {steps}, batch: 2, surrogate: testbed/linear}}]
judges: [testbed_policy]
"""
WORKERS = 2
SHARD_SECONDS = 30.0
HERE, RAY = Resources(), Resources(ray=f"local:{WORKERS}")


class Timed:
    """Crafting that notes each shard's CPU seconds in its process."""

    def __init__(self, work: Crafting, log: Path) -> None:
        self.work, self.log = work, log

    def __call__(self, unit: WorkUnit, *, again: bool) -> Tally:
        before = time.process_time()
        tally = self.work(unit, again=again)
        spent = time.process_time() - before
        with self.log.open("ab", buffering=0) as file:
            file.write(json.dumps([os.getpid(), spent]).encode() + b"\n")
        return tally

    def close(self) -> None:
        self.work.close()


def open_timed(listener: Listener, folder: Path, case_tables: Sequence[Path], log: Path) -> Timed:
    return Timed(open_crafting(listener, folder, case_tables), log)


@dataclass(frozen=True)
class Nothing:
    """A shard without rows."""

    keys: tuple[str, ...] = ()


class Idle:
    """Work that does nothing, and notes its process's CPU seconds so far."""

    def __init__(self, _: Listener, log: Path) -> None:
        self.log = log

    def __call__(self, shard: Nothing, /, *, again: bool) -> Tally:  # noqa: ARG002
        return Tally()

    def close(self) -> None:
        self.log.write_text(str(time.process_time()))


def cpu_of(pid: int) -> float:
    """CPU seconds of another process so far; 0 if it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def around() -> dict[int, float]:
    """CPU seconds of Ray's own processes: this one's descendants that are not workers."""
    parents: dict[int, tuple[int, str]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told, command = (path / "stat").read_text(), (path / "cmdline").read_text()
        except OSError:
            continue
        parents[int(path.name)] = (int(told.rpartition(")")[2].split()[1]), command)
    ours, found = {os.getpid()}, {}
    for _ in range(4):
        ours |= {pid for pid, (parent, _) in parents.items() if parent in ours}
    for pid in ours - {os.getpid()}:
        if not any(sign in parents[pid][1] for sign in ("ray::Worker", "ray::IDLE", "default_worker")):
            found[pid] = cpu_of(pid)
    return found


def grown(before: dict[int, float]) -> float:
    """CPU seconds that they have taken since."""
    return sum(now - before.get(pid, 0.0) for pid, now in around().items())


def settle() -> None:
    """Wait until they have started: until they take less than a tenth of a CPU."""
    for _ in range(30):
        before = around()
        time.sleep(1.0)
        if grown(before) < 0.1:
            return


@contextmanager
def one_cpu() -> Iterator[None]:
    """This process and all that it starts share one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def crafted(folder: Path, study: str, resources: Resources) -> tuple[list[float], float, set[str]]:
    """CPU seconds of each shard after a process's first, those of Ray's own processes, and the pictures."""
    run = Run(parse(study), folder)
    run.prepare()
    stage: Stage[Any] = Stage(run.records / "craft", Silent(), is_error=is_error)
    log = folder / "shards.log"
    opening = partial(
        open_timed,
        folder=folder.resolve(),
        case_tables=[case_table.folder for case_table in run.context.case_tables],
        log=log.resolve(),
    )
    with Table(stage.folder) as table:
        queue = WorkQueue(run.context, stage, table)
        before = around()
        for end in map_shards(opening, queue.units(), resources):
            list(queue.ended(end))
        system = grown(before)
        queue.close()
    seen: set[int] = set()
    later: list[float] = []
    for pid, spent in map(json.loads, log.read_text().splitlines()):
        if pid in seen:
            later.append(spent)
        seen.add(pid)
    with Table(stage.folder) as table:
        pictures = {row["key"] + json.dumps(row["conversation"], sort_keys=True) for row in table}
    return later, system, pictures


def two_workers(cases: int, steps: int, rounds: int) -> dict[str, float]:
    """D1."""
    study = STUDY.format(cases=cases, steps=steps)
    ratios: list[float] = []
    system = wall = 0.0
    with tempfile.TemporaryDirectory() as name, one_cpu(), connected(RAY):
        settle()
        for number in range(rounds):
            one, *_, first = crafted(Path(name) / f"one-{number}", study, HERE)
            start = time.perf_counter()
            two, own, second = crafted(Path(name) / f"two-{number}", study, RAY)
            system, wall = system + own, wall + time.perf_counter() - start
            if first != second:
                raise SystemExit("two workers made other artifacts than one process")
            ratios.append(WORKERS * statistics.median(one) / statistics.median(two))
            print(
                f"CPU s a shard: one process {statistics.median(one):.3f} (median of {len(one)}), "
                f"two workers {statistics.median(two):.3f} (of {len(two)}): {ratios[-1]:.2f} of 2",
                flush=True,
            )
    print(f"median of the rounds: {statistics.median(ratios):.2f}; artifacts equal")
    print(f"Ray's own processes meanwhile: {system / wall:.1%} of a CPU")
    return {"d1_two_workers": statistics.median(ratios), "d1_system_cpu": system / wall}


def empty_shards(shards: int) -> dict[str, float]:
    """D2."""
    with tempfile.TemporaryDirectory() as name, one_cpu(), connected(Resources(ray="local:1")):
        settle()
        spent = []
        for number in (shards // 10, shards):
            log = Path(name) / "cpu"
            before, own = around(), time.process_time()
            for _ in map_shards(partial(Idle, log=log), [Nothing()] * number, Resources(ray="local:1")):
                pass
            spent.append((time.process_time() - own + float(log.read_text()), grown(before)))
    more = shards - shards // 10
    ours, system = ((late - early) / more for early, late in zip(*spent, strict=True))
    total = 1000 * (ours + max(0.0, system))
    print(
        f"an empty shard: {1000 * ours:.2f} ms of CPU in command and worker, {1000 * system:.2f} in Ray's own"
    )
    print(f"of a shard of {SHARD_SECONDS:.0f} s: {total / 1000 / SHARD_SECONDS:.4%}")
    return {"d2_ms_per_shard": total, "d2_share": total / 1000 / SHARD_SECONDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer shards and steps")
    quick = parser.parse_args().quick
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    figures = two_workers(12, 10, 1) if quick else two_workers(20, 20, 5)
    figures |= empty_shards(200 if quick else 1000)
    print(json.dumps({name: round(value, 6) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
