"""`record-scores` against a local stand-in: retries, resume, refusals; the key is sent and never told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import TransientError, UsageError
from sightline.judges.toxicity import Toxicity
from sightline.responses.perspective import ATTRIBUTES, TRIES, record

KEY = "a-secret-of-mine"
GOOD = {"attributeScores": {name: {"summaryScore": {"value": 0.25}} for name in ATTRIBUTES}}


class Service:
    """Answers as it is told: one status after another, then 200."""

    def __init__(self, statuses: list[int | bytes]) -> None:
        self.statuses, self.asked, self.keys = statuses, [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                outer.asked.append(json.loads(self.rfile.read(size)))
                outer.keys.append((self.headers["X-Goog-Api-Key"], self.path))
                status: Any = outer.statuses.pop(0) if outer.statuses else 200
                broken = isinstance(status, bytes)
                self.send_response(200 if broken else status)
                self.end_headers()
                self.wfile.write(status if broken else json.dumps(GOOD).encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/v1alpha1/comments:analyze"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service([])
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_scores_are_recorded_once_and_read_by_the_judge(service: Service, tmp_path: Path) -> None:
    out, slept = tmp_path / "scores.jsonl", []
    done = record(["kind", "mild", "kind"], out, KEY, address=service.address, sleep=slept.append)
    assert (done.new, done.before, done.refused) == (2, 1, ())
    assert slept == [1.0, 1.0]
    again = record(["kind", "new"], out, KEY, address=service.address, per_second=4, sleep=slept.append)
    assert (again.new, again.before) == (1, 1)
    assert slept[2:] == [0.25]
    assert [each["comment"]["text"] for each in service.asked] == ["kind", "mild", "new"]
    assert all(each["doNotStore"] is True for each in service.asked)
    assert {key for key, _ in service.keys} == {KEY}
    assert all(KEY not in path for _, path in service.keys)
    assert KEY not in out.read_text()
    assert "perspective recorded" in Toxicity(scorer="perspective", replay=str(out)).id


def test_passing_failures_are_tried_again_with_growing_pauses(service: Service, tmp_path: Path) -> None:
    service.statuses = [429, 500, b"{not json"]
    slept: list[float] = []
    done = record(["kind"], tmp_path / "s", KEY, address=service.address, sleep=slept.append)
    assert done.new == 1
    assert slept == [2.0, 4.0, 8.0, 1.0]


def test_what_stays_down_keeps_what_came(service: Service, tmp_path: Path) -> None:
    service.statuses = [200, *[503] * TRIES]
    out = tmp_path / "s"
    with pytest.raises(TransientError, match="HTTP 503") as told:
        record(["one", "two"], out, KEY, address=service.address, sleep=lambda s: None)
    assert KEY not in str(told.value)
    assert len(out.read_text().splitlines()) == 1
    assert record(["one", "two"], out, KEY, address=service.address, sleep=lambda s: None).new == 1


def test_texts_without_scores_and_rejected_keys(service: Service, tmp_path: Path) -> None:
    service.statuses = [400]
    texts = ["bad", " ", "x" * 30_000]
    done = record(texts, tmp_path / "s", KEY, address=service.address, sleep=lambda s: None)
    assert [why.split(",")[0] for _, why in done.refused] == ["HTTP 400", "empty", "30"]
    assert len(service.asked) == 1
    service.statuses = [403]
    with pytest.raises(UsageError, match="key was rejected") as told:
        record(["x"], tmp_path / "s", KEY, address=service.address, sleep=lambda s: None)
    assert KEY not in str(told.value)


def test_keys_go_to_no_open_address_and_broken_files_are_told(tmp_path: Path) -> None:
    for address in ("http://example.org/x", "ftp://example.org", "file:///etc/hosts"):
        with pytest.raises(UsageError, match="https"):
            record(["x"], tmp_path / "s", KEY, address=address)
    (tmp_path / "s").write_text('{"sha256": "a"}\n{"sha')
    with pytest.raises(UsageError, match=":2: no recorded score"):
        record(["x"], tmp_path / "s", KEY)


def test_a_service_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """It takes every connection and says nothing: each try ends after `timeout_s`."""
    slept: list[float] = []
    with socket.create_server(("127.0.0.1", 0), backlog=2 * TRIES) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1alpha1/comments:analyze"
        with pytest.raises(TransientError, match=f"{TRIES} tries failed.*run it again") as told:
            record(["one"], tmp_path / "s", KEY, address=address, timeout_s=0.05, sleep=slept.append)
    assert slept == [2.0**attempt for attempt in range(1, TRIES)]
    assert KEY not in str(told.value)
    assert (tmp_path / "s").read_text() == ""


def test_a_service_that_stops_within_its_answer_is_asked_again(tmp_path: Path) -> None:
    """The head of an answer comes, its body does not."""

    class Half(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"attributeScores": ')
            done.wait(10)

        def log_message(self, *args: Any) -> None:
            pass

    done = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Half)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/x"
        with pytest.raises(TransientError, match=f"{TRIES} tries failed"):
            record(["one"], tmp_path / "s", KEY, address=address, timeout_s=0.05, sleep=lambda s: None)
    finally:
        done.set()
        server.shutdown()
        server.server_close()
