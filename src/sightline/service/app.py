"""The application: who may ask, how many at once, and what becomes of what goes wrong.

At most `concurrency` requests are with the target and `queue` wait; more are told to come back (429). A reply
is sent when the defense has let it pass, also where the client wants a stream. Requests are logged nowhere.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response as HttpResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sightline.contracts import Decoding, Images, Target
from sightline.errors import SightlineError
from sightline.records import Response
from sightline.service.wire import RefusedError, completion, events, problem, read
from sightline.study.replying import reply

MOST_BODY = 48 * 1024 * 1024
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(slots=True, kw_only=True)
class Service:
    """A target that is served.

    Attributes:
        target: answers.
        name: of the model, in replies.
        images: where pictures of requests are kept.
        decoding: of what a request leaves open.
        key: that clients have to send; '' for none.
        hosts: names under which this machine is asked; () for any.
        concurrency: requests with the target at once.
        queue: requests that may wait.
        retries: of a call that fails.
        served: requests that were answered; refused: that were not let in.
    """

    target: Target
    name: str
    images: Images
    decoding: Decoding = field(default_factory=Decoding)
    key: str = field(default="", repr=False)
    hosts: tuple[str, ...] = LOOPBACK
    concurrency: int = 64
    queue: int = 256
    retries: int = 2
    served: int = 0
    refused: int = 0
    _inside: int = 0
    _turns: asyncio.Semaphore | None = None

    def application(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/health", self.health),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
        ]
        return _Bounded(
            Starlette(routes=routes, exception_handlers={Exception: _told, RefusedError: _told}), self
        )

    async def health(self, _: Request) -> HttpResponse:
        """How it is doing; needs no key and tells no names."""
        return _json({"status": "ok", "waiting_or_running": self._inside, "served": self.served})

    async def models(self, request: Request) -> HttpResponse:
        """The one model."""
        self.let_in(request.headers)
        model = {
            "id": self.name,
            "object": "model",
            "created": 0,
            "owned_by": "sightline",
            "target": self.target.id,
        }
        return _json({"object": "list", "data": [model]})

    async def chat(self, request: Request) -> HttpResponse:
        """One reply."""
        self.let_in(request.headers)
        if self._inside >= self.concurrency + self.queue:
            self.refused += 1
            raise RefusedError(429, "too many requests wait: try again in a second", "rate_limit_exceeded")
        self._inside += 1
        try:
            return await self._answered(request)
        finally:
            self._inside -= 1

    async def _answered(self, request: Request) -> HttpResponse:
        body = await request.body()
        try:
            found = orjson.loads(body)
        except ValueError:
            raise RefusedError(400, "the body is no JSON in UTF-8") from None
        asked = await asyncio.to_thread(read, found, self.images, self.decoding)
        if self._turns is None:
            self._turns = asyncio.Semaphore(self.concurrency)
        async with self._turns:
            response = await reply(self.target, asked.conversation, asked.decoding, retries=self.retries)
        if response.stop == "error":
            raise RefusedError(502, f"the target failed: {response.error}", "target_failed")
        self.served += 1
        how: dict[str, Any] = {
            "id_": f"chatcmpl-{token_hex(12)}",
            "model": self.name,
            "created": int(time.time()),
        }
        if asked.stream:
            return _stream(response, usage=asked.usage_streamed, **how)
        return _json(completion(response, **how))

    def let_in(self, headers: Headers) -> None:
        """Make sure that a client has the key, and that it meant this server.

        Raises:
            RefusedError: if not.
        """
        host = (headers.get("host") or "").rpartition(":")[0] or headers.get("host") or ""
        if self.hosts and host not in self.hosts:
            raise RefusedError(403, "this server is known by another name", "wrong_host")
        given = (headers.get("authorization") or "").removeprefix("Bearer ")
        if self.key and not hmac.compare_digest(given.encode(), self.key.encode()):
            raise RefusedError(401, "wrong key, or none: send Authorization: Bearer KEY", "invalid_api_key")


class _Bounded:
    """Refuses bodies that are too large, whatever length they announce, and requests of web pages."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MOST_BODY:
                raise RefusedError(413, f"at most {MOST_BODY:,} bytes", "too_large")
            return message

        if headers.get("origin") is not None:  # a page in a browser of this machine; tools send none
            refusal = RefusedError(403, "requests of web pages are not served", "wrong_origin")
            await _refusal(refusal)(scope, receive, send)
            return
        await self._app(scope, bounded, send)


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    kept = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return HttpResponse(orjson.dumps(body), status, headers=kept, media_type="application/json")


def _stream(response: Response, *, usage: bool, **how: Any) -> HttpResponse:
    """The reply as events, all at once: what a defense may still withhold is not sent word by word."""
    lines = [b"data: " + orjson.dumps(each) + b"\n\n" for each in events(response, usage=usage, **how)]
    headers = {"Cache-Control": "no-store", "X-Sightline-Stream": "buffered"}
    body = b"".join([*lines, b"data: [DONE]\n\n"])
    return HttpResponse(body, headers=headers, media_type="text/event-stream")


def _refusal(wrong: RefusedError) -> HttpResponse:
    more = {"Retry-After": "1"} if wrong.status == 429 else {}
    return _json(problem(str(wrong), wrong.code), wrong.status, more)


async def _told(_: Request, wrong: Exception) -> HttpResponse:
    """What went wrong, without what was asked."""
    if isinstance(wrong, RefusedError):
        return _refusal(wrong)
    if isinstance(wrong, ClientDisconnect):
        return _refusal(RefusedError(400, "the client went away"))
    if isinstance(wrong, SightlineError):
        return _refusal(RefusedError(502, str(wrong), "target_failed"))
    return _refusal(RefusedError(500, f"this failed: {type(wrong).__name__}", "internal_error"))
