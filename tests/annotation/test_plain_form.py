"""The plain form as requests: what it refuses, and that a session's forms are its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotation_pages import served


@pytest.fixture
def site(tmp_path: Path) -> Any:
    with served(tmp_path, 4, pictures=False) as found:
        yield found


def entered(site: Any, rater: str = "ann", *, consent: bool = True) -> httpx.Client:
    client = httpx.Client(base_url=site.origin, follow_redirects=True)
    page = client.post("/plain/enter", data={"token": site.desk.secret.token("rater", rater)})
    assert page.status_code == 200
    if consent:
        client.post("/plain", data={**hidden(page.text), "do": "consent"})
    return client


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="(csrf|request|item|repeat)" value="([^"]*)"', page))


def test_an_answer_and_the_same_form_again(site: Any) -> None:
    client = entered(site)
    form = {
        **hidden(client.get("/plain").text),
        "do": "answer",
        "q.outcome": "partial",
        "confidence": "3",
        "note": "n",
    }
    assert client.post("/plain", data=form).status_code == 200
    client.post("/plain", data=form)
    found = [each for each in site.events() if each.event == "answer"]
    assert [(each.item, each.confidence, each.note) for each in found] == [("i0", 3, "n")]


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"csrf": "0" * 32}, 403, "another session"),
        ({"csrf": "é"}, 403, "another session"),
        ({"request": "short"}, 400, "id of its own"),
        ({"item": "i9"}, 404, "no such item"),
        ({"q.outcome": "splendid"}, 400, "splendid"),
        ({"q.other": "refused"}, 400, "no question"),
        ({"do": "burn"}, 400, "what to do"),
        ({"do": "skip", "reason": "bored"}, 400, "skipped for one of"),
    ],
)
def test_what_is_refused_is_said_on_the_page(
    site: Any, changes: dict[str, str], status: int, why: str
) -> None:
    client = entered(site)
    form = {**hidden(client.get("/plain").text), "do": "answer", "q.outcome": "partial"}
    page = client.post("/plain", data={**form, **changes})
    assert (page.status_code, why in page.text) == (status, True)
    assert "content-security-policy" in page.headers
    assert site.answers() == []


def test_forms_of_another_rater_are_refused(site: Any) -> None:
    ann, bo = entered(site), entered(site, "bo")
    form = {**hidden(ann.get("/plain").text), "do": "answer", "q.outcome": "partial"}
    assert bo.post("/plain", data=form).status_code == 403
    assert site.answers("bo") == []


def test_who_has_not_entered_or_is_no_rater_sees_nothing(site: Any) -> None:
    client = httpx.Client(base_url=site.origin)
    assert client.get("/plain").headers["location"] == "/plain/enter"
    assert client.post("/plain", data={"do": "answer"}).headers["location"] == "/plain/enter"
    page = client.post("/plain/enter", data={"token": site.desk.secret.token("coordinator")})
    assert page.status_code == 403
    assert "set-cookie" not in page.headers
    foreign = client.post("/plain/enter", data={"token": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403


def test_consent_comes_first_and_subjects_can_be_left_out(site: Any) -> None:
    client = entered(site, consent=False)
    page = client.get("/plain").text
    assert "glimber" not in page
    page = client.post("/plain", data={**hidden(page), "do": "decline"}).text
    assert "glimber" not in page
    page = client.post("/plain", data={**hidden(page), "do": "consent", "out.nothing": "1"})
    assert (page.status_code, "no category" in page.text) == (400, True)


def test_another_tab_that_writes_is_named(site: Any) -> None:
    client = entered(site)
    form = {**hidden(client.get("/plain").text), "do": "answer", "q.outcome": "partial"}
    session = site.desk.session("ann")
    session._tab, session._tab_until = "other", session._clock().timestamp() + 60
    assert client.get("/plain").status_code == 409
    assert client.post("/plain", data=form).status_code == 409
    assert site.answers() == []
