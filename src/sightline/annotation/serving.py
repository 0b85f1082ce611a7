"""`sightline annotate RUN serve`: a socket, who gets which address, and the server until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sightline.annotation.contents import Contents
from sightline.annotation.coordination import coordination
from sightline.annotation.desk import Desk
from sightline.annotation.exposure import Limits, read_limits, record_limits
from sightline.annotation.guideline import (
    care_of,
    for_screen,
    guideline_digest,
    no_contact,
    read_guideline,
    without_contact,
)
from sightline.annotation.log import now
from sightline.annotation.pictures import Pictures
from sightline.annotation.plan import FOLDER, read_plan
from sightline.annotation.progress import progress
from sightline.annotation.questions import GUIDELINE, QUESTIONS, questions_digest, read_questions
from sightline.annotation.secret import Secret, open_secret
from sightline.annotation.security import HEADERS, Door
from sightline.annotation.server import application
from sightline.errors import UsageError
from sightline.listening import ReadyServer, listening

LOOPBACK = "127.0.0.1"
HEADERS_S = 15
"""Seconds within which the headers of a request have to be there."""
MOST_CONNECTIONS = 100
_WILDCARDS = ("", "0.0.0.0", "::", "*")  # noqa: S104  these are refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server listens; another host than this machine needs a certificate and its key (PEM)."""

    host: str = LOOPBACK
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise UsageError("--tls-cert and --tls-key belong together: give both")
        if self.host in _WILDCARDS:
            raise UsageError(f"--host {self.host!r}: name the one address that raters open")
        if self.host != LOOPBACK and self.certificate is None:
            raise UsageError(
                f"--host {self.host}: other machines could read along; give --tls-cert and --tls-key, "
                f"or leave --host out and serve on {LOOPBACK}"
            )
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"--port {self.port}: expected 0 (any free one) to 65535")

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return self.certificate is not None


def shown_host(address: Address, listening: socket.socket) -> str:
    """What the browser will send as `Host`."""
    name = f"[{address.host}]" if ":" in address.host else address.host
    port = listening.getsockname()[1]
    return name if port == (443 if address.tls else 80) else f"{name}:{port}"


def urls(secret: Secret, raters: Iterable[str], host: str, *, tls: bool) -> Iterator[str]:
    """Lines with one address per rater and one for the coordinator; tokens stand behind the `#`."""
    origin = f"{'https' if tls else 'http'}://{host}"
    for rater in raters:
        yield f"{rater}: {origin}/#t={secret.token('rater', rater)}"
    yield f"coordinator: {origin}/coordinator#t={secret.token('coordinator')}"


class _Protocol(H11Protocol):
    """HTTP/1.1 with a time limit for headers, a limit of connections, and our headers on every refusal."""

    def connection_made(self, transport: Any) -> None:
        self._headers_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._got_headers()
        elif self._headers_timer is None and not self.transport.is_closing():
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._got_headers()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._headers_timer = self.loop.call_later(HEADERS_S, self._late)

    def _got_headers(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _late(self) -> None:
        self._headers_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        lines = ["HTTP/1.1 400 Bad Request", "Content-Type: text/plain; charset=utf-8", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in HEADERS.items()]
        self.transport.write(("\r\n".join(lines) + f"\r\n\r\n{msg}").encode())
        self.transport.close()


def start(app: Any, listening: socket.socket, address: Address, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C, or until the process is asked to end; what is under way is finished.

    Raises:
        UsageError: if the certificate or its key cannot be used.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=16 * 1024,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as unfit:
        raise UsageError(f"{address.certificate}, {address.key}: no usable certificate ({unfit})") from None
    server = ReadyServer(config, ready)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def open_desk(run: Path, raters: Sequence[str], limits: Limits, contents: Contents) -> Desk:
    """What is served of a run's annotation.

    Raises:
        UsageError: if there is no plan, the plan does not know a rater, its guideline or its questions are
            others than those that stand in the folder, or another process serves it.
        DamageError: if a file is damaged.
    """
    folder = run / FOLDER
    plan, questions, guideline = read_plan(folder), read_questions(folder), read_guideline(folder)
    for name, found, held in (
        (GUIDELINE, guideline_digest(guideline), plan.header.guideline),
        (QUESTIONS, questions_digest(questions.values()), plan.header.questions),
    ):
        if found != held:
            again = f"sightline annotate {run} sample --round {plan.header.round + 1}"
            raise UsageError(
                f"{folder / name}: changed since the plan of round {plan.header.round} was drawn: "
                f"restore it, or ask all items again, with `{again}`"
            )
    return Desk(
        folder,
        plan,
        questions,
        contents.read,
        Pictures(run / "blobs"),
        open_secret(folder),
        guideline=for_screen(guideline),
        care=for_screen(care_of(guideline)),
        limits=limits,
        raters=tuple(dict.fromkeys(raters)),
    )


def serve(
    run: Path,
    address: Address,
    *,
    raters: Sequence[str],
    limits: Mapping[str, int],
    say: Callable[[str], None],
) -> None:
    """Serve a run's annotation until Ctrl-C; `limits` changes those of exposure that were recorded before.

    Raises:
        UsageError: see `open_desk`; or if it cannot listen there.
        DamageError: if a file is damaged.
    """
    folder = run / FOLDER
    held = replace(read_limits(folder), **limits)
    with Contents(run) as contents, listening_at(address) as listening:
        desk = open_desk(run, raters, held, contents)
        try:
            record_limits(folder, held, now())
            door = Door(desk.secret, desk.sessions, tls=address.tls)
            host = shown_host(address, listening)
            more = coordination(run, desk, progress)
            app = application(desk, door, host, coordination=more, tls=address.tls)

            def ready() -> None:
                for line in urls(desk.secret, desk.sessions, host, tls=address.tls):
                    say(line)
                if without_contact(read_guideline(folder)):
                    say(f"note: {no_contact(folder, desk.plan.header.round)}")
                say("each address is for one person and stays the same; end with Ctrl-C: everything is kept")

            start(app, listening, address, ready)
        finally:
            desk.close()
    say(f"stopped; to go on: sightline annotate {run} serve")


@contextmanager
def listening_at(address: Address) -> Iterator[socket.socket]:
    """A bound socket that is closed at the end."""
    found = listening(address.host, address.port)
    try:
        yield found
    finally:
        found.close()
