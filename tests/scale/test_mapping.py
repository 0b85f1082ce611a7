"""Shards in this process and over a local Ray cluster: the same effect, whatever dies on the way."""

from __future__ import annotations

import importlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from shard_toys import Rows, cut, open_copying, open_dying

from sightline.errors import AbsentExtraError, ContractError, UsageError
from sightline.scale import Done, Failed, Resources, Tally, map_shards
from sightline.tables import Table

FIXTURES = Path(__file__).parents[1] / "fixtures"
RAY = Resources(ray="local")


@dataclass
class Heard:
    rows: int = 0
    errors: int = 0
    texts: list[str] = field(default_factory=list)

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        self.rows += rows
        self.errors += errors

    def within(self, text: str) -> None:
        self.texts.append(text)

    def note(self, text: str) -> None:
        self.texts.append(text)


def numbers(folder: Path) -> list[int]:
    """What is on disk, each key once."""
    with Table(folder / "records") as table:
        return sorted(row["number"] for row in table)


def lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(params=["here", "ray"])
def resources(request: pytest.FixtureRequest) -> Resources:
    if request.param == "here":
        return Resources()
    request.getfixturevalue("cluster")
    return RAY


def test_every_row_is_made_once_and_told(resources: Resources, tmp_path: Path) -> None:
    heard, shards = Heard(), cut(23, 4)
    ends = list(map_shards(partial(open_copying, folder=tmp_path), shards, resources, listener=heard))
    assert sorted(ends, key=lambda end: end.shard.first) == [
        Done(shard, Tally(rows=len(shard.keys))) for shard in shards
    ]
    assert numbers(tmp_path) == list(range(23))
    assert len(lines(tmp_path, "made")) == 23
    assert (heard.rows, heard.errors) == (23, 11)
    assert set(heard.texts) <= {f"row {number}" for number in range(23)}
    assert heard.texts
    opened = lines(tmp_path, "opened")
    assert len(opened) == len(set(opened)) <= (1 if resources.ray is None else 2)
    assert sorted(lines(tmp_path, "closed")) == sorted(opened), "a worker did not close its files"


def test_nothing_is_opened_for_nothing(tmp_path: Path) -> None:
    for resources in (Resources(), RAY):
        assert list(map_shards(partial(open_copying, folder=tmp_path), [], resources)) == []
    assert lines(tmp_path, "opened") == []


