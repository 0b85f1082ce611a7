"""Serve until the process is asked to end; what is under way is finished."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from sightline.errors import UsageError

GRACE_S = 30


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one.

    Raises:
        UsageError: if that cannot be done.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
    except OSError as refused:
        why = refused.strerror or str(refused)
        raise UsageError(f"cannot listen on {host}:{port} ({why}); try --port 0") from None
    return found


def run(app: Any, where: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    before = signal.signal(signal.SIGTERM, _ended)  # uvicorn raises it again when all is answered
    try:
        with suppress(KeyboardInterrupt):
            _Server(config, ready).run(sockets=[where])
    finally:
        signal.signal(signal.SIGTERM, before)


def _ended(*_: object) -> None:
    """The server has ended; what the command prints afterwards still is to come."""


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()
