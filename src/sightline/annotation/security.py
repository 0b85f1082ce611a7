"""Around every page of an annotation: who may ask what from where, how much, and which headers go with it.

The server listens on this machine alone; what is left to keep out are other pages in the same browser (which
can send requests to any port), other users of the machine, and raters who want to see more than their part.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sightline.annotation.refusals import RefusedError
from sightline.annotation.secret import Role, Secret
from sightline.errors import SightlineError

MOST_BODY = 64 * 1024
MOST_URL = 2048
MOST_HEADERS = 16 * 1024
BODY_S = 10
"""Seconds within which a body has to be there."""
SESSION_S = 16 * 3600
TOKEN = "token"  # noqa: S105  no secret: a word that a form of another site cannot send
"""Value of the header `X-Sightline`, which another site's page cannot send without asking first."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' blob:; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_ONCE = ("host", "cookie", "origin", "content-length", "content-type", "x-sightline", "sec-fetch-site")
_LOG = logging.getLogger(__name__)


class Guard:
    """The outermost part of the application: refuses, limits, and sets headers on every response."""

    def __init__(self, app: ASGIApp, host: str, *, tls: bool = False) -> None:
        self.app = app
        self.host = host
        self.origin = f"{'https' if tls else 'http'}://{host}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def headed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._refuse(scope)
            scope["app"] = self  # with it, routes raise what they refuse
            await self.app(scope, _limited(receive), headed)
        except Exception as wrong:
            if started:
                raise
            await _refusal(wrong)(scope, receive, headed)

    def _refuse(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        _refuse_odd(scope, headers)
        site, method, path = headers.get("sec-fetch-site"), scope["method"], scope["path"]
        if headers.get("host") != self.host:
            raise RefusedError(403, "this server is known by another name: use the address that was printed")
        if headers.get("origin") not in (None, self.origin):
            raise RefusedError(403, "asked by another site's page")
        if method == "POST":
            self._refuse_post(headers, path, site)
        elif method not in ("GET", "HEAD"):
            raise RefusedError(405, "only GET and POST")
        elif site not in (None, "same-origin", "none") and path.startswith(("/api/", "/picture/")):
            raise RefusedError(403, "asked by another site's page")

    def _refuse_post(self, headers: Headers, path: str, site: str | None) -> None:
        kind = (headers.get("content-type") or "").split(";")[0].strip().lower()
        if path.startswith("/api/"):
            if not headers.get("x-sightline"):
                raise RefusedError(403, "the header X-Sightline is missing")
            if site != "same-origin":
                raise RefusedError(403, "asked by another site's page")
            if kind != "application/json":
                raise RefusedError(400, "the body has to be JSON, with its content type")
        elif site not in (None, "same-origin"):
            raise RefusedError(403, "asked by another site's page")
        elif kind != "application/x-www-form-urlencoded":
            raise RefusedError(400, "the body has to be a form, with its content type")


def _refuse_odd(scope: Scope, headers: Headers) -> None:
    """What no browser of ours sends."""
    for name in _ONCE:
        if len(headers.getlist(name)) > 1:
            raise RefusedError(400, f"two headers {name}")
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_URL:
        raise RefusedError(400, "the address is too long")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
        raise RefusedError(400, "the headers are too long")
    if scope["http_version"] not in ("1.0", "1.1"):
        raise RefusedError(400, "this is no HTTP/1.1")
    if "content-length" in headers and "transfer-encoding" in headers:
        raise RefusedError(400, "two lengths of one body")
    if length_of(headers.get("content-length")) > MOST_BODY:
        raise RefusedError(413, f"at most {MOST_BODY:,} bytes")


def length_of(text: str | None) -> int:
    """A length that a header names; 0 for none.

    Raises:
        RefusedError: if it is no number.
    """
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RefusedError(400, "the length is no number")
    return int(text)


def _limited(receive: Receive) -> Receive:
    """`receive`, for at most `MOST_BODY` bytes within `BODY_S` seconds, whatever length was announced."""
    seen, ends = 0, time.monotonic() + BODY_S

    async def limited() -> Message:
        nonlocal seen
        try:
            message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
        except TimeoutError:
            raise RefusedError(408, "the body took too long") from None
        seen += len(message.get("body", b""))
        if seen > MOST_BODY:
            raise RefusedError(413, f"at most {MOST_BODY:,} bytes")
        return message

    return limited


def _refusal(wrong: Exception) -> JSONResponse:
    if isinstance(wrong, RefusedError):
        more = {"Connection": "close"} if wrong.status in (408, 413) else {}
        return JSONResponse({"error": str(wrong)}, wrong.status, headers=more)
    if isinstance(wrong, HTTPException):
        return JSONResponse({"error": wrong.detail}, wrong.status_code, headers=wrong.headers)
    if isinstance(wrong, OSError):
        _LOG.error("not saved: %s", wrong)
        return JSONResponse({"error": f"not saved: {wrong.strerror}; tell the coordinator"}, 500)
    if isinstance(wrong, SightlineError):
        _LOG.error("%s", wrong)  # its message names files, which raters are not told
    else:
        _LOG.error("a request failed", exc_info=wrong)
    return JSONResponse({"error": "this failed; the coordinator's terminal says why"}, 500)


class Who(NamedTuple):
    """Who is signed in, and the cookie that says so."""

    role: Role
    rater: str
    cookie: str


class Door:
    """Exchanges tokens for cookies, and knows cookies that it gave, also those given before a restart."""

    def __init__(
        self,
        secret: Secret,
        raters: Iterable[str],
        *,
        tls: bool = False,
        clock: Callable[[], float] = time.time,
        tries: int = 10,
        within_s: float = 60,
    ) -> None:
        self._secret, self._clock, self._tls = secret, clock, tls
        self._tries, self._within_s = tries, within_s
        self._failed: dict[str, deque[float]] = {}
        self._lock = threading.Lock()
        known: list[tuple[Role, str]] = [("coordinator", ""), *(("rater", name) for name in raters)]
        self._tokens = [(secret.token(role, rater).encode(), role, rater) for role, rater in known]
        self._names: dict[Role, str] = {
            role: f"sightline-{role}-{secret.name('cookie', role)[:8]}" for role in ("rater", "coordinator")
        }

    def enter(self, token: str, client: str) -> Who:
        """Who has a token; every known token is compared, in a time that tells nothing.

        Raises:
            RefusedError: for a wrong one, and for any while too many wrong ones came from that address.
        """
        with self._lock:
            failed = self._failed.setdefault(client, deque())
            while failed and failed[0] <= self._clock() - self._within_s:
                failed.popleft()
            if len(failed) >= self._tries:
                raise RefusedError(429, f"too many wrong tokens: wait {self._within_s:.0f} seconds")
            given = token.encode()
            found = [(role, name) for known, role, name in self._tokens if hmac.compare_digest(known, given)]
            if not found:
                failed.append(self._clock())
                while len(self._failed) > 1000:
                    self._failed.pop(next(iter(self._failed)))
                raise RefusedError(403, "this is no token of this annotation: open the whole address")
        role, rater = found[0]
        content = orjson.dumps([role, rater, int(self._clock()), secrets.token_hex(8)])
        signed = urlsafe_b64encode(content).decode().rstrip("=")
        return Who(role, rater, f"{signed}.{self._secret.name('session', signed)}")

    def set_cookie(self, response: Any, who: Who) -> None:
        """Let a response sign its reader in."""
        response.set_cookie(
            self._names[who.role], who.cookie, httponly=True, samesite="strict", secure=self._tls, path="/"
        )

    def signed_in(self, request: Request, role: Role) -> Who:
        """Who asks, in a role.

        Raises:
            RefusedError: if nobody is signed in, or only in the other role.
        """
        found = self._read(request.cookies.get(self._names[role], ""), role)
        if found is None:
            other: Role = "coordinator" if role == "rater" else "rater"
            if self._read(request.cookies.get(self._names[other], ""), other):
                raise RefusedError(403, f"this is for {'a' if role == 'rater' else 'the'} {role}")
            raise RefusedError(401, "open the address that you were given")
        return found

    def everyone(self, request: Request) -> list[str]:
        """Raters ('' is the coordinator) who are signed in in this browser.

        Raises:
            RefusedError: if nobody is.
        """
        roles: tuple[Role, ...] = ("rater", "coordinator")
        found = [self._read(request.cookies.get(self._names[role], ""), role) for role in roles]
        if not any(found):
            raise RefusedError(401, "open the address that you were given")
        return [who.rater for who in found if who is not None]

    def _read(self, cookie: str, role: Role) -> Who | None:
        signed, _, mac = cookie.partition(".")
        if len(cookie) > 1000 or not hmac.compare_digest(
            mac.encode(), self._secret.name("session", signed).encode()
        ):
            return None
        held, rater, at, _ = orjson.loads(urlsafe_b64decode(signed + "=" * (-len(signed) % 4)))
        known = any((held, rater) == each[1:] for each in self._tokens)
        if held != role or not known or self._clock() - at > SESSION_S:
            return None
        return Who(role, rater, cookie)

    def header(self, who: Who) -> str:
        """The value of `X-Sightline` that belongs to one session, and to its forms as a hidden field."""
        return self._secret.name("header", who.cookie)

    def refuse_other_page(self, request: Request, who: Who) -> None:
        """Make sure that a page which names its session names this one: another rater may have signed in.

        Raises:
            RefusedError: if it is not.
        """
        given = request.headers.get("x-sightline", "")
        if given != TOKEN and not hmac.compare_digest(given.encode(), self.header(who).encode()):
            raise RefusedError(403, "another person has signed in in this browser: open your address again")
