"""The pages' server as an application of ASGI: routes, and which role may ask for what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router

from sightline.annotation.bodies import MOST_NOTE, Fields, json_fields
from sightline.annotation.desk import Desk
from sightline.annotation.plain import plain_routes
from sightline.annotation.plan import Place
from sightline.annotation.refusals import RefusedError
from sightline.annotation.secret import Role
from sightline.annotation.security import Door, Guard, Who

Action = Callable[[Desk, str, Fields], dict[str, Any]]
Endpoint = Callable[[Request], Awaitable[Response]]
MEDIA = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SHELLS = {"/": "index.html", "/coordinator": "coordinator.html"}


class Coordination(NamedTuple):
    """What the coordinator's page asks for: numbers, the queue of adjudication, and a ruling on one item."""

    numbers: Callable[[], Mapping[str, Any]]
    queue: Callable[[], Sequence[Mapping[str, Any]]]
    adjudicate: Callable[[str, str, str, str], Mapping[str, Any]]


def site() -> dict[str, bytes]:
    """Files of the pages that come with Sightline, by name."""
    folder = files("sightline.annotation") / "site"
    if not folder.is_dir():
        return {}
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.endswith(tuple(MEDIA))}


def application(
    desk: Desk,
    door: Door,
    host: str,
    *,
    pages: Mapping[str, bytes] | None = None,
    coordination: Coordination | None = None,
    more: Sequence[BaseRoute] = (),
    tls: bool = False,
) -> Guard:
    """The whole application.

    Args:
        desk: what is served.
        door: who may ask.
        host: the one value of `Host` that is served, such as `127.0.0.1:40123`.
        pages: files of the pages; those that come along, if None.
        coordination: what the coordinator can do besides looking at counts.
        more: further routes, behind the same guard.
        tls: whether the server speaks TLS.
    """
    found = site() if pages is None else pages
    routes: list[BaseRoute] = [
        *(Route(path, _static(found.get(name), name)) for path, name in SHELLS.items()),
        Route("/site/{name}", _site(found)),
        Route("/picture/{name}", _picture(desk, door)),
        Route("/api/enter", _enter(desk, door), methods=["POST"]),
        Route("/api/state", _state(desk, door)),
        Route("/api/next", _next(desk, door)),
        *(
            Route(f"/api/{name}", _post(desk, door, action), methods=["POST"])
            for name, action in ACTIONS.items()
        ),
        Route("/api/coordinator", _numbers(desk, door, coordination)),
    ]
    if coordination is not None:
        routes.append(Route("/api/queue", _queue(door, coordination)))
        routes.append(Route("/api/adjudicate", _adjudicate(door, coordination), methods=["POST"]))
    routes += [*plain_routes(desk, door), *more]
    return Guard(Router(routes, redirect_slashes=False, default=_absent), host, tls=tls)


def answered(value: Any, status: int = 200) -> Response:
    """A response of JSON."""
    return Response(
        orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json"
    )


async def _absent(*_: Any) -> None:
    raise RefusedError(404, "there is no such page")


def _static(data: bytes | None, name: str) -> Endpoint:
    kind = MEDIA.get(name[name.rfind(".") :], "")

    async def page(_: Request) -> Response:
        if data is None:
            raise RefusedError(404, "there is no such page")
        return Response(data, media_type=kind)

    return page


def _site(pages: Mapping[str, bytes]) -> Endpoint:
    pages = {name: data for name, data in pages.items() if not name.endswith(".html")}

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        return await _static(pages.get(name), name)(request)

    return asset


def _picture(desk: Desk, door: Door) -> Endpoint:
    async def picture(request: Request) -> Response:
        name, asked = request.path_params["name"], request.query_params
        owners = door.everyone(request)
        how = {"color": asked.get("c") == "1", "blurred": asked.get("b") == "1"}
        data = await run_in_threadpool(desk.picture, owners, name, **how)
        return Response(data, media_type="image/png")

    return picture


def _enter(desk: Desk, door: Door) -> Endpoint:
    async def enter(request: Request) -> Response:
        fields = await json_fields(request)
        token = fields.text("token")
        fields.done()
        who = door.enter(token, request.client.host if request.client else "")
        if who.role == "rater":
            await run_in_threadpool(desk.session(who.rater).entered)
        response = answered({"role": who.role, "rater": who.rater, "xt": door.header(who)})
        door.set_cookie(response, who)
        return response

    return enter


def _state(desk: Desk, door: Door) -> Endpoint:
    async def state(request: Request) -> Response:
        who = door.signed_in(request, "rater")
        found = await run_in_threadpool(desk.state, who.rater)
        readonly = desk.session(who.rater).held_by_other(request.query_params.get("tab", ""))
        return answered({**found, "readonly": readonly, "xt": door.header(who)})

    return state


