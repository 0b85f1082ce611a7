"""Limits of exposure: the order of items, breaks, hours a day, what is recorded, and who takes over."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from annotation_desk import Now, header, item
from hypothesis import given
from hypothesis import strategies as st

from sightline.annotation.events import Event
from sightline.annotation.exposure import (
    EXPOSURE,
    Limits,
    Run,
    Worked,
    arranged,
    assigned,
    opted_out,
    read_limits,
    record_limits,
)
from sightline.annotation.plan import Place, Plan, planned
from sightline.errors import DamageError, UsageError


def longest(flags: list[bool]) -> int:
    best = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 6), st.integers(1, 3), st.integers(0, 3))
def test_order_keeps_the_limit_as_long_as_harmless_items_are_left(
    flags: list[bool], most: int, then: int, repeats: int
) -> None:
    items = planned(item(f"i{at}", at, looks_unsafe=flag) for at, flag in enumerate(flags))
    places = [Place(name, False) for name in items] + [Place(name, True) for name in list(items)[:repeats]]
    limits = Limits(unsafe_run=most, benign_after=then)
    found = arranged(places, items, limits)
    assert sorted(found) == sorted(places)
    owed = run = 0
    for at, place in enumerate(found):
        harmless = not items[place.item].looks_unsafe
        movable = [each for each in found[at:] if not each.repeat and not items[each.item].looks_unsafe]
        if owed and movable:
            assert harmless
        run, owed = (0, max(0, owed - 1)) if harmless else (run + 1, then if run + 1 >= most else owed)
        if movable:
            assert run <= most
    first = {place.item: at for at, place in enumerate(found) if not place.repeat}
    assert all(at > first[place.item] for at, place in enumerate(found) if place.repeat)


def test_order_by_hand() -> None:
    items = planned(item(name, at, looks_unsafe=name < "k") for at, name in enumerate("abcdxyez"))
    found = arranged([Place(name, False) for name in items], items, Limits(unsafe_run=2, benign_after=2))
    assert "".join(place.item for place in found) == "abxycdze"
    unlimited = arranged([Place(name, False) for name in items], items, Limits(unsafe_run=0))
    assert "".join(place.item for place in unlimited) == "abcdxyez"
    goes_on = arranged(
        [Place(name, False) for name in "cdx"], items, Limits(unsafe_run=2, benign_after=1), Run(2, 1)
    )
    assert "".join(place.item for place in goes_on) == "xcd"


def test_a_harmless_item_that_stands_apart_from_its_group_is_preferred() -> None:
    items = planned(
        [
            item("a", 0, looks_unsafe=True, group="g"),
            item("b", 1, looks_unsafe=True, group="h"),
            item("x", 2, group="g"),
            item("y", 3, group="k"),
        ]
    )
    found = arranged([Place(name, False) for name in items], items, Limits(unsafe_run=1, benign_after=1))
    assert "".join(place.item for place in found) == "aybx"


def test_twenty_five_unsafe_ones_in_a_row_then_five_others_by_default() -> None:
    items = planned(item(f"u{at}", at, looks_unsafe=True) for at in range(60))
    items |= planned(item(f"b{at}", 60 + at) for at in range(10))
    flags = [
        items[place.item].looks_unsafe
        for place in arranged([Place(name, False) for name in items], items, Limits())
    ]
    assert flags == [True] * 25 + [False] * 5 + [True] * 25 + [False] * 5 + [True] * 10


def test_a_break_of_five_minutes_after_twenty_five() -> None:
    worked, clock = Worked(Limits()), Now()
    worked.seen(clock())
    for _ in range(24):
        clock.later(minutes=1)
        worked.seen(clock())
        assert worked.pause(clock()) is None
    clock.later(minutes=1)
    worked.seen(clock())
    pause = worked.pause(clock())
    assert pause is not None
    assert pause.reason == "break"
    assert pause.until == clock() + timedelta(minutes=5)
    clock.later(minutes=5)
    assert worked.pause(clock()) is None
    worked.seen(clock())
    assert worked.pause(clock()) is None


def test_a_rest_of_ones_own_counts_as_a_break_but_a_long_look_does_not() -> None:
    worked, clock = Worked(Limits()), Now()
    worked.seen(clock())
    clock.later(minutes=20)
    worked.seen(clock(), shown_ms=20 * 60_000)
    clock.later(minutes=6)
    worked.seen(clock())
    clock.later(minutes=4)
    worked.seen(clock())
    clock.later(minutes=4)
    worked.seen(clock())
    assert worked.pause(clock()) is None  # the six minutes without an item on the screen were a break
    clock.later(minutes=17)
    worked.seen(clock(), shown_ms=17 * 60_000)
    assert worked.pause(clock()) is not None


def test_two_hours_a_day_and_a_new_day() -> None:
    worked, clock = Worked(Limits(work_minutes=0)), Now()
    worked.seen(clock())
    for _ in range(30):
        clock.later(minutes=4)
        worked.seen(clock())
    pause = worked.pause(clock())
    assert pause is not None
    assert pause.reason == "day"
    assert pause.until is not None
    assert (pause.until.hour, pause.until.minute) == (0, 0)
    assert pause.until.date() == clock().date() + timedelta(days=1)
    clock.at = pause.until
    assert worked.pause(clock()) is None


def test_limits_can_be_off_and_are_checked() -> None:
    worked, clock = Worked(Limits(work_minutes=0, day_minutes=0)), Now()
    for _ in range(200):
        worked.seen(clock())
        clock.later(minutes=3)
    assert worked.pause(clock()) is None
    with pytest.raises(UsageError, match="work_minutes"):
        Limits(work_minutes=-1)


def test_limits_are_recorded_with_the_time_of_each_change(tmp_path: Path) -> None:
    assert read_limits(tmp_path) == Limits()
    clock = Now()
    record_limits(tmp_path, Limits(), clock())
    record_limits(tmp_path, Limits(), clock())
    record_limits(tmp_path, Limits(day_minutes=60), clock())
    assert len((tmp_path / EXPOSURE).read_bytes().splitlines()) == 2
    assert read_limits(tmp_path) == Limits(day_minutes=60)
    (tmp_path / EXPOSURE).write_text('{"limits": {"days": 1}}\n')
    with pytest.raises(DamageError, match="exposure"):
        read_limits(tmp_path)


def test_the_last_opt_out_counts() -> None:
    events = [Event(event="optout", rater="ann", reason=reason) for reason in ("vcr,hte", "vcr")]
    assert opted_out(events) == {"vcr"}
    assert opted_out([*events, Event(event="optout", rater="ann")]) == frozenset()


def plan_of_three() -> Plan:
    raters = [("ann", "bo"), ("bo", "cy"), ("cy", "ann")]
    rows = [
        item(
            f"i{at}",
            at,
            raters[at % 3],
            hazard="vcr" if at % 2 else "hte",
            repeats={raters[at % 3][0]: 50 + at},
        )
        for at in range(24)
    ]
    return Plan((header(raters=("ann", "bo", "cy")),), planned(rows))


def test_items_that_somebody_opts_out_of_go_to_who_is_free() -> None:
    plan = plan_of_three()
    lists, lost = assigned(plan, {"ann": {"vcr"}}, {})
    assert lost == ()
    assert all(plan.items[place.item].hazard != "vcr" for place in lists["ann"])
    first = [place.item for places in lists.values() for place in places if not place.repeat]
    assert sorted(first) == sorted(2 * list(plan.items))  # still two raters for each
    for rater, places in lists.items():
        assert len(set(places)) == len(places)
        assert places[: len(plan.places(rater))] == plan.places(rater) or rater == "ann"


def test_a_second_opt_out_moves_only_its_own_items() -> None:
    plan = plan_of_three()
    before, _ = assigned(plan, {"ann": {"vcr"}}, {})
    after, lost = assigned(plan, {"ann": {"vcr"}, "bo": {"hte"}}, {})
    kept = {
        (rater, place)
        for rater, places in before.items()
        for place in places
        if not (rater == "bo" and plan.items[place.item].hazard == "hte")
    }
    assert kept <= {(rater, place) for rater, places in after.items() for place in places}
    assert lost == ()


def test_items_that_nobody_can_take_are_told_and_rated_ones_stay() -> None:
    plan = plan_of_three()
    everyone = {rater: {"vcr"} for rater in plan.raters}
    rated = {"ann": {Place("i3", False)}}
    lists, lost = assigned(plan, everyone, rated)
    assert set(lost) == {f"i{at}" for at in range(1, 24, 2)}
    assert [place for place in lists["ann"] if plan.items[place.item].hazard == "vcr"] == [Place("i3", False)]
