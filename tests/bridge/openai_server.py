"""A small OpenAI-compatible chat server on 127.0.0.1 with weather that a test can order."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Weather:
    """What the next request meets."""

    status: int = 200
    body: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut_after: int | None = None


def reply(text: str | None, finish: str = "stop", *, usage: bool = True, **message: Any) -> dict[str, Any]:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return body


class Server:
    """`weather` holds orders for the next requests; afterwards `usual` answers."""

    def __init__(self) -> None:
        self.weather: list[Weather] = []
        self.usual = Weather(body=reply("a harmless answer"))
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.lock = threading.Lock()
        self.in_flight = 0
        self.most_in_flight = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def pictures(self, request: int = -1) -> list[bytes]:
        """Decoded bytes of all pictures of a request, in order."""
        found = []
        for message in self.requests[request]["messages"]:
            if isinstance(message["content"], list):
                for part in message["content"]:
                    if part["type"] == "image_url":
                        _, _, data = part["image_url"]["url"].partition(";base64,")
                        found.append(base64.b64decode(data, validate=True))
        return found


def _chunks(body: dict[str, Any]) -> list[bytes]:
    choice = body["choices"][0]
    base = {"id": body["id"], "object": "chat.completion.chunk", "created": 1, "model": "m"}
    words = (choice["message"]["content"] or "").split(" ")
    words = [words[0], *(f" {word}" for word in words[1:])]
    events = [
        {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": w}}]} for w in words
    ]
    events.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    events.append({**base, "choices": [], "usage": body.get("usage")})
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.requests.append(data)
                server.times.append(time.monotonic())
                weather = server.weather.pop(0) if server.weather else server.usual
                server.in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.in_flight)
            try:
                self._answer(weather, bool(data.get("stream")))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with server.lock:
                    server.in_flight -= 1

        def _answer(self, weather: Weather, stream: bool) -> None:
            time.sleep(weather.delay)
            if stream and weather.raw is None and weather.status == 200 and weather.body["choices"]:
                pieces = _chunks(weather.body)
                kind = "text/event-stream"
            else:
                pieces = [weather.raw if weather.raw is not None else json.dumps(weather.body).encode()]
                kind = "application/json"
            total = sum(map(len, pieces))
            self.send_response(weather.status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(total))
            for name, value in weather.headers.items():
                self.send_header(name, value)
            self.end_headers()
            sent = b"".join(pieces)
            if weather.cut_after is not None:
                self.wfile.write(sent[: weather.cut_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(sent)

    return Handler


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
