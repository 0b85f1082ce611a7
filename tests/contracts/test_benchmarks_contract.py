"""Every shipped benchmark that needs no release keeps the contract: whole, stable, consistent cases."""

from __future__ import annotations

from collections import Counter

import pytest
from shipped import shipped

from drawing import Drawing, every_subset
from sightline import registry
from sightline.bridge.tasks import DEFAULT_JUDGE
from sightline.cases import Case, Expected
from sightline.plain import case_of, plain_case

OURS = [name for name in shipped("benchmark") if not registry.card("benchmark", name).factory.needs_root]
TO_TRAIN = ("testbed/training/", "smol/train/")
"""Cases to train on: requests are drawn already, and what has no answer keeps the model's own."""
SPECS = [spec for name in OURS for spec in every_subset(name)]


def read(spec: str) -> list[Case]:
    return list(registry.parse("benchmark", spec).cases(Drawing()))


@pytest.fixture(scope="module", params=SPECS)
def cases(request: pytest.FixtureRequest) -> list[Case]:
    return read(request.param)


def test_ids_are_unique_and_fields_filled(cases: list[Case]) -> None:
    assert cases
    assert max(Counter(case.id for case in cases).values()) == 1
    for case in cases:
        assert case.behavior.strip()
        assert case.category
        assert case.group
        assert case.conversation.turns[-1].role == "user"
        if not case.id.startswith(TO_TRAIN):
            assert case.conversation.last_user_text() == case.behavior
        assert all(image.problem is None for image in case.conversation.images)


def test_what_is_to_be_answered_or_classified_has_an_answer_and_no_request_has_one(cases: list[Case]) -> None:
    for case in cases:
        asked = case.expected in (Expected.answer, Expected.classify)
        if asked and case.id.startswith(TO_TRAIN):
            continue
        assert bool(case.answer) is asked


def test_requests_name_a_twin_of_the_other_expectation(cases: list[Case]) -> None:
    by_id = {case.id: case for case in cases}
    for case in cases:
        if case.expected is Expected.refuse:
            assert case.twin is not None
            twin = by_id[case.twin]
            assert twin.expected is Expected.comply
            assert twin.twin is not None
            assert by_id[twin.twin].twin == twin.id


def test_plain_forms_read_back(cases: list[Case]) -> None:
    assert [case_of(plain_case(case)) for case in cases] == cases


@pytest.mark.parametrize("name", OURS)
def test_cases_repeat_pixel_by_pixel(name: str) -> None:
    one, two = Drawing(), Drawing()
    made = registry.make("benchmark", name)
    assert list(made.cases(one)) == list(made.cases(two))
    assert [p.tobytes() for p in one.drawn] == [p.tobytes() for p in two.drawn]


@pytest.mark.parametrize("name", shipped("benchmark"))
def test_the_judge_that_a_card_names_exists(name: str) -> None:
    judge = registry.card("benchmark", name).judge
    own = "smol_policy" if name.startswith("smol_") else ""
    assert judge == ("testbed_policy" if name.startswith("testbed_") else own)
    assert registry.make("judge", judge or DEFAULT_JUDGE).id


@pytest.mark.parametrize("spec", SPECS)
def test_specs_read_back(spec: str) -> None:
    made = registry.parse("benchmark", spec)
    assert registry.parse("benchmark", registry.spec(made)) == made
