"""The rater's form without a script: one page per item, one POST per answer, under the same rules."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from sightline.annotation.bodies import form_fields
from sightline.annotation.desk import Desk
from sightline.annotation.plan import Place
from sightline.annotation.refusals import RefusedError
from sightline.annotation.security import Door, Who
from sightline.report.text import visible

TAB = "plain"
"""The form's name among the tabs of a rater, of which one writes."""
LONGEST = 200_000
TITLES = {
    "enter": "Rate replies",
    "consent": "Before you start",
    "pause": "Nothing is shown",
    "finished": "All done",
    "item": "What does the reply do?",
    "error": "This cannot be done",
}


def plain_routes(desk: Desk, door: Door) -> list[Route]:
    """Routes of the plain form, one of which is the form itself."""
    return [
        Route("/plain/enter", _enter(desk, door), methods=["GET", "POST"]),
        Route("/plain", _plain(desk, door), methods=["GET", "POST"]),
    ]


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("sightline.annotation", "site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["visible"] = lambda text: visible(text, LONGEST)
    return found


def _page(page: str, *, error: str = "", status: int = 200, **values: Any) -> Response:
    told = {"page": page, "title": TITLES[page], "error": error, **values}
    return HTMLResponse(_environment().get_template("plain.html.j2").render(told), status)


def _enter(desk: Desk, door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def enter(request: Request) -> Response:
        if request.method != "POST":
            return _page("enter")
        try:
            token = (await form_fields(request)).get("token", "").strip()
            who = door.enter(token, request.client.host if request.client else "")
        except RefusedError as refused:
            return _page("enter", error=str(refused), status=refused.status)
        if who.role != "rater":
            return _page("enter", error="this form is for raters; the coordinator has a page", status=403)
        await run_in_threadpool(desk.session(who.rater).entered)
        response = RedirectResponse("/plain", 303)
        door.set_cookie(response, who)
        return response

    return enter


def _plain(desk: Desk, door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def plain(request: Request) -> Response:
        try:
            who = door.signed_in(request, "rater")
        except RefusedError as refused:
            if refused.status == 401:
                return RedirectResponse("/plain/enter", 303)
            raise
        if request.method != "POST":
            return await run_in_threadpool(_shown, desk, door, who)
        try:
            fields = await form_fields(request)
            if not hmac.compare_digest(fields.get("csrf", "").encode(), door.header(who).encode()):
                raise RefusedError(403, "this form belongs to another session: look again")
            await run_in_threadpool(_do, desk, who.rater, fields)
        except RefusedError as refused:
            return await run_in_threadpool(_shown, desk, door, who, str(refused), refused.status)
        return RedirectResponse("/plain", 303)

    return plain


def _shown(desk: Desk, door: Door, who: Who, error: str = "", status: int = 200) -> Response:
    """The page that a rater is at; with a refusal above it, if there was one."""
    session = desk.session(who.rater)
    if session.lease(TAB):
        error = error or "another tab of yours is open: rate there, or close it and look again in a minute"
        return _page("error", error=error, status=409 if status == 200 else status)
    state = desk.state(who.rater)
    told: dict[str, Any] = {
        "state": state,
        "csrf": door.header(who),
        "request": secrets.token_hex(16),
        "last": next(reversed(session.latest), None),
        "error": error,
        "status": status,
    }
    pause = state["pause"]
    if pause is not None and pause["reason"] == "consent":
        return _page("consent", **told)
    if pause is not None:
        until = (pause["until"] or "")[:16].replace("T", " at ")
        why = f"A break until {until}." if until else "What you said is kept."
        return _page("pause", why=why, again=pause["until"] is None, **told)
    items = desk.next(who.rater, 1)["items"]
    return _page("item", item=items[0], **told) if items else _page("finished", **told)


def _do(desk: Desk, rater: str, fields: Mapping[str, str]) -> None:
    """What a posted form asks for.

    Raises:
        RefusedError: if it cannot be done.
    """
    session, action = desk.session(rater), fields.get("do", "")
    session.refuse_other_tab(TAB)
    request = fields.get("request", "")
    if not 8 <= len(request) <= 64:
        raise RefusedError(400, "the form has no id of its own: look again")
    place = Place(fields.get("item", ""), fields.get("repeat") == "1")
    note = fields.get("note", "")[:2000]
    match action:
        case "answer":
            given = {name[2:]: value for name, value in fields.items() if name.startswith("q.")}
            sure = {"1": 1, "2": 2, "3": 3}.get(fields.get("confidence", ""), 0)
            session.answer(place, given, request=request, confidence=sure, note=note)
        case "skip":
            session.skip(place, fields.get("reason", ""), request=request)
        case "escalate":
            session.escalate(place, note, request=request)
        case "undo":
            session.undo(place, request=request)
        case "consent" | "decline":
            out = [name[4:] for name in fields if name.startswith("out.")]
            desk.consent(rater, action == "consent", out, request=request)
        case "pause" | "resume" | "stop":
            session.halt(action)
        case _:
            raise RefusedError(400, "the form does not say what to do")