def test_shards_are_taken_as_workers_get_free(resources: Resources, tmp_path: Path) -> None:
    taken: list[int] = []

    def feed():
        for shard in cut(20, 1):
            taken.append(shard.first)
            yield shard

    for done, _ in enumerate(map_shards(partial(open_copying, folder=tmp_path), feed(), resources), start=1):
        assert len(taken) <= done + 4  # two workers, two in hand


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ("contract", ContractError, "^row 0 broke a promise$"),
        ("extra", UsageError, "^row needs the Python package 'torch'"),
    ],
)
def test_what_the_work_raises_is_raised_here(
    resources: Resources, tmp_path: Path, wrong: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        list(map_shards(partial(open_copying, folder=tmp_path, wrong=wrong), cut(2, 2), resources))


def test_a_bug_in_a_worker_is_shown_with_its_place(cluster: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)in a worker.*shard_toys.py.*ZeroDivisionError: row 0"):
        list(map_shards(partial(open_copying, folder=tmp_path, wrong="bug"), cut(2, 2), RAY))


def test_a_worker_that_dies_is_replaced_and_costs_what_it_had_in_hand(cluster: str, tmp_path: Path) -> None:
    heard = Heard()
    opening = partial(open_copying, folder=tmp_path, deadly=(5, 13), times=2)
    ends = list(map_shards(opening, cut(20, 4), RAY, listener=heard))
    assert all(isinstance(end, Done) for end in ends)
    assert numbers(tmp_path) == list(range(20))
    made = Counter(int(line.split()[0]) for line in lines(tmp_path, "made"))
    assert set(made.values()) == {1}, "a row that was on disk was made again"
    assert len(lines(tmp_path, "dead-5")) == len(lines(tmp_path, "dead-13")) == 3  # twice deadly, then made
    assert (heard.rows, heard.errors) == (20, 10)


def test_a_shard_that_kills_every_worker_is_given_up_and_the_others_are_done(
    cluster: str, tmp_path: Path
) -> None:
    opening = partial(open_copying, folder=tmp_path, deadly=(6,))
    ends = list(map_shards(opening, cut(16, 4), RAY))
    (failed,) = (end for end in ends if isinstance(end, Failed))
    assert failed.shard == Rows(4, 8)
    assert re.match(r"3 workers died over it: The actor is dead", failed.reason)
    assert len(lines(tmp_path, "dead-6")) == 3
    assert numbers(tmp_path) == [number for number in range(16) if number not in (6, 7)]


def test_workers_that_die_while_they_open_their_work_fail_the_shard(cluster: str) -> None:
    (end,) = map_shards(open_dying, cut(1, 1), RAY)
    assert isinstance(end, Failed)


@pytest.mark.slow
def test_a_cluster_at_other_work_is_waited_for_and_said(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = importlib.import_module("ray")
    ray_pool = importlib.import_module("sightline.scale.ray_pool")
    monkeypatch.setattr(ray_pool, "START_TIMEOUT", 0.5)
    monkeypatch.setattr(ray_pool, "MAX_WAITS", 10**6)

    class Other:
        def at_work(self) -> bool:
            return True

    class Waiting(Heard):
        def note(self, text: str) -> None:
            super().note(text)
            ray.kill(other)

    other = ray.remote(num_cpus=2)(Other).remote()
    assert ray.get(other.at_work.remote())
    heard = Waiting()
    (end,) = map_shards(partial(open_copying, folder=tmp_path), cut(1, 1), RAY, listener=heard)
    assert isinstance(end, Done)
    assert heard.texts[0] == "no worker has begun for 0.5 s: is the cluster at other work?"


def test_a_folder_that_workers_do_not_see_is_named(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "other")
    with pytest.raises(UsageError, match=r"of the cluster has no .*other \(No such file or directory\)"):
        list(map_shards(partial(open_copying, folder=tmp_path), cut(1, 1), RAY))


@pytest.mark.parametrize("address", ["", "local:0", "local:two", "here", "ray://10.0.0.1:10001"])
def test_an_address_that_cannot_be_one_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"^ray=.*expected 'local'"):
        Resources(ray=address)


@pytest.mark.parametrize(
    ("address", "local", "workers"),
    [(None, False, None), ("local", True, None), ("local:3", True, 3), ("10.0.0.1:6379", False, None)],
)
def test_addresses(address: str | None, local: bool, workers: int | None) -> None:
    assert (Resources(ray=address).local, Resources(ray=address).workers) == (local, workers)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(AbsentExtraError, match=r"`--ray` needs the Python package 'ray'.*sightline\[ray\]"):
        list(map_shards(partial(open_copying, folder=tmp_path), cut(1, 1), RAY))


def test_an_address_where_nobody_answers_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'sightline[ray]'")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match=rf"--ray {address}: no Ray cluster .*refused.*`ray start"):
            list(map_shards(partial(open_copying, folder=tmp_path), cut(1, 1), Resources(ray=address)))


class Mute:
    """A Ray whose workers never begin, as where the agent that starts them has died."""

    exceptions = ModuleType("exceptions")

    class Actor:
        begin: type[Mute.Beginning]

        @classmethod
        def remote(cls, *_: object) -> type[Mute.Actor]:
            return cls

    class Beginning:
        @staticmethod
        def remote() -> str:
            return "beginning"

    Actor.begin = Beginning

    def __init__(self) -> None:
        self.killed = 0

    def remote(self, **_: object) -> Callable[[object], type[Mute.Actor]]:
        return lambda _: Mute.Actor

    def wait(self, events: list[object], num_returns: int, timeout: float | None) -> tuple[list[object], ...]:
        assert timeout is not None, "this would wait without end"
        return [], events

    def kill(self, worker: object) -> None:
        self.killed += 1


def test_workers_that_never_begin_end_the_wait(tmp_path: Path) -> None:
    ray_pool = importlib.import_module("sightline.scale.ray_pool")
    ray, heard = Mute(), Heard()
    cluster = importlib.import_module("sightline.scale.cluster").Cluster(ray, 1, {})
    waiting = ray_pool.RayPool(cluster, partial(open_copying, folder=tmp_path), iter(cut(1, 1)), heard)
    with pytest.raises(UsageError, match=r"no worker has begun for 30 minutes: .*`ray status`"):
        list(waiting.work())
    assert heard.texts == ["no worker has begun for 60 s: is the cluster at other work?"]
    waiting.shut_down()
    assert ray.killed == 1


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_is_no_ray_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, greeting: bytes
) -> None:
    cluster = importlib.import_module("sightline.scale.cluster")
    monkeypatch.setattr(cluster, "ANSWER_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"

        def greet() -> None:
            line, _ = other.accept()
            with line, suppress(ConnectionResetError):
                line.sendall(greeting)
                line.recv(1000)
                line.recv(1000)  # until the caller hangs up

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        with pytest.raises(OSError, match="what listens there is no Ray"):
            cluster._check_server(address)
        thread.join()


@pytest.mark.slow
def test_a_cluster_that_runs_answers_the_knock(cluster: str) -> None:
    importlib.import_module("sightline.scale.cluster")._check_server(cluster)


OTHER_PROCESS = """
import sys
sys.path.insert(0, {fixtures!r})
from functools import partial
from pathlib import Path
from shard_toys import cut, open_copying
from sightline.scale import Resources, map_shards

def listening():
    rows = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{{name}}")]
    return {{(row[1].rpartition(":")[0], row[9]) for row in rows if row[3] == "0A"}}

before = listening()
ends = map_shards(partial(open_copying, folder=Path({folder!r})), cut(1, 1), Resources(ray={address!r}))
next(ends)
print(*sorted({{address for address, _ in listening() - before}}))
ends.close()
import ray
print(ray.is_initialized())
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at Linux's table of sockets")
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.slow
def test_a_cluster_listens_to_this_machine_alone_and_another_process_may_join_it(
    cluster: str, tmp_path: Path, own: bool
) -> None:
    address = "local:1" if own else cluster
    code = OTHER_PROCESS.format(fixtures=str(FIXTURES), folder=str(tmp_path), address=address)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    addresses, joined = done.stdout.splitlines()
    assert set(addresses.split()) <= LOOPBACK
    assert addresses or not own, "a cluster of its own listens somewhere"
    assert joined == "False", "what was started ends with the work"
    assert numbers(tmp_path) == [0]
