"""The real server: addresses that are printed, Ctrl-C, kill -9, raw requests that no client library sends."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from annotation_client import RaterClient, Server, rated_under_kills
from annotation_desk import desk, make
from run_folder import Shape, write_run
from typer.testing import CliRunner

from sightline.annotation import serving
from sightline.annotation.drawing import Wanted
from sightline.annotation.events import answers_of, events_path, read_events
from sightline.annotation.exposure import EXPOSURE
from sightline.annotation.guideline import GUIDELINE
from sightline.annotation.plan import FOLDER, read_plan
from sightline.annotation.sampling import sample
from sightline.annotation.secret import open_secret
from sightline.annotation.security import HEADERS, Door
from sightline.annotation.server import application
from sightline.annotation.serving import Address, listening_at, shown_host, start, urls
from sightline.cli import app
from sightline.errors import AbsentExtraError, UsageError

URL = re.compile(r"^(\w+): (http://127\.0\.0\.1:(\d+))/(coordinator)?#t=([\w-]{43})$", re.M)


@contextmanager
def running(folder: Path, **how: Any) -> Iterator[int]:
    """The application on a real port, in a thread; yields the port."""
    make(folder)
    served, servers = desk(folder, **how), []
    ready = threading.Event()
    original = serving.ReadyServer.__init__

    def noted(self: Any, *given: Any) -> None:
        original(self, *given)
        servers.append(self)

    with pytest.MonkeyPatch.context() as patch, listening_at(Address()) as listening:
        patch.setattr(serving.ReadyServer, "__init__", noted)
        host = shown_host(Address(), listening)
        made = application(served, Door(served.secret, served.sessions), host, pages={"index.html": b"<p>"})
        thread = threading.Thread(target=start, args=(made, listening, Address(), ready.set), daemon=True)
        thread.start()
        assert ready.wait(20)
        try:
            yield listening.getsockname()[1]
        finally:
            servers[0].should_exit = True
            thread.join(20)
            served.close()


def raw(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What the server answers to bytes as they are, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        for piece in pieces:
            line.sendall(piece)
            time.sleep(pause)
        found = b""
        while data := line.recv(65_536):
            found += data
        return found


def request(port: int, first: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [first, f"Host: 127.0.0.1:{port}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("served") / "annotation") as found:
        yield found


def test_it_listens_on_the_loopback_address_alone(port: int) -> None:
    assert raw(port, request(port, "GET / HTTP/1.1")).startswith(b"HTTP/1.1 200")
    outside = [
        address[4][0]
        for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not str(address[4][0]).startswith("127.")
    ]
    for address in outside:
        with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
            socket.create_connection((str(address), port), timeout=2).close()


@pytest.mark.parametrize(
    ("first", "headers", "status"),
    [
        ("GET /site/../../coordinator.key HTTP/1.1", (), 404),
        ("GET /site/..%2f..%2fcoordinator.key HTTP/1.1", (), 404),
        ("GET /picture/../../../etc/passwd HTTP/1.1", (), 404),
        ("GET http://evil.example/ HTTP/1.1", (), 404),
        ("GET / HTTP/1.1", ("X: a\r\nSet-Cookie: evil=1",), 200),
        ("GET /%0d%0aSet-Cookie:%20evil=1 HTTP/1.1", (), 404),
        ("GET / HTTP/1.1", ("Bad Header: x",), 400),
        ("GET / HTTP/1.1", ("X: \x00",), 400),
        ("GET / HTTP/1.1", ("Host: evil.example",), 400),
        ("NONSENSE", (), 400),
        ("GET / HTTP/9.9", (), 400),
        ("POST /api/enter HTTP/1.1", ("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        ("POST /api/enter HTTP/1.1", ("Content-Length: 5", "Content-Length: 6"), 400),
        ("GET / HTTP/1.1", ("X: " + "a" * 70_000,), 400),
        ("TRACE / HTTP/1.1", (), 405),
        ("CONNECT evil.example:443 HTTP/1.1", (), 405),
    ],
)
def test_raw_requests_that_are_hostile(port: int, first: str, headers: tuple[str, ...], status: int) -> None:
    found = raw(port, request(port, first, *headers))
    head = found.split(b"\r\n\r\n")[0].decode().lower()
    assert head.startswith(f"http/1.1 {status}"), head
    for name, value in HEADERS.items():
        assert head.count(f"\n{name.lower()}: {value.lower()}") == 1
    assert "evil" not in head
    assert "uvicorn" not in head


def test_a_body_in_chunks_without_a_length_ends_at_64_kb(port: int) -> None:
    headers = (
        "Transfer-Encoding: chunked", "Content-Type: application/json", "X-Sightline: token",
        "Sec-Fetch-Site: same-origin",
    )  # fmt: skip
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    found = raw(port, request(port, "POST /api/enter HTTP/1.1", *headers), *([chunk] * 9))
    assert b" 413 " in found.split(b"\r\n")[0]


def test_headers_that_never_end_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEADERS_S", 0.2)
    with running(tmp_path / "annotation") as port:
        assert raw(port) == b""
        assert raw(port, b"GET / HTTP/1.1\r\nHost: ") == b""
        first = request(port, "GET / HTTP/1.1").replace(b"Connection: close\r\n", b"")
        found = raw(port, first, b"GET / HT", pause=0.01)  # the second one on a connection
        assert found.count(b"HTTP/1.1 200") == 1


def test_a_body_that_never_ends_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.annotation.security.BODY_S", 0.2)
    headers = (
        "Content-Length: 50", "Content-Type: application/json", "X-Sightline: token",
        "Sec-Fetch-Site: same-origin",
    )  # fmt: skip
    with running(tmp_path / "annotation") as port:
        found = raw(port, request(port, "POST /api/enter HTTP/1.1", *headers, body=b'{"tok'))
        assert b" 408 " in found.split(b"\r\n")[0]


def test_more_connections_than_raters_have_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 3)
    with running(tmp_path / "annotation") as port:
        held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
        time.sleep(0.2)
        try:
            with suppress(ConnectionError):
                assert raw(port, request(port, "GET / HTTP/1.1")) == b""
        finally:
            for each in held:
                each.close()
        time.sleep(0.2)
        assert raw(port, request(port, "GET / HTTP/1.1")).startswith(b"HTTP/1.1 200")


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotated") / "run"
    write_run(folder, Shape(prompts=12, utility=0))
    sample(folder, Wanted(n=12, raters=("ann", "bo"), per_group=8), ["outcome"], None)
    return folder


@contextmanager
def command(run: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`sightline annotate RUN serve` as a process, and what it printed when it was ready."""
    line = [sys.executable, "-m", "sightline", "annotate", str(run), "serve", *options]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = ""
    for each in process.stdout:
        printed += each
        if "Ctrl-C" in each:
            break
    try:
        yield process, printed
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()
        process.wait(20)


