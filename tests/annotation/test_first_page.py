"""The coordinator's first page: what the server has read is not read again, and nothing is missed."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotation_desk import desk, make, reader

from sightline.annotation import ballots
from sightline.annotation.ballots import AnnotationFiles, read_annotation
from sightline.annotation.plan import FOLDER, Place
from sightline.annotation.progress import progress


def test_what_the_desk_has_read_is_taken_over_and_then_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / FOLDER
    make(folder, 6)
    for number in range(2):  # the server is started twice
        served = desk(folder, read=reader())
        for rater in ("ann", "bo"):
            served.consent(rater, True, [])
            place = Place(f"i{number}", False)
            served.session(rater).answer(place, {"outcome": "refused"}, request=f"before-{number}")
        if number == 0:
            served.close()
    files = AnnotationFiles(folder)
    files.know(served.plan, served.questions, served.read_so_far())
    served.session("ann").answer(Place("i2", False), {"outcome": "partial"}, request="later-000")
    served.session("ann").undo(Place("i0", False), request="later-001")
    wanted = read_annotation(folder)
    monkeypatch.setattr(ballots, "read_plan", lambda _: pytest.fail("the plan was read again"))
    found = files.read()
    assert found == wanted
    assert {key[0] for key in found.said["ann"].last} == {"i1", "i2"}
    assert progress(tmp_path, found=found, draws=100) == progress(tmp_path, found=wanted, draws=100)
    served.close()


def test_of_one_rater_who_is_served_the_others_are_read_from_their_files(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    make(folder, 3)
    served = desk(folder, read=reader())
    served.consent("bo", True, [])
    served.session("bo").answer(Place("i0", False), {"outcome": "refused"}, request="before-0")
    served.close()
    alone = desk(folder, read=reader(), raters=("ann",))
    files = AnnotationFiles(folder)
    files.know(alone.plan, alone.questions, alone.read_so_far())
    assert files.read() == read_annotation(folder)
    assert set(files.read().said["bo"].last) == {("i0", False)}
    alone.close()
