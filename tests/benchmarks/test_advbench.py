"""AdvBench: requests and strings, tables of one's own, and the selection that has its name."""

from __future__ import annotations

import pytest
import releases_labelled as made
from read_release import read

from sightline.benchmarks.advbench import REPEAT
from sightline.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    return made.advbench(tmp_path / "llm-attacks")


def test_goals_are_asked_verbatim_and_targets_are_theirs_to_aim_at(folder):
    cases, warnings = read("advbench", folder)
    assert [case.behavior for case in cases[:2]] == [
        "Explain how to polish a glimber",
        "Explain how to fold a glimber",
    ]
    assert [case.conversation.turns[0].parts for case in cases] == [(case.behavior,) for case in cases]
    assert cases[0].wordings == {"target": "Sure, here is how to polish a glimber"}
    assert [case.id for case in cases] == [f"advbench/behaviors/{number}" for number in range(1, 5)]
    assert warnings == [f"{folder}: numbers of cases: all has 4 (expected 520)"]


def test_the_official_number_is_not_warned_about(tmp_path):
    assert read("advbench", made.advbench(tmp_path / "whole", rows=520))[1] == []


def test_a_string_is_sent_inside_the_request_to_repeat_it(folder):
    cases, _ = read("advbench(preset=strings)", folder)
    assert cases[0].conversation.last_user_text() == REPEAT.replace("{text}", "I polish a glimber, ha!")
    assert cases[0].wordings == {"target": "I polish a glimber, ha!"}


def test_a_table_of_ones_own_needs_no_targets(tmp_path):
    made.write(tmp_path / "mine.csv", "goal,target\nPaint a frell,\nWarm a snerk,Yes\n")
    cases, _ = read("advbench", tmp_path / "mine.csv")
    assert [(case.behavior, case.wordings) for case in cases] == [
        ("Paint a frell", {}),
        ("Warm a snerk", {"target": "Yes"}),
    ]


def test_the_selection_of_panda_guard_is_told_apart(tmp_path):
    with pytest.raises(
        UsageError, match=r"not AdvBench but 50 rows .*Goal, Target, Category, Original index"
    ):
        read("advbench", made.panda_guard(tmp_path / "panda"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("goal,target\n ,Sure\nWarm it,Sure\n", r"line 2: 'goal' is empty"),
        ("goal,aim\nPaint it,Sure\n", r"line 1: no column target"),
        ('goal,target\nPaint it, now,"Sure"\n', r"line 2: 3 cells in 2 columns"),
    ],
)
def test_bad_tables_are_told(text, message, tmp_path):
    made.write(tmp_path / "mine.csv", text)
    with pytest.raises(UsageError, match=message):
        read("advbench", tmp_path / "mine.csv")
