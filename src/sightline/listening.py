"""A socket that listens, and a server that says when it does: for all that serves pages or requests."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from sightline.errors import UsageError


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one.

    Raises:
        UsageError: if that cannot be done.
    """
    try:
        family, kind, proto, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, proto)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
    except OSError as refused:
        why = refused.strerror or str(refused)
        raise UsageError(f"cannot listen on {host}:{port} ({why}); try --port 0") from None
    return found


class ReadyServer(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and say so."""
        await super().startup(sockets=sockets)
        self._ready()
