"""Serve until the process is asked to end; what is under way is finished."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from sightline.listening import ReadyServer

GRACE_S = 30


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
            ReadyServer(config, ready).run(sockets=[where])
    finally:
        signal.signal(signal.SIGTERM, before)


def _ended(*_: object) -> None:
    """The server has ended; what the command prints afterwards still is to come."""
