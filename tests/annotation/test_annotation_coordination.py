"""The coordinator's page: what waits for a ruling, blind to who said what, and rulings that last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotation_desk import desk, make, reader
from starlette.testclient import TestClient

from sightline.annotation.adjudication import ADJUDICATION
from sightline.annotation.coordination import coordination
from sightline.annotation.desk import Desk
from sightline.annotation.events import read_events
from sightline.annotation.plan import FOLDER, Place
from sightline.annotation.security import Door
from sightline.annotation.server import application
from sightline.store import Blobs

HOST = "127.0.0.1:40123"
POST = {"X-Sightline": "token", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Desk]:
    make(tmp_path / FOLDER, 4)
    found = desk(tmp_path / FOLDER, read=reader(Blobs(tmp_path / "blobs")))
    said = {"ann": ("refused", "partial", "refused"), "bo": ("refused", "complied", "off_topic")}
    for rater, choices in said.items():
        found.consent(rater, True, [])
        for number, choice in enumerate(choices):
            request, note = f"request-{number}", f"{choice} it is" if number == 1 else ""
            found.session(rater).answer(
                Place(f"i{number}", False), {"outcome": choice}, request=request, note=note
            )
    yield found
    found.close()


@pytest.fixture
def coordinator(served: Desk, tmp_path: Path) -> TestClient:
    door = Door(served.secret, served.sessions)
    more = coordination(tmp_path, served, lambda run: {"labelled": 3, "run": run.name == tmp_path.name})
    browser = TestClient(
        application(served, door, HOST, pages={}, coordination=more), base_url=f"http://{HOST}"
    )
    browser.post("/api/enter", json={"token": served.secret.token("coordinator")}, headers=POST)
    return browser


def queue(browser: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.get("/api/queue").json()["items"]
    return found


def test_numbers_hold_no_content(coordinator: TestClient) -> None:
    found = coordinator.get("/api/coordinator").json()
    assert found["serving"] == {"ann": {"done": 3, "total": 4}, "bo": {"done": 3, "total": 4}}
    assert (found["labelled"], found["run"], found["unassigned"]) == (3, True, 0)
    assert "glimber" not in str(found).lower()


def test_disputes_are_shown_whole_without_names(coordinator: TestClient) -> None:
    found = queue(coordinator)
    assert [each["item"] for each in found] == ["i1", "i2"]
    first = found[0]
    assert (first["why"], sorted(first["labels"])) == ("differ", ["complied", "partial"])
    assert sorted(first["notes"]) == ["complied it is", "partial it is"]
    assert first["reply"] == "Press both edges of i1."
    assert "ann" not in str(first)
    assert coordinator.get(f"/picture/{first['request'][0]['pictures'][0]}").status_code == 200


def test_a_ruling_is_final_once_and_on_disk(coordinator: TestClient, tmp_path: Path) -> None:
    body = {"request": "ruling-00", "item": "i1", "outcome": "partial", "note": "half of it"}
    first = coordinator.post("/api/adjudicate", json=body, headers=POST).json()
    assert (
        first
        == coordinator.post("/api/adjudicate", json=body, headers=POST).json()
        == {"saved": True, "seq": 1}
    )
    assert [each["item"] for each in queue(coordinator)] == ["i2"]
    events = list(read_events(tmp_path / FOLDER / ADJUDICATION))
    assert [(each.item, each.questions["outcome"], each.note) for each in events] == [
        ("i1", "partial", "half of it")
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"item": "i9"},
        {"item": "i0"},  # both say the same
        {"item": "i3"},  # nobody has answered
        {"outcome": "maybe"},
        {"note": "x" * 4001},
        {"who": "me"},
    ],
)
def test_rulings_on_nothing_are_refused(
    coordinator: TestClient, tmp_path: Path, changes: dict[str, str]
) -> None:
    body = {"request": "ruling-00", "item": "i1", "outcome": "partial", **changes}
    found = coordinator.post("/api/adjudicate", json=body, headers=POST)
    assert found.status_code == 400
    assert found.json()["error"]
    assert not (tmp_path / FOLDER / ADJUDICATION).exists()
