"""`plan.jsonl`: read as it was written, and refused where it was not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.annotation.plan import PLAN, Header, Place, Plan, Planned, planned, read_plan, write_plan
from sightline.errors import DamageError, UsageError

names = st.text(min_size=1, max_size=6)
places = st.dictionaries(st.sampled_from(("ann", "bo")), st.integers(0, 99))


def header(phase: int) -> Header:
    return Header(
        phase=phase,
        run="r",
        seed=3,
        n=2,
        strata=("attack",),
        raters=("ann", "bo"),
        guideline="g",
        questions="q",
    )


items = st.lists(
    st.builds(
        Planned,
        item=names,
        prob=st.floats(0, 1),
        kind=st.sampled_from(("sample", "gold")),
        samples=st.lists(names, max_size=3).map(tuple),
        order=places,
        repeats=places,
        truth=names,
        benchmark=names,
        case=names,
        looks_unsafe=st.booleans(),
        phase=st.integers(1, 2),
    ),
    unique_by=lambda each: each.item,
    max_size=6,
)


@given(items)
def test_a_plan_is_read_as_it_was_written(found: list[Planned]) -> None:
    plan = Plan((header(1), header(2)), planned(sorted(found, key=lambda each: each.phase)))
    with tempfile.TemporaryDirectory() as folder:
        write_plan(Path(folder), plan)
        assert read_plan(Path(folder)) == plan


def test_places_are_in_order_and_repeats_among_them() -> None:
    two = [
        Planned(item="a", order={"ann": 1, "bo": 0}, repeats={"ann": 2}),
        Planned(item="b", order={"ann": 0}),
    ]
    plan = Plan((header(1),), planned(two))
    assert plan.places("ann") == [Place("b", False), Place("a", False), Place("a", True)]
    assert plan.places("bo") == [Place("a", False)]
    with pytest.raises(UsageError, match="no rater 'cy'; it has ann, bo"):
        plan.places("cy")


def test_damage_names_the_line(tmp_path: Path) -> None:
    write_plan(tmp_path, Plan((header(1),), planned([Planned(item="a"), Planned(item="b")])))
    lines = (tmp_path / PLAN).read_bytes().splitlines(keepends=True)
    for broken in (lines[1][:-20], lines[1].replace(b'"a"', b'"z"'), b"\xff\n"):
        (tmp_path / PLAN).write_bytes(lines[0] + broken + lines[2])
        with pytest.raises(DamageError, match="line 2 is damaged"):
            read_plan(tmp_path)
    (tmp_path / PLAN).write_bytes(b"".join(lines[1:]))
    with pytest.raises(DamageError, match="first line is no header"):
        read_plan(tmp_path)
    (tmp_path / PLAN).write_bytes(b"")
    with pytest.raises(DamageError, match="is empty"):
        read_plan(tmp_path)