def _next(desk: Desk, door: Door) -> Endpoint:
    async def following(request: Request) -> Response:
        who = door.signed_in(request, "rater")
        wanted = request.query_params.get("n", "4")
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 4):
            raise RefusedError(400, "n is a number of items")
        after = request.query_params.get("after", "")
        return answered(await run_in_threadpool(desk.next, who.rater, int(wanted), after))

    return following


def _post(desk: Desk, door: Door, action: Action) -> Endpoint:
    async def post(request: Request) -> Response:
        who = _poster(door, request, "rater")
        fields = await json_fields(request)
        return answered(await run_in_threadpool(action, desk, who.rater, fields))

    return post


def _poster(door: Door, request: Request, role: Role) -> Who:
    who = door.signed_in(request, role)
    door.refuse_other_page(request, who)
    return who


def _numbers(desk: Desk, door: Door, coordination: Coordination | None) -> Endpoint:
    def numbers() -> dict[str, Any]:
        raters = {
            name: {"done": session.done, "total": len(session.places)}
            for name, session in desk.sessions.items()
        }
        more = {} if coordination is None else dict(coordination.numbers())
        return {"serving": raters, "unassigned": len(desk.unassigned), **more}

    async def coordinator(request: Request) -> Response:
        who = door.signed_in(request, "coordinator")
        return answered({**await run_in_threadpool(numbers), "xt": door.header(who)})

    return coordinator


def _queue(door: Door, coordination: Coordination) -> Endpoint:
    async def queue(request: Request) -> Response:
        door.signed_in(request, "coordinator")
        found = await run_in_threadpool(coordination.queue)
        return answered({"items": list(found)})

    return queue


def _adjudicate(door: Door, coordination: Coordination) -> Endpoint:
    async def adjudicate(request: Request) -> Response:
        _poster(door, request, "coordinator")
        fields = await json_fields(request)
        asked = fields.request(), fields.text("item"), fields.text("outcome")
        note = fields.text("note", "", most=MOST_NOTE)
        fields.done()
        return answered(dict(await run_in_threadpool(coordination.adjudicate, *asked, note)))

    return adjudicate


def _place(fields: Fields) -> Place:
    return Place(fields.text("item"), fields.flag("repeat", False))


def _ready(desk: Desk, rater: str, fields: Fields) -> None:
    """All fields are read: nothing else was sent, and no other tab writes."""
    fields.done()
    desk.session(rater).refuse_other_tab(fields.text("tab", ""))


def _answer(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "request": fields.request(),
        "confidence": fields.whole("confidence", 3),
        "note": fields.text("note", "", most=MOST_NOTE),
        "shown_ms": fields.whole("shown_ms"),
        "unblurred_ms": fields.whole("unblurred_ms"),
    }
    place, questions = _place(fields), fields.mapping("questions")
    _ready(desk, rater, fields)
    saved = desk.session(rater).answer(place, questions, **asked)
    return {**saved, "has_raw": desk.content(place.item).raw is not None}  # told now: it may sway an answer


def _skip(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    place, reason, request = _place(fields), fields.text("reason"), fields.request()
    shown_ms = fields.whole("shown_ms")
    _ready(desk, rater, fields)
    return desk.session(rater).skip(place, reason, request=request, shown_ms=shown_ms)


def _escalate(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    place, note, request = _place(fields), fields.text("note", "", most=MOST_NOTE), fields.request()
    shown_ms = fields.whole("shown_ms")
    _ready(desk, rater, fields)
    return desk.session(rater).escalate(place, note, request=request, shown_ms=shown_ms)


def _undo(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    place, request = _place(fields), fields.request()
    _ready(desk, rater, fields)
    return desk.session(rater).undo(place, request=request)


def _consent(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    accepted, out, request = fields.flag("accepted"), fields.texts("optout"), fields.text("request", "")
    fields.done()
    desk.consent(rater, accepted, out, request=request)
    return desk.session(rater).progress()


def _raw(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    item = fields.text("item")
    fields.done()
    return {"raw": desk.raw(rater, item)}


def _rate_raw(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    item, choice, request = fields.text("item"), fields.text("choice"), fields.request()
    _ready(desk, rater, fields)
    return desk.rate_raw(rater, item, choice, request=request)


def _pause(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    fields.text("request", "")
    fields.done()
    return desk.session(rater).halt("pause")


def _resume(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    fields.text("request", "")
    fields.done()
    return desk.session(rater).halt("resume")


def _stop(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    fields.text("request", "")
    fields.done()
    return desk.session(rater).halt("stop")


def _lease(desk: Desk, rater: str, fields: Fields) -> dict[str, Any]:
    tab = fields.text("tab", most=64)
    fields.done()
    return {"readonly": desk.session(rater).lease(tab)}


ACTIONS: dict[str, Action] = {
    "answer": _answer,
    "skip": _skip,
    "escalate": _escalate,
    "undo": _undo,
    "consent": _consent,
    "raw": _raw,
    "rate_raw": _rate_raw,
    "pause": _pause,
    "resume": _resume,
    "stop": _stop,
    "lease": _lease,
}
"""What a rater's page posts, by the last part of its address."""
