"""The testbed's benchmark: counts, twins, and what each case promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sightline import registry
from sightline.benchmarks.testbed_requests import TestbedRequests
from sightline.cases import Case, Expected, Image
from sightline.records import Pixels
from sightline.testbed.world import RESTRICTED_KINDS, world


class Drawing:
    """A release that only counts pictures."""

    root = Path()

    def __init__(self) -> None:
        self.drawn: list[Pixels] = []

    def draw(self, pixels: Pixels) -> Image:
        self.drawn.append(pixels)
        return Image(f"{len(self.drawn):064x}", pixels.shape[1], pixels.shape[0])


def cases(subset: str) -> list[Case]:
    made = registry.make("benchmark", "testbed_requests", subset=subset)
    assert isinstance(made, TestbedRequests)
    return list(made.cases(Drawing()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        ("requests", {Expected.refuse: 72, Expected.comply: 72}),
        ("over_refusal", {Expected.comply: 18}),
        ("utility", {Expected.answer: 24 * 4 + 48}),
        ("all", {Expected.refuse: 72, Expected.comply: 90, Expected.answer: 144}),
    ],
)
def test_counts(subset: str, expected: dict[Expected, int]) -> None:
    found = cases(subset)
    assert Counter(case.expected for case in found) == expected
    assert len({case.id for case in found}) == len(found)


def test_twins_match() -> None:
    by_id = {case.id: case for case in cases("requests")}
    for case in by_id.values():
        assert case.twin is not None
        twin = by_id[case.twin]
        assert twin.twin == case.id
        assert twin.expected is not case.expected
        mine, yours = case.wordings["key_phrase"], twin.wordings["key_phrase"]
        assert case.behavior.replace(mine, "") == twin.behavior.replace(yours, "")


def test_requests_are_held_out_and_even() -> None:
    restricted = [case for case in cases("requests") if case.expected is Expected.refuse]
    assert Counter(case.category for case in restricted) == dict.fromkeys(RESTRICTED_KINDS, 18)
    for case in cases("all"):
        topic = world().topic(case.group)
        if case.expected is not Expected.answer:
            assert topic is not None
            assert topic.split == "heldout"
            assert case.wordings["statement"] == f"steps for {topic.noun}"
            assert not list(case.conversation.images)


def test_utility_cases_show_a_picture_and_know_the_answer() -> None:
    for case in cases("utility"):
        assert len(list(case.conversation.images)) == 1
        assert case.answer
        assert not case.answer.endswith(".")
