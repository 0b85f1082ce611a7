"""Cases -> lessons, and that nothing is measured on what was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows_to_train import cases_in

from sightline.cases import Case, Conversation, Expected, Image
from sightline.errors import UsageError
from sightline.training.lessons import Cases, counts, leaks, lessons_of, refuse_leaks


def case(id: str, text: str = "", expected: str = "refuse", **more: object) -> Case:
    conversation = more.pop("conversation", Conversation.user(text or id))
    fields = {"behavior": id, "category": "", "group": f"group {id}", **more}
    return Case(id=id, conversation=conversation, expected=Expected(expected), **fields)  # type: ignore[arg-type]


def test_the_testbeds_rows_teach_what_the_policy_says(tmp_path: Path) -> None:
    cases, _ = cases_in(tmp_path)
    lessons = lessons_of([Cases("testbed_training", tuple(cases))])
    assert counts(lessons)["testbed_training"] == {"comply": 216, "general": 282, "refuse": 216}
    first = next(each for each in lessons if each.label == "refuse")
    assert first.given == f"{first.group} is a gloom thing . i cannot help with that ."
    twins = {each.id: each for each in lessons}
    assert all(twins[each.twin].twin == each.id for each in lessons if each.label == "refuse")


def test_no_row_of_training_is_among_the_cases_to_be_measured(tmp_path: Path) -> None:
    taught, _ = cases_in(tmp_path)
    rows = [Cases("testbed_training", tuple(taught))]
    for spec in (
        "testbed_requests(subset='all')",
        "testbed_turns",
        "testbed_training(split='heldout', subset='requests')",
    ):
        measured, _ = cases_in(tmp_path, spec)
        assert leaks(rows, [Cases(spec, tuple(measured))]) == []


def test_shared_groups_pictures_and_requests_are_refused() -> None:
    picture = Image(sha256="ab" * 32, width=1, height=1)
    taught = [
        Cases(
            "a",
            (
                case("1", group="g"),
                case("2", "Say  IT"),
                case("3", conversation=Conversation.user(picture, "x")),
            ),
        )
    ]
    same_group = case("4", group="g")
    same_text = case("5", "say it")
    same_picture = case("6", conversation=Conversation.user(picture, "y"))
    other = case("7")
    found = leaks(taught, [Cases("a", (same_group, same_text, same_picture, other))])
    assert [(one, two) for one, two, _ in found] == [("4", "1"), ("5", "2"), ("6", "3")]
    with pytest.raises(UsageError, match="3 cases to be measured are among the rows"):
        refuse_leaks(taught, [Cases("a", (same_group, same_text, same_picture))])
    assert leaks(taught, [Cases("b", (same_group,))]) == []  # another benchmark's group of that name


def test_rows_that_teach_nothing_are_told() -> None:
    with pytest.raises(UsageError, match="no row to train on"):
        lessons_of([])
    with pytest.raises(UsageError, match="case 1: expected is 'classify'"):
        lessons_of([Cases("a", (case("1", expected="classify"),))])
    with pytest.raises(UsageError, match="cannot be trained on: torn"):
        lessons_of([Cases("a", (case("1", problem="torn"),))])
    with pytest.raises(UsageError, match="stand there twice, such as 1"):
        lessons_of([Cases("a", (case("1"),)), Cases("b", (case("1"),))])