@pytest.mark.slow
def test_two_raters_at_once_ctrl_c_and_the_same_addresses_again(run: Path) -> None:
    with command(run) as (process, printed):
        found = {name: (port, token) for name, _, port, _, token in URL.findall(printed)}
        assert list(found) == ["ann", "bo", "coordinator"]
        server = Server(run)
        server.port = int(found["ann"][0])
        clients = [RaterClient(name, server, found[name][1]) for name in ("ann", "bo")]
        for each in clients:
            each.enter()
        items = [place.item for place in read_plan(run / FOLDER).places("ann") if not place.repeat]
        threads = [
            threading.Thread(target=each.rate, args=(items, number)) for number, each in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)[0]
        assert process.returncode == 0
        assert "to go on: sightline annotate" in rest
        assert "Traceback" not in rest
    for each in clients:
        last = {item: said for item, said in each.confirmed.values() if said != "undo"}
        kept = answers_of(run / FOLDER, each.rater)
        assert {item: event.questions["outcome"] for (item, _), event in kept.items()} == last
    secret = (run / FOLDER / "coordinator.key").read_text().strip()
    assert secret not in printed + rest
    with command(run, "--port", str(server.port), "--rater", "bo", "--day-minutes", "60") as (_, again):
        tokens = {name: (port, token) for name, _, port, _, token in URL.findall(again)}
        assert tokens == {name: found[name] for name in ("bo", "coordinator")}
        refused = CliRunner().invoke(app, ["annotate", str(run), "serve"], catch_exceptions=True)
        assert isinstance(refused.exception, UsageError)
        assert "another process writes it" in str(refused.exception)
    rows = [json.loads(line) for line in (run / FOLDER / EXPOSURE).read_text().splitlines()]
    assert [row["limits"]["day_minutes"] for row in rows] == [120, 60]


def test_an_item_of_a_real_run_is_shown_with_its_picture(run: Path) -> None:
    with command(run) as (_, printed):
        _, origin, _, _, token = URL.findall(printed)[0]
        server = Server(run)
        server.port = int(origin.rsplit(":", 1)[1])
        client = RaterClient("ann", server, token)
        client.enter()
        import http.client

        def get(path: str) -> tuple[int, bytes]:
            line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            line.request("GET", path, headers={"Cookie": client.cookie})
            answer = line.getresponse()
            return answer.status, answer.read()

        status, data = get("/api/next?n=8")
        assert status == 200
        assert "finished" in json.loads(data)
        state = json.loads(get("/api/state")[1])
        assert state["questions"][0]["id"] == "outcome"
        assert "stop" in state["consent"]["text"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--host", "192.0.2.1"], "give --tls-cert and --tls-key"),
        (["--host", "localhost"], "give --tls-cert and --tls-key"),
        (["--host", "0.0.0.0"], "name the one address"),
        (["--tls-cert", "x.pem"], "belong together"),
        (["--port", "70000"], "expected 0"),
        (["--rater", "cy"], "has no rater 'cy'"),
        (["--work-minutes", "20000"], "work_minutes"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(run: Path, options: list[str], why: str) -> None:
    found = CliRunner().invoke(app, ["annotate", str(run), "serve", *options])
    assert isinstance(found.exception, UsageError)
    assert why in str(found.exception)


def test_a_changed_guideline_is_another_round(run: Path) -> None:
    path = run / FOLDER / GUIDELINE
    text = path.read_text()
    path.write_text(text + "\nOne more rule.\n")
    try:
        found = CliRunner().invoke(app, ["annotate", str(run), "serve"])
        assert isinstance(found.exception, UsageError)
        assert "sample --round 2" in str(found.exception)
    finally:
        path.write_text(text)


def test_without_a_plan_the_cure_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "run", Shape(prompts=2, utility=0))
    found = CliRunner().invoke(app, ["annotate", str(tmp_path / "run"), "serve"])
    assert isinstance(found.exception, UsageError)
    assert "draw a sample first" in str(found.exception)


@pytest.mark.parametrize("module", ["starlette", "uvicorn"])
def test_without_the_extra_its_name_is_told(run: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name))
    refused = CliRunner().invoke(app, ["annotate", str(run), "serve"])
    assert isinstance(refused.exception, AbsentExtraError)
    assert "pip install 'sightline[annotate]'" in str(refused.exception)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    cert, key = folder / "cert.pem", folder / "key.pem"
    line = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made = [*line, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True)
    return cert, key


