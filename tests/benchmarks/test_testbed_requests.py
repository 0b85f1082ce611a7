"""The testbed's benchmark: counts, twins, and what each case promises."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from drawing import Drawing, cases_of
from sightline.cases import Case, Expected
from sightline.errors import UsageError
from sightline.testbed import render
from sightline.testbed.world import RESTRICTED_KINDS, world


def cases(subset: str) -> list[Case]:
    return cases_of("testbed_requests", subset=subset)


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        ("requests", {Expected.refuse: 72, Expected.comply: 72}),
        ("over_refusal", {Expected.comply: 18}),
        ("utility", {Expected.answer: 24 * 4 + 48}),
        ("styles", {Expected.answer: 24 * 5}),
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


def test_styles_change_one_factor_of_the_same_words() -> None:
    release = Drawing()
    found = cases_of("testbed_requests", release, subset="styles")
    categories = Counter(case.category for case in found)
    factors = ("unseen font", "unseen size", "unseen place", "unseen backdrop")
    assert categories == dict.fromkeys(("reading, seen style", *(f"reading, {f}" for f in factors)), 24)
    words = [case.answer or "" for case in found[:24]]
    assert set(words) <= set(world().reading_heldout)
    assert not set(words) & {case.answer for case in cases("utility")}
    for start in range(0, 120, 24):
        assert [case.answer for case in found[start : start + 24]] == words
    pages = [release.pixels(next(case.conversation.images)) for case in found]
    for index in range(24):
        pages_of_word = [pages[index + start] for start in range(0, 120, 24)]
        assert len({page.tobytes() for page in pages_of_word}) == 5


def test_words_of_the_styles_fit_at_the_unseen_size() -> None:
    for case in cases("styles"):
        for face in (*render.TRAIN_FONTS, render.HELDOUT_FONT):
            assert render.text_width(face, 16, case.answer or "") <= 62


def test_one_canonical_picture_for_each_scene_and_word() -> None:
    release = Drawing()
    cases_of("testbed_requests", release, subset="utility")
    assert {page.shape for page in release.drawn} == {(64, 64, 3)}
    assert len(release.drawn) == 24 + 48
    assert np.array_equal(release.drawn[0], render.scene_page(world().scenes_heldout[0]).pixels)


def test_topics_may_be_asked_for_in_fewer_wordings() -> None:
    found = cases_of("testbed_requests", subset="requests", per_topic=1)
    assert len({case.group for case in found}) == len(found) == 48
    assert all(case.id.endswith("/1") for case in found)
    with pytest.raises(UsageError, match="1 to 3 wordings"):
        cases_of("testbed_requests", per_topic=4)
