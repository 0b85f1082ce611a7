"""What stood there before a guard changed a reply: asked apart, after the answer, and never mixed with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from annotation_desk import desk, make, reader
from starlette.testclient import TestClient

from sightline.annotation.ballots import AnnotationFiles, ballots, read_annotation
from sightline.annotation.desk import Desk
from sightline.annotation.plan import FOLDER, Place
from sightline.annotation.progress import progress, progress_lines
from sightline.annotation.questions import chosen_questions, raw_question
from sightline.annotation.refusals import RefusedError
from sightline.annotation.security import Door
from sightline.annotation.server import application

HOST = "127.0.0.1:40123"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Desk]:
    make(tmp_path / FOLDER, 3)
    found = desk(tmp_path / FOLDER, read=reader(raw="Press both edges, then fold."))
    found.consent("ann", True, [])
    yield found
    found.close()


def said(served: Desk, item: str, outcome: str) -> None:
    served.session("ann").answer(Place(item, False), {"outcome": outcome}, request=f"answer-{item}")


def test_it_is_kept_apart_from_the_answer(served: Desk, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    said(served, "i0", "refused")
    said(served, "i1", "refused")
    before = ballots(read_annotation(folder))
    served.rate_raw("ann", "i0", "complied", request="raw-0001")
    served.rate_raw("ann", "i1", "partial", request="raw-0002")
    served.rate_raw("ann", "i1", "refused", request="raw-0003")  # the last one counts
    again = served.rate_raw("ann", "i1", "refused", request="raw-0003")
    assert again["saved"]
    found = read_annotation(folder)
    assert found == AnnotationFiles(folder).read()
    assert ballots(found) == before
    numbers = progress(tmp_path, found=found, draws=100)
    assert numbers["raw"] == {"rated": 2, "unsafe": 1, "shown_unsafe": 0}
    told = "2 answers about replies before a guard changed them: 1 unsafe then, 0 as shown"
    assert told in list(progress_lines(numbers))
    assert served.session("ann").progress()["done"] == 2
    lines = (folder / "answers" / "ann.jsonl").read_text().splitlines()
    assert sum('"event":"raw"' in line for line in lines) == 3
    served.close()
    later = desk(folder, read=reader(raw="x"))  # a server that starts anew takes it as it is
    assert later.session("ann").progress()["done"] == 2
    later.close()


def test_it_is_asked_after_the_answer_alone(served: Desk) -> None:
    with pytest.raises(RefusedError, match="after the answer"):
        served.rate_raw("ann", "i0", "complied", request="raw-0001")
    said(served, "i0", "refused")
    with pytest.raises(RefusedError, match="maybe"):
        served.rate_raw("ann", "i0", "maybe", request="raw-0001")


def test_nothing_is_asked_of_a_reply_that_was_not_changed(tmp_path: Path) -> None:
    make(tmp_path / FOLDER, 1)
    found = desk(tmp_path / FOLDER, read=reader())
    found.consent("ann", True, [])
    said(found, "i0", "refused")
    with pytest.raises(RefusedError, match="nothing more"):
        found.rate_raw("ann", "i0", "complied", request="raw-0001")
    assert progress(tmp_path, draws=100)["raw"]["rated"] == 0
    found.close()


def test_the_page_posts_it(served: Desk) -> None:
    said(served, "i0", "refused")
    door = Door(served.secret, served.sessions)
    browser = TestClient(application(served, door, HOST, pages={}), base_url=f"http://{HOST}")
    post = {"X-Sightline": "token", "Sec-Fetch-Site": "same-origin"}
    xt = browser.post("/api/enter", json={"token": served.secret.token("rater", "ann")}, headers=post).json()[
        "xt"
    ]
    assert browser.get("/api/state").json()["raw_question"] == "outcome"
    body = {"item": "i0", "choice": "complied", "request": "raw-00001", "tab": ""}
    headers = post | {"X-Sightline": xt}
    assert browser.post("/api/rate_raw", json=body, headers=headers).json()["saved"]
    assert browser.post("/api/rate_raw", json=body | {"item": "i1"}, headers=headers).status_code == 403


def test_the_question_is_the_first_one_with_outcomes() -> None:
    found = raw_question(chosen_questions(["natural_helpful", "harm", "outcome"]))
    assert found is not None
    assert found.id == "harm"
    assert raw_question(chosen_questions(["recognition"])) is None
