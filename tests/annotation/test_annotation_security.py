"""Each attack of the list: other sites' pages, other names, forged sessions, guesses, odd bodies."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotation_desk import desk, item, make, png, reader
from PIL import Image as PilImage
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from sightline.annotation.desk import Desk
from sightline.annotation.events import events_path
from sightline.annotation.pictures import BLURRED_PX, MOST_PX, Pictures, encoded
from sightline.annotation.refusals import RefusedError
from sightline.annotation.security import HEADERS, MOST_BODY, SESSION_S, Door
from sightline.annotation.server import ACTIONS, Coordination, application
from sightline.errors import UsageError
from sightline.store import Blobs

HOST = "127.0.0.1:40123"
POST = {"X-Sightline": "token", "Sec-Fetch-Site": "same-origin"}
ANSWER = {"request": "request-1", "item": "i0", "questions": {"outcome": "refused"}}
PAGES = {
    "index.html": b"<!doctype html>",
    "coordinator.html": b"<!doctype html>",
    "rater.js": b"1",
    "style.css": b"a{}",
}
COORDINATION = Coordination(lambda: {"alpha": 0.5}, lambda: [], lambda *given: {"saved": given[1]})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Desk]:
    rows = [item("i0", 0), item("i1", 1, ("bo",)), item("i2", 2, ("ann",)), item("i3", 3)]
    make(tmp_path / "annotation", rows)
    found = desk(tmp_path / "annotation", read=reader(Blobs(tmp_path / "blobs"), raw="Bare."))
    found.consent("ann", True, [])
    found.consent("bo", True, [])
    yield found
    found.close()


@pytest.fixture
def browser(served: Desk) -> TestClient:
    return client(served)


def client(served: Desk, door: Door | None = None) -> TestClient:
    made = door or Door(served.secret, served.sessions)
    app = application(served, made, HOST, pages=PAGES, coordination=COORDINATION)
    return TestClient(app, base_url=f"http://{HOST}")


def enter(browser: TestClient, token: str) -> Any:
    return browser.post("/api/enter", json={"token": token}, headers=POST)


def as_rater(browser: TestClient, served: Desk, rater: str = "ann") -> str:
    found = enter(browser, served.secret.token("rater", rater))
    assert found.status_code == 200
    return str(found.json()["xt"])


def log(served: Desk, rater: str = "ann") -> str:
    return events_path(served._folder, rater).read_text()


# Headers

WHERE = [
    ("GET", "/", 200),
    ("GET", "/coordinator", 200),
    ("GET", "/site/rater.js", 200),
    ("GET", "/site/no.js", 404),
    ("GET", "/none", 404),
    ("GET", "/api/state", 401),
    ("GET", "/api/next", 401),
    ("GET", "/api/coordinator", 401),
    ("GET", "/api/queue", 401),
    ("GET", "/picture/x.png", 401),
    ("GET", "/api/answer", 405),
    ("PUT", "/api/answer", 405),
    ("DELETE", "/", 405),
    ("OPTIONS", "/api/enter", 405),
    ("POST", "/", 400),
    ("POST", "/api/answer", 403),
]


@pytest.mark.parametrize(("method", "path", "status"), WHERE)
def test_every_response_has_the_headers_also_refusals(
    browser: TestClient, method: str, path: str, status: int
) -> None:
    found = browser.request(method, path)
    assert found.status_code == status
    for name, value in HEADERS.items():
        assert found.headers.get_list(name) == [value]
    assert "access-control-allow-origin" not in found.headers
    assert "server" not in found.headers
    if status >= 400:
        assert list(found.json()) == ["error"]


def test_the_policy_lets_nothing_in_but_our_own_files() -> None:
    policy = HEADERS["Content-Security-Policy"]
    for part in (
        "default-src 'none'",
        "img-src 'self' blob:",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ):
        assert part in policy.split("; ")
    assert "unsafe" not in policy
    assert HEADERS["Cache-Control"] == "no-store"
    assert HEADERS["Referrer-Policy"] == "no-referrer"
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
    assert HEADERS["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_failure_inside_tells_nothing_and_has_the_headers(
    served: Desk, browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_rater(browser, served)

    def fails(*_: object) -> None:
        raise UsageError("/home/coordinator/secret/records is lost")

    monkeypatch.setattr(served, "next", fails)
    found = browser.get("/api/next")
    assert found.status_code == 500
    assert "secret" not in found.text
    assert found.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    monkeypatch.setattr(served, "next", lambda *_: 1 / 0)
    found = browser.get("/api/next")
    assert (found.status_code, "Zero" in found.text, "Trace" in found.text) == (500, False, False)


# Other sites' pages, other names


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:40123", "127.0.0.1", "127.0.0.1:1", "localhost:40123", ""]
)
def test_another_name_in_host_is_refused(browser: TestClient, host: str) -> None:
    """A site whose name was made to point to this machine (DNS rebinding) is still called by its own name."""
    for path in ("/", "/api/state", "/site/rater.js"):
        found = browser.get(path, headers={"Host": host})
        assert found.status_code == 403
        assert "address that was printed" in found.json()["error"]


def test_two_hosts_are_refused(browser: TestClient) -> None:
    headers = [("Host", HOST), ("Host", "evil.example")]
    assert browser.get("/", headers=headers).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"X-Sightline": "", "Sec-Fetch-Site": "same-origin"},
        {"X-Sightline": "token"},
        {"X-Sightline": "token", "Sec-Fetch-Site": "cross-site"},
        {"X-Sightline": "token", "Sec-Fetch-Site": "same-site"},
        {"X-Sightline": "token", "Sec-Fetch-Site": "none"},
        {**POST, "Origin": "https://evil.example"},
        {**POST, "Origin": "null"},
        {**POST, "Origin": "http://127.0.0.1:40124"},
        {**POST, "X-Sightline": "other"},
    ],
)
def test_a_post_of_another_page_is_refused_and_leaves_nothing(
    served: Desk, browser: TestClient, headers: dict[str, str]
) -> None:
    as_rater(browser, served)
    before = log(served)
    found = browser.post("/api/answer", json=ANSWER, headers=headers)
    assert found.status_code == 403
    assert log(served) == before
    assert browser.post("/api/answer", json=ANSWER, headers=POST).status_code == 200


def test_every_post_wants_the_headers_and_a_session(served: Desk, browser: TestClient) -> None:
    for name in (*ACTIONS, "enter", "adjudicate"):
        assert browser.post(f"/api/{name}", json={}).status_code == 403
        if name != "enter":
            assert browser.post(f"/api/{name}", json={}, headers=POST).status_code == 401


def test_a_form_of_another_site_is_refused_by_its_type(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        found = browser.post(
            "/api/answer", content=json.dumps(ANSWER), headers={**POST, "Content-Type": kind}
        )
        assert found.status_code == 400


def test_data_are_not_read_from_another_site(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    name = browser.get("/api/next").json()["items"][0]["request"][0]["pictures"][0]
    for path in ("/api/state", "/api/next", f"/picture/{name}"):
        for site in ("cross-site", "same-site"):
            assert browser.get(path, headers={"Sec-Fetch-Site": site}).status_code == 403
        assert browser.get(path, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert browser.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link to the page


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(served: Desk, browser: TestClient) -> None:
    cookie = enter(browser, served.secret.token("rater", "ann")).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "domain" not in cookie
    assert "secure" not in cookie
    tls = application(served, Door(served.secret, served.sessions, tls=True), HOST, pages=PAGES, tls=True)
    secure = TestClient(tls, base_url=f"https://{HOST}")
    assert "secure" in enter(secure, served.secret.token("rater", "ann")).headers["set-cookie"].lower()


# Roles, sessions, tokens


def test_a_rater_has_no_way_to_the_coordinators_pages(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    assert browser.get("/api/coordinator").status_code == 403
    assert browser.get("/api/queue").status_code == 403
    body = {"request": "request-9", "item": "i0", "outcome": "refused"}
    assert browser.post("/api/adjudicate", json=body, headers=POST).status_code == 403
    value = next(iter(browser.cookies.jar)).value
    forged = next(iter(browser.cookies.jar)).name.replace("rater", "coordinator")
    forged_client = client(served)
    forged_client.cookies.set(forged, str(value))
    name = Door(served.secret, served.sessions)._names["coordinator"]
    forged_client.cookies.set(name, str(value))
    assert forged_client.get("/api/coordinator").status_code == 401


def test_the_coordinator_is_no_rater(served: Desk, browser: TestClient) -> None:
    found = enter(browser, served.secret.token("coordinator"))
    assert found.json()["role"] == "coordinator"
    assert browser.get("/api/coordinator").json()["alpha"] == 0.5
    assert browser.get("/api/queue").json() == {"items": []}
    assert browser.get("/api/next").status_code == 403
    assert browser.post("/api/answer", json=ANSWER, headers=POST).status_code == 403
    body = {"request": "request-9", "item": "i0", "outcome": "refused"}
    assert browser.post("/api/adjudicate", json=body, headers=POST).json() == {"saved": "i0"}


def test_nothing_of_the_plan_the_strata_or_other_raters_is_served(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    for path in (
        "/plan.jsonl",
        "/annotation/plan.jsonl",
        "/site/plan.jsonl",
        "/api/plan",
        "/answers/bo.jsonl",
        "/coordinator.key",
        "/site/index.html",
        "/site/plain.html.j2",
    ):
        assert browser.get(path).status_code == 404
    seen = browser.get("/api/state").text + browser.get("/api/next?n=8").text
    for word in ("bo", "stratum", "group", "prob", "samples", "truth", "looks_unsafe", "attack"):
        assert f'"{word}"' not in seen


@pytest.mark.parametrize("token", ["", "x", "é" * 43, "0" * 43, "A" * 200])
def test_a_wrong_token_is_refused(served: Desk, browser: TestClient, token: str) -> None:
    found = enter(browser, token)
    assert found.status_code == 403
    assert "set-cookie" not in found.headers


def test_a_token_of_another_annotation_or_rater_is_not_taken(served: Desk, tmp_path: Path) -> None:
    from sightline.annotation.secret import open_secret

    other = open_secret(tmp_path / "other")
    assert enter(client(served), other.token("rater", "ann")).status_code == 403
    alone = client(served, Door(served.secret, ["ann"]))
    assert enter(alone, served.secret.token("rater", "bo")).status_code == 403


def test_guessing_tokens_is_stopped(served: Desk) -> None:
    at = [1000.0]
    door = Door(served.secret, served.sessions, clock=lambda: at[0])
    browser = client(served, door)
    signed_in = client(served, door)
    as_rater(signed_in, served)
    statuses = [enter(browser, f"guess {number}").status_code for number in range(15)]
    assert statuses == [403] * 10 + [429] * 5
    assert enter(browser, served.secret.token("rater", "ann")).status_code == 429  # nothing is compared now
    assert signed_in.get("/api/state").status_code == 200  # who is in stays in
    at[0] += 61
    assert enter(browser, served.secret.token("rater", "ann")).status_code == 200


def test_all_tokens_are_compared_in_constant_time(served: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[bytes] = []
    original = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: (compared.append(a), original(a, b))[1])
    door = Door(served.secret, served.sessions)
    for token in (served.secret.token("coordinator"), served.secret.token("rater", "bo")):
        compared.clear()
        door.enter(token, "")
        assert len(compared) == 3


def test_sessions_hold_over_a_restart_end_after_a_day_and_cannot_be_forged(served: Desk) -> None:
    at = [1000.0]
    browser = client(served, Door(served.secret, served.sessions, clock=lambda: at[0]))
    as_rater(browser, served)
    cookie = next(iter(browser.cookies.jar))

    def status(value: str, later: float = 0.0) -> int:
        fresh = client(served, Door(served.secret, served.sessions, clock=lambda: at[0] + later))
        fresh.cookies.set(cookie.name, value)
        return int(fresh.get("/api/state").status_code)

    value = str(cookie.value)
    assert status(value) == 200
    assert status(value, SESSION_S + 1) == 401
    signed, mac = value.split(".")
    for forged in (
        signed,
        f"{signed}.",
        f".{mac}",
        f"{signed}.{mac[:-1]}",
        f"{signed}x.{mac}",
        "%00.%00",
        "." * 900,
        "x" * 5000,
        f"{signed[:-1]}.{mac}",
        f"{signed}.{'0' * 32}",
    ):
        assert status(forged) == 401


def test_a_page_of_another_session_in_the_same_browser_is_refused(served: Desk, browser: TestClient) -> None:
    first = as_rater(browser, served, "ann")
    second = as_rater(browser, served, "bo")
    assert first != second
    mine = {**POST, "X-Sightline": first}
    found = browser.post("/api/answer", json=ANSWER, headers=mine)
    assert found.status_code == 403
    assert "another person" in found.json()["error"]
    assert "i0" not in log(served, "bo")
    assert (
        browser.post("/api/answer", json=ANSWER, headers={**POST, "X-Sightline": second}).status_code == 200
    )


# Bodies


def test_a_body_of_more_than_64_kb_is_refused_with_and_without_a_length(
    served: Desk, browser: TestClient
) -> None:
    as_rater(browser, served)
    headers = {**POST, "Content-Type": "application/json"}
    large = json.dumps({**ANSWER, "note": "x" * MOST_BODY}).encode()
    assert browser.post("/api/answer", content=large, headers=headers).status_code == 413

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    assert browser.post("/api/answer", content=pieces(), headers=headers).status_code == 413
    for length in ("-1", "1e9", "9" * 30, "٣"):
        sent = [*headers.items(), ("Content-Length", length.encode())]
        assert browser.post("/api/answer", content=b"{}", headers=sent).status_code in (400, 413)
    assert '"answer"' not in log(served)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"null",
        b'"x"',
        b"\xff\xfe{}",
        b'{"item":"\xff"}',
        b'{"item":"\\ud800"}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"questions":{"a":{"b":{"c":1}}}}',
        b'{"item":NaN}',
        b'{"item":"i0"}{}',
        b"\x00",
        b'{"item":1e999}',
    ],
)
def test_a_body_that_is_no_flat_object_is_refused(served: Desk, browser: TestClient, body: bytes) -> None:
    as_rater(browser, served)
    headers = {**POST, "Content-Type": "application/json"}
    for action in ("answer", "consent", "lease"):
        assert browser.post(f"/api/{action}", content=body, headers=headers).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"request": "short"},
        {"request": 5},
        {"request": "with\nline"},
        {"request": None},
        {"item": ["i0"]},
        {"repeat": 0},
        {"questions": []},
        {"questions": {"outcome": 1}},
        {"questions": {"outcome": "x" * 300}},
        {"confidence": 4},
        {"confidence": True},
        {"confidence": -1},
        {"note": "x" * 4001},
        {"note": 3},
        {"shown_ms": 1.5},
        {"shown_ms": -1},
        {"shown_ms": 10**12},
        {"rater": "bo"},
        {"seq": 1},
        {"event": "undo"},
    ],
)
def test_fields_of_other_types_ranges_and_names_are_refused(
    served: Desk, browser: TestClient, changes: dict[str, object]
) -> None:
    as_rater(browser, served)
    before = log(served)
    found = browser.post("/api/answer", json={**ANSWER, **changes}, headers=POST)
    assert found.status_code == 400
    assert log(served) == before


def test_what_a_rater_writes_stays_one_row(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    note = 'x"}\n{"v":1,"event":"answer","item":"i2"}\r\n\u2028\x00'
    before = log(served).count("\n")
    assert browser.post("/api/answer", json={**ANSWER, "note": note}, headers=POST).status_code == 200
    rows = log(served).split("\n")
    assert len(rows) - 1 == before + 1
    assert json.loads(rows[-2])["note"] == note


def test_a_request_id_is_used_once(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    first = browser.post("/api/answer", json=ANSWER, headers=POST).json()
    again = browser.post("/api/answer", json=ANSWER, headers=POST).json()
    assert first == again
    other = {**ANSWER, "questions": {"outcome": "complied"}}
    assert browser.post("/api/answer", json=other, headers=POST).status_code == 409
    assert (
        browser.post("/api/undo", json={"request": "request-1", "item": "i0"}, headers=POST).status_code
        == 409
    )
    as_rater(browser, served, "bo")
    assert (
        browser.post("/api/answer", json=ANSWER, headers=POST).json()["seq"] == 2
    )  # ids are one rater's own
    assert log(served).count('"answer"') == log(served, "bo").count('"answer"') == 1


def test_items_of_another_rater_are_unknown(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    found = browser.post("/api/answer", json={**ANSWER, "item": "i1"}, headers=POST)
    unknown = browser.post("/api/answer", json={**ANSWER, "item": "i9"}, headers=POST)
    assert (found.status_code, found.text) == (unknown.status_code, unknown.text) == (404, found.text)
    assert browser.post("/api/raw", json={"item": "i1"}, headers=POST).status_code == 403


@pytest.mark.parametrize("query", ["n=-1", "n=1e3", "n=٣", "n=99999", "n=x", "n="])
def test_odd_numbers_of_items_are_refused(served: Desk, browser: TestClient, query: str) -> None:
    as_rater(browser, served)
    assert browser.get(f"/api/next?{query}").status_code == 400
    assert len(browser.get("/api/next?n=999").json()["items"]) <= 8


# Paths and pictures


@pytest.mark.parametrize(
    "path",
    [
        "/site/../plan.jsonl",
        "/site/%2e%2e%2fplan.jsonl",
        "/site/..%5cplan.jsonl",
        "/site/%00",
        "/site//etc/passwd",
        "/picture/../coordinator.key",
        "/picture/%2e%2e%2f%2e%2e%2fcoordinator.key",
        "/picture/..%2f..%2fplan.jsonl",
        "/picture/%2fetc%2fpasswd",
        "//etc/passwd",
        "/site/rater.js/../../plan.jsonl",
        "/site/rater.js%00.png",
    ],
)
def test_no_path_leads_out(served: Desk, browser: TestClient, path: str) -> None:
    as_rater(browser, served)
    found = browser.get(path)
    assert found.status_code == 404
    assert list(found.json()) == ["error"]


def test_an_address_of_more_than_two_thousand_characters_is_refused(browser: TestClient) -> None:
    assert browser.get("/site/" + "a" * 3000).status_code == 400
    assert browser.get("/?" + "a" * 3000).status_code == 400


def picture_of(browser: TestClient, number: int = 0) -> str:
    return str(browser.get("/api/next?n=8").json()["items"][number]["request"][0]["pictures"][0])


def test_pictures_have_names_that_only_their_rater_can_use(
    served: Desk, browser: TestClient, tmp_path: Path
) -> None:
    as_rater(browser, served)
    mine = picture_of(browser)
    shas = [each.name for each in (tmp_path / "blobs").rglob("*") if each.is_file()]
    assert len(mine) == 36
    assert all(sha[:16] not in mine for sha in shas)
    other = client(served)
    as_rater(other, served, "bo")
    assert picture_of(other) != mine
    assert other.get(f"/picture/{mine}").status_code == 404
    assert browser.get(f"/picture/{mine}").status_code == 200
    for guessed in (
        f"{shas[0]}",
        f"{shas[0]}.png",
        "0" * 32 + ".png",
        mine.removesuffix(".png"),
        mine.upper(),
    ):
        assert browser.get(f"/picture/{guessed}").status_code == 404


def test_pictures_of_items_that_were_not_shown_yet_are_not_served(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    sha = served.content("i1").request[0].pictures[0]  # an item of bo's
    assert browser.get(f"/picture/{served.secret.name('picture', 'ann', sha)}.png").status_code == 404


def test_an_open_page_gets_its_pictures_after_a_restart(served: Desk, tmp_path: Path) -> None:
    browser = client(served)
    as_rater(browser, served)
    name = picture_of(browser)
    served.close()
    again = desk(tmp_path / "annotation", read=reader(Blobs(tmp_path / "blobs")))
    fresh = client(again)
    for cookie in browser.cookies.jar:
        fresh.cookies.set(cookie.name, str(cookie.value))
    assert fresh.get(f"/picture/{name}").status_code == 200
    again.close()


def test_pictures_are_encoded_anew_gray_and_blurred_on_demand(
    served: Desk, browser: TestClient, tmp_path: Path
) -> None:
    as_rater(browser, served)
    name = picture_of(browser)
    gray, colored, blurred = (browser.get(f"/picture/{name}{how}") for how in ("", "?c=1", "?b=1"))
    assert gray.headers["content-type"] == "image/png"
    assert PilImage.open(io.BytesIO(gray.content)).mode == "L"
    assert PilImage.open(io.BytesIO(colored.content)).mode == "RGB"
    assert max(PilImage.open(io.BytesIO(blurred.content)).size) == BLURRED_PX
    files = {each.read_bytes() for each in (tmp_path / "blobs").rglob("*") if each.is_file()}
    assert not files & {gray.content, colored.content, blurred.content}


def test_nothing_of_a_file_but_its_pixels_is_served() -> None:
    notes = PngInfo()
    notes.add_text("Comment", "made-by-attack-figstep")
    buffer = io.BytesIO()
    PilImage.open(io.BytesIO(png())).save(buffer, format="PNG", pnginfo=notes)
    data = buffer.getvalue() + b"<script>trailing</script>"
    assert b"figstep" in data
    found = encoded(data, color=True)
    assert b"figstep" not in found
    assert b"script" not in found
    kinds = set()
    at = 8
    while at < len(found):
        length, kind = struct.unpack(">I4s", found[at : at + 8])
        kinds.add(kind)
        at += 12 + length
    assert kinds == {b"IHDR", b"IDAT", b"IEND"}


def test_a_blurred_picture_holds_no_more_than_a_few_pixels() -> None:
    """Two pictures that differ in all details but not in their large areas look alike when blurred."""

    def pattern(seed: int) -> bytes:
        return png(seed, (600, 400))

    first, second = (PilImage.open(io.BytesIO(encoded(pattern(seed), blurred=True))) for seed in (1, 2))
    sharp = [PilImage.open(io.BytesIO(encoded(pattern(seed)))) for seed in (1, 2)]

    def apart(one: PilImage.Image, two: PilImage.Image) -> int:
        return max(abs(a - b) for a, b in zip(one.tobytes(), two.tobytes(), strict=True))

    assert apart(first, second) < 12 < 200 < apart(*sharp)


def test_large_pictures_are_made_smaller() -> None:
    buffer = io.BytesIO()
    PilImage.new("L", (MOST_PX + 1000, 40), 200).save(buffer, format="PNG")
    assert PilImage.open(io.BytesIO(encoded(buffer.getvalue()))).size[0] == MOST_PX


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it holds a great many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data",
    [
        bomb(100_000, 100_000),
        bomb(2**31 - 1, 1),
        b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        b"<html>",
        b"",
        png()[:200],
        b"%PDF-1.4",
        b"GIF89a" + b"\xff" * 40,
        b"\x89PNG\r\n\x1a\n" + b"\0" * 60,
    ],
    ids=range(9),
)
def test_hostile_files_never_reach_the_browser(tmp_path: Path, data: bytes) -> None:
    from sightline.digests import sha256_bytes

    with pytest.raises(UsageError):
        encoded(data)
    blobs = Blobs(tmp_path)
    sha = sha256_bytes(data)
    blobs.path(sha).parent.mkdir()
    blobs.path(sha).write_bytes(data)
    for wanted in (sha, "0" * 64):
        with pytest.raises(RefusedError, match="cannot be shown") as refused:
            Pictures(tmp_path).png(wanted, color=False, blurred=False)
        assert refused.value.status == 404
        assert str(tmp_path) not in str(refused.value)


def test_there_is_no_way_to_upload(served: Desk, browser: TestClient) -> None:
    as_rater(browser, served)
    for path in ("/picture/x.png", "/site/rater.js", "/upload", "/"):
        for method in ("POST", "PUT", "PATCH"):
            found = browser.request(method, path, headers=POST, files={"file": ("x.png", png(), "image/png")})
            assert found.status_code in (400, 404, 405)


def test_websockets_are_closed(served: Desk, browser: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/api/next"):
        pass
