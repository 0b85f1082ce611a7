"""A rater at work: what comes next, undo, pauses, consent, tabs, and all of it again after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from annotation_desk import NO_LIMITS, Now, desk, item, make, reader

from sightline.annotation.desk import Desk
from sightline.annotation.events import answers_of, events_path, read_events
from sightline.annotation.exposure import Limits
from sightline.annotation.plan import Place
from sightline.annotation.refusals import RefusedError
from sightline.annotation.session import RaterSession


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Desk]:
    make(tmp_path / "annotation")
    found = desk(tmp_path / "annotation")
    found.consent("ann", True, [])
    yield found
    found.close()


def rate(
    session: RaterSession, name: str, choice: str = "refused", *, repeat: bool = False
) -> dict[str, object]:
    request = f"{name}-{choice}-{repeat}-request"
    return session.answer(Place(name, repeat), {"outcome": choice}, request=request)


def names(found: Desk, rater: str = "ann", most: int = 8, after: str = "") -> list[str]:
    return [each["item"] for each in found.next(rater, most, after)["items"]]


def test_items_come_in_order_once_and_behind_the_last_one_held(served: Desk) -> None:
    assert names(served, most=3) == ["i0", "i1", "i2"]
    assert names(served, most=3, after="i2") == ["i3", "i4", "i5"]
    rate(served.session("ann"), "i0")
    assert names(served, most=2, after="i0") == ["i1", "i2"]
    for name in ("i1", "i2", "i3", "i4"):
        rate(served.session("ann"), name)
    assert not served.next("ann", 4)["finished"]
    assert rate(served.session("ann"), "i5")["done"] == 6
    assert served.next("ann", 4) == {"items": [], "pause": None, "finished": True}


def test_nothing_is_shown_or_saved_before_consent(tmp_path: Path) -> None:
    make(tmp_path / "annotation")
    found = desk(tmp_path / "annotation")
    try:
        assert found.next("ann", 4) == {
            "items": [],
            "pause": {"reason": "consent", "until": None},
            "finished": False,
        }
        with pytest.raises(RefusedError, match="first page"):
            rate(found.session("ann"), "i0")
        found.consent("ann", False, [])
        assert names(found) == []
        found.consent("ann", True, [])
        assert names(found, most=1) == ["i0"]
    finally:
        found.close()


def test_what_is_shown_tells_nothing_of_where_it_came_from(served: Desk) -> None:
    shown = served.next("ann", 1)["items"][0]
    assert set(shown) == {
        "item", "repeat", "place", "behavior", "request", "reply", "thought", "language",
    }  # fmt: skip
    assert set(served.state("ann")["questions"][0]) == {"id", "text", "choices"}
    assert all(
        set(each) == {"name", "key", "text"} for each in served.state("ann")["questions"][0]["choices"]
    )


def test_undo_brings_an_item_back_first_and_only_the_last_ten(tmp_path: Path) -> None:
    make(tmp_path / "annotation", 14)
    found = desk(tmp_path / "annotation")
    try:
        found.consent("ann", True, [])
        session = found.session("ann")
        for number in range(12):
            rate(session, f"i{number}")
        with pytest.raises(RefusedError, match="last 10"):
            session.undo(Place("i1", False), request="undo-i1-00")
        assert session.undo(Place("i2", False), request="undo-i2-00")["done"] == 11
        assert session.undo(Place("i2", False), request="undo-i2-00")["done"] == 11  # sent again
        assert names(found, most=2) == ["i2", "i12"]
        assert ("i2", False) not in answers_of(tmp_path / "annotation", "ann")
        rate(session, "i2", "complied")
        assert answers_of(tmp_path / "annotation", "ann")["i2", False].questions == {"outcome": "complied"}
        assert names(found, most=1) == ["i12"]
    finally:
        found.close()


def test_a_late_repetition_of_an_answer_does_not_undo_the_undo(served: Desk) -> None:
    session = served.session("ann")
    rate(session, "i0")
    session.undo(Place("i0", False), request="undo-i0-00")
    rate(session, "i0")  # the same request id as before
    assert names(served, most=1) == ["i0"]
    assert session.progress()["done"] == 0


@pytest.mark.parametrize(
    ("questions", "why"),
    [
        ({}, "has no answer"),
        ({"outcome": "maybe"}, "unknown choice"),
        ({"outcome": "refused", "mood": "good"}, "no question"),
    ],
)
def test_answers_that_the_questions_do_not_know_are_refused(
    served: Desk, questions: dict[str, str], why: str
) -> None:
    with pytest.raises(RefusedError, match=why) as refused:
        served.session("ann").answer(Place("i0", False), questions, request="request-1")
    assert refused.value.status == 400


def test_items_of_others_second_showings_that_are_none_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "annotation", [item("i0", 0), item("i1", 1, ("bo",)), item("i2", 2)])
    found = desk(tmp_path / "annotation")
    try:
        found.consent("ann", True, [])
        for name, repeat in (("i1", False), ("i0", True), ("i9", False)):
            with pytest.raises(RefusedError, match="no such item") as refused:
                rate(found.session("ann"), name, repeat=repeat)
            assert refused.value.status == 404
        with pytest.raises(RefusedError, match="skipped for one of"):
            found.session("ann").skip(Place("i0", False), "bored", request="request-1")
    finally:
        found.close()


def test_skips_and_escalations_are_done_too(served: Desk) -> None:
    session = served.session("ann")
    session.skip(Place("i0", False), "distress", request="request-1")
    assert session.escalate(Place("i1", False), "odd", request="request-2")["done"] == 2
    assert names(served, most=1) == ["i2"]


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    folder, clock = tmp_path / "annotation", Now()
    make(folder, [item(f"i{at}", at, repeats={"ann": 9} if at == 0 else {}) for at in range(6)])
    first = desk(folder, clock=clock)
    first.consent("ann", True, [])
    session = first.session("ann")
    rate(session, "i0")
    session.skip(Place("i1", False), "unclear", request="request-1")
    rate(session, "i2")
    session.undo(Place("i0", False), request="request-2")
    clock.later(days=1)
    rate(session, "i3")
    session.halt("pause")
    before = first.state("ann")
    first.close()
    second = desk(folder, clock=clock)
    assert second.state("ann") == before
    assert (before["done"], before["today"], before["total"]) == (3, 1, 7)
    assert names(second) == []
    second.session("ann").halt("resume")
    shown = second.next("ann", 8)["items"]
    assert [(each["item"], each["repeat"]) for each in shown] == [
        ("i0", False), ("i4", False), ("i5", False), ("i0", True),
    ]  # fmt: skip
    second.close()


def test_during_a_break_nothing_new_is_shown_but_what_was_rated_is_saved(tmp_path: Path) -> None:
    folder, clock = tmp_path / "annotation", Now()
    make(folder, 40)
    found = desk(folder, clock=clock, limits=Limits())
    found.consent("ann", True, [])
    for number in range(27):
        rate(found.session("ann"), f"i{number}")
        clock.later(minutes=1)
    following = found.next("ann", 4)
    assert following["items"] == []
    assert following["pause"]["reason"] == "break"
    assert rate(found.session("ann"), "i27")["saved"]
    assert found.session("ann").halt("resume")["pause"]["reason"] == "break"
    clock.later(minutes=5)
    assert names(found, most=1) == ["i28"]
    found.close()


def test_where_no_harmless_item_is_left_a_break_comes_instead(tmp_path: Path) -> None:
    folder, clock = tmp_path / "annotation", Now()
    make(folder, [item(f"i{at}", at, looks_unsafe=True) for at in range(6)])
    found = desk(folder, clock=clock, limits=Limits(unsafe_run=3))
    found.consent("ann", True, [])
    for number in range(3):
        assert names(found, most=1) == [f"i{number}"]
        rate(found.session("ann"), f"i{number}")
    assert found.next("ann", 1)["pause"]["reason"] == "break"
    found.close()
    found = desk(folder, clock=clock, limits=Limits(unsafe_run=3))
    assert found.next("ann", 1)["pause"]["reason"] == "break"
    clock.later(minutes=5)
    assert names(found, most=1) == ["i3"]
    found.close()


def test_who_stopped_goes_on_when_they_open_the_page_again(served: Desk) -> None:
    session = served.session("ann")
    assert session.halt("stop")["pause"] == {"reason": "stopped", "until": None}
    assert session.halt("stop")["pause"] == {"reason": "stopped", "until": None}
    assert names(served) == []
    session.entered()
    assert names(served, most=1) == ["i0"]
    kinds = [each.event for each in read_events(events_path(served._folder, "ann"))]
    assert kinds == ["consent", "stop", "resume"]


def test_an_opt_out_moves_items_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "annotation"
    raters = ("ann", "bo", "cy")
    make(folder, [item("i0", 0, hazard="vcr"), item("i1", 1)], raters=raters)
    found = desk(folder)
    for rater in raters:
        found.consent(rater, True, [])
    assert names(found, "cy") == []
    rate(found.session("bo"), "i0")
    found.consent("ann", True, ["vcr"])
    assert (names(found), names(found, "cy")) == (["i1"], ["i0"])
    assert rate(found.session("cy"), "i0")["done"] == 1
    with pytest.raises(RefusedError, match="no category"):
        found.consent("ann", True, ["xyz"])
    found.consent("cy", True, ["vcr"])
    assert found.unassigned == ()  # cy has rated it already
    found.close()
    again = desk(folder, raters=["ann"])
    assert names(again) == ["i1"]
    assert again.state("ann")["consent"]["categories"] == [
        {"code": "vcr", "name": "Violent Crimes", "out": True}
    ]
    again.close()


def test_a_second_tab_may_only_read_until_the_first_one_is_silent(tmp_path: Path) -> None:
    clock = Now()
    make(tmp_path / "annotation")
    found = desk(tmp_path / "annotation", clock=clock, limits=NO_LIMITS)
    session = found.session("ann")
    assert not session.lease("one")
    clock.later(seconds=30)
    assert session.lease("two")
    assert not session.lease("one")
    clock.later(seconds=30)
    assert session.lease("two")
    with pytest.raises(RefusedError, match="another tab"):
        session.refuse_other_tab("two")
    session.refuse_other_tab("")
    clock.later(seconds=16)
    assert not session.lease("two")
    assert session.lease("one")
    assert [each.reason for each in read_events(events_path(tmp_path / "annotation", "ann"))] == [
        "one",
        "two",
    ]
    found.close()


def test_what_an_output_guard_replaced_is_shown_after_the_answer(tmp_path: Path) -> None:
    make(tmp_path / "annotation")
    found = desk(tmp_path / "annotation", read=reader(raw="Before the guard."))
    found.consent("ann", True, [])
    with pytest.raises(RefusedError, match="after the answer"):
        found.raw("ann", "i0")
    rate(found.session("ann"), "i0")
    assert found.raw("ann", "i0") == "Before the guard."
    found.close()