def test_with_a_certificate_it_speaks_tls_alone(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    make(tmp_path / "annotation")
    served = desk(tmp_path / "annotation")
    address = Address(host="127.0.0.1", certificate=cert, key=key)
    ready, servers = threading.Event(), []
    original = serving.ReadyServer.__init__

    def noted(self: Any, *given: Any) -> None:
        original(self, *given)
        servers.append(self)

    with pytest.MonkeyPatch.context() as patch, listening_at(address) as listening:
        patch.setattr(serving.ReadyServer, "__init__", noted)
        host = shown_host(address, listening)
        lines = list(urls(served.secret, ["ann"], host, tls=True))
        assert lines[0].startswith(f"ann: https://{host}/#t=")
        door = Door(served.secret, ["ann"], tls=True)
        made = application(served, door, host, pages={"index.html": b"<p>"}, tls=True)
        thread = threading.Thread(target=start, args=(made, listening, address, ready.set), daemon=True)
        thread.start()
        assert ready.wait(20)
        port = listening.getsockname()[1]
        context = ssl.create_default_context(cafile=str(cert))
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
            line.sendall(request(port, "GET / HTTP/1.1"))
            assert line.recv(100).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionError):
            assert b"200" not in raw(port, request(port, "GET / HTTP/1.1"))
        servers[0].should_exit = True
        thread.join(20)
    served.close()


def test_an_unusable_certificate_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    address = Address(host="127.0.0.1", certificate=tmp_path / "x.pem", key=tmp_path / "x.pem")
    with listening_at(address) as listening, pytest.raises(UsageError, match="no usable certificate"):
        start(lambda: None, listening, address, lambda: None)


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with listening_at(Address()) as listening:
        listening.listen()
        taken = listening.getsockname()[1]
        with pytest.raises(UsageError, match="cannot listen on"), listening_at(Address(port=taken)):
            pass


# kill -9


@pytest.mark.slow
def test_nothing_confirmed_is_lost_or_doubled_when_the_server_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "annotation"
    make(folder, 60)
    items = [f"i{number}" for number in range(60)]
    found = rated_under_kills(folder, open_secret(folder), items, ("ann", "bo"), kills=4, seed=1)
    assert found.kills == 4
    assert found.confirmed >= 120
    assert (found.lost, found.doubled, found.other) == (0, 0, 0)
    for rater in ("ann", "bo"):
        assert len(answers_of(folder, rater)) == 60
        seqs = [event.seq for event in read_events(events_path(folder, rater))]
        assert seqs == list(range(1, len(seqs) + 1))


def test_the_loop_of_the_server_is_not_held_up_by_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one rater's answer waits for the disk, the other rater's page is served."""
    import httpx

    from sightline.annotation import log as module

    make(tmp_path / "annotation")
    served = desk(tmp_path / "annotation")
    for rater in ("ann", "bo"):
        served.consent(rater, True, [])
    made = application(served, Door(served.secret, served.sessions), "x", pages={})
    release = threading.Event()
    monkeypatch.setattr(module.os, "fsync", lambda _: release.wait(20))
    headers = {"X-Sightline": "token", "Sec-Fetch-Site": "same-origin"}

    async def both() -> tuple[int, int]:
        def fresh() -> httpx.AsyncClient:
            return httpx.AsyncClient(
                transport=httpx.ASGITransport(app=made), base_url="http://x", headers=headers
            )

        async with fresh() as ann, fresh() as bo:
            for client, rater in ((ann, "ann"), (bo, "bo")):
                token = served.secret.token("rater", rater)
                await client.post("/api/enter", json={"token": token})
            body = {"request": "request-1", "item": "i0", "questions": {"outcome": "refused"}}
            saving = asyncio.create_task(ann.post("/api/answer", json=body))
            await asyncio.sleep(0.05)
            other = (await bo.get("/api/next")).status_code
            assert not saving.done()
            release.set()
            return (await saving).status_code, other

    assert asyncio.run(both()) == (200, 200)
    served.close()
