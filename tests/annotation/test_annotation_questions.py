"""What raters are asked and how to decide: the shipped questions and guideline, and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline import taxonomy
from sightline.annotation.guideline import CARE, care_of, guideline_digest, shipped_guideline, write_guideline
from sightline.annotation.questions import (
    GUIDELINE,
    QUESTIONS,
    chosen_questions,
    outcome_of,
    questions_digest,
    read_questions,
    shipped,
    write_questions,
)
from sightline.errors import UsageError
from sightline.records import Outcome

ASKED = {
    "outcome": {
        "refused": "refused",
        "partial": "partial",
        "complied": "complied",
        "off_topic": "off_topic",
        "cannot_decide": "unparsed",
    },
    "harm": {
        "none": "refused",
        "borderline": "off_topic",
        "unsafe": "complied",
        "severely_unsafe": "complied",
    },
    "relevance": {"yes": "", "no": ""},
    "safety": {"yes": "", "no": ""},
    "persuasiveness": {"yes": "", "no": ""},
    "natural": {"yes": "", "no": ""},
    "helpful": {"yes": "", "no": ""},
    "recognition": {"correct": "", "wrong": "", "not_given": ""},
    "abstention": {"abstained": "refused", "answered": "complied"},
    "taxonomy": {each.code: "" for each in taxonomy.hazards().values() if not each.is_tag},
}


def test_the_questions_are_those_of_the_survey_with_these_meanings() -> None:
    found = {each.id: {one.name: one.outcome for one in each.choices} for each in shipped().values()}
    assert found == ASKED


def test_keys_are_one_character_and_codes_are_searched_for() -> None:
    for each in shipped().values():
        keys = [one.key for one in each.choices]
        assert keys == [""] * len(keys) if each.id == "taxonomy" else all(len(key) == 1 for key in keys)


def test_a_set_is_asked_whole() -> None:
    assert list(chosen_questions(["dress"])) == ["relevance", "safety", "persuasiveness"]
    assert list(chosen_questions(["natural_helpful", "outcome"])) == ["natural", "helpful", "outcome"]
    with pytest.raises(UsageError, match="natural_helpful"):
        chosen_questions(["natural_helpfull"])
    with pytest.raises(UsageError, match="at least one question"):
        chosen_questions([])


@pytest.mark.parametrize("name", [*ASKED, "dress"])
def test_questions_are_read_as_they_were_written(tmp_path: Path, name: str) -> None:
    told = write_questions(tmp_path, [name, "outcome"])
    assert read_questions(tmp_path) == chosen_questions([name, "outcome"])
    assert questions_digest(read_questions(tmp_path).values()) == told


def test_a_changed_word_is_another_digest(tmp_path: Path) -> None:
    told = write_questions(tmp_path)
    path = tmp_path / QUESTIONS
    path.write_text(path.read_text("utf-8").replace("Declines it", "Declines"), "utf-8")
    assert questions_digest(read_questions(tmp_path).values()) != told


def test_the_first_question_with_an_outcome_counts() -> None:
    asked = chosen_questions(["dress", "outcome", "harm"])
    assert outcome_of({"safety": "no", "harm": "unsafe", "outcome": "partial"}, asked) is Outcome.partial
    assert outcome_of({"safety": "no", "harm": "unsafe"}, asked) is Outcome.complied
    assert outcome_of({"safety": "no"}, asked) is None


@pytest.mark.parametrize(
    "text",
    [
        "- {id: a}",
        "- 3",
        "{a: b}",
        "- {id: a, text: t, choices: []}",
        "- {id: a, text: t, choices: [{name: x, key: '1', text: x}, {name: y, key: '1', text: y}]}",
        "- {id: a, text: t, choices: [{name: x, key: '1', text: x, outcome: maybe}]}",
    ],
)
def test_a_file_that_is_no_list_of_questions_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / QUESTIONS).write_text(text, "utf-8")
    with pytest.raises(UsageError, match=QUESTIONS):
        read_questions(tmp_path)


def test_the_guideline_is_copied_and_says_how_to_take_care(tmp_path: Path) -> None:
    told = write_guideline(tmp_path)
    text = (tmp_path / GUIDELINE).read_text("utf-8")
    assert told == guideline_digest(text) == guideline_digest(shipped_guideline())
    care = care_of(text)
    assert "Esc Esc" in care
    assert "##" not in care
    examples = text.split("## Ten worked examples")[1].split("##")[0]
    assert examples.count('| "') == 10
    for name in ("refused", "partial", "complied", "off topic"):
        assert f"| {name} |" in examples


def test_an_own_guideline_needs_the_part_about_care(tmp_path: Path) -> None:
    own = tmp_path / "own.md"
    own.write_text("# Ours\n\nLabel well.\n", "utf-8")
    with pytest.raises(UsageError, match=r"own\.md: has no part '## Before you start'"):
        write_guideline(tmp_path, own)
    own.write_text(f"# Ours\n\n{CARE}\n\nCall 12.\n", "utf-8")
    assert write_guideline(tmp_path, own) == guideline_digest(own.read_text("utf-8"))
    assert care_of(own.read_text("utf-8")) == "Call 12."
