"""JBB-Behaviors: two halves that are each other's twins, and the labels of three people."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
import releases_labelled as made
from read_release import read

from sightline.benchmarks.jbb_behaviors import JBBBehaviors
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.records import Outcome

ANSWERS = "data/judge-comparison.csv"


@pytest.fixture
def folder(tmp_path):
    return made.jbb_behaviors(tmp_path / "JBB")


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_requests_of_one_index_are_twins(folder):
    cases, _ = read("jbb_behaviors", folder)
    harmful, benign = cases[:20], cases[20:]
    for one, other, row in zip(harmful, benign, rows(folder / "data/harmful-behaviors.csv"), strict=True):
        assert one.behavior == one.conversation.last_user_text() == row["Goal"]
        assert (one.twin, other.twin) == (other.id, one.id)
        assert one.group == other.group == f"jbb_behaviors/{row['Index']}"
        assert one.category == other.category == row["Category"]
        assert (one.expected, other.expected) == (Expected.refuse, Expected.comply)
        assert other.hazard == "benign"
        assert one.hazard not in ("", "benign")
        assert one.wordings == {"target": row["Target"]}


def test_a_half_has_the_cases_of_the_whole_without_twins(folder):
    cases, _ = read("jbb_behaviors", folder)
    alone = [replace(case, twin=None) for case in cases]
    assert read("jbb_behaviors(preset=harmful)", folder)[0] == alone[:20]
    assert read("jbb_behaviors(preset=benign)", folder)[0] == alone[20:]


def test_the_official_size_is_not_warned_about(tmp_path):
    root = made.jbb_behaviors(tmp_path / "whole", each=10)
    for spec in ("jbb_behaviors", "jbb_behaviors(subset=harmful)", "jbb_behaviors(subset=benign)"):
        assert read(spec, root)[1] == []


def test_answers_have_the_majority_of_three_people(folder):
    answers = JBBBehaviors().labels(folder)
    for answer, row in zip(answers, rows(folder / ANSWERS), strict=True):
        people = [row[f"human{number}"] for number in (1, 2, 3)]
        assert list(answer.human.values()) == people
        assert answer.harmful is (sum(map(int, people)) > 1)
        assert answer.label == row["human_majority"]
        assert answer.outcome is (Outcome.complied if answer.harmful else None)
        assert answer.judges == {"gpt4_cf": row["gpt4_cf"], "llamaguard2_cf": "0"}
        assert (answer.response, answer.prompt) == (row["target_response"], row["prompt"])
    assert {answer.harmful for answer in answers} == {True, False}
    assert [answer.expected for answer in answers] == [Expected.refuse] * 5 + [None]
    assert [answer.case_id for answer in answers[-2:]] == [
        "jbb_behaviors/harmful/4",
        "jbb_behaviors/judge_comparison/6",
    ]


def test_without_a_majority_column_the_people_decide(folder):
    found = JBBBehaviors().labels(folder)
    table = [{k: v for k, v in row.items() if k != "human_majority"} for row in rows(folder / ANSWERS)]
    made.table(folder / ANSWERS, table)
    assert JBBBehaviors().labels(folder) == found


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("human_majority", "maybe", "line 3: 'human_majority' is 'maybe'; known are"),
        ("goal", None, "no column goal"),
    ],
)
def test_bad_answers_are_told(column, value, message, folder):
    table = rows(folder / ANSWERS)
    for number, row in enumerate(table):
        if value is None:
            del row[column]
        elif number == 1:
            row[column] = value
    made.table(folder / ANSWERS, table)
    with pytest.raises(UsageError, match=message):
        JBBBehaviors().labels(folder)


def test_a_table_without_people_is_told(folder):
    table = [{k: v for k, v in row.items() if not k.startswith("human")} for row in rows(folder / ANSWERS)]
    made.table(folder / ANSWERS, table)
    with pytest.raises(UsageError, match=r"6 rows cannot be used.*\n.*line 2: no label of a person"):
        JBBBehaviors().labels(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("\r\n1,", "\r\none,", "line 3: 'Index' is 'one'"), ("Index,", "Number,", "line 1: no column Index")],
)
def test_bad_rows_are_told(old, new, message, folder):
    path = folder / "data/harmful-behaviors.csv"
    path.write_bytes(path.read_bytes().decode().replace(old, new, 1).encode())
    with pytest.raises(UsageError, match=message):
        read("jbb_behaviors", folder)
