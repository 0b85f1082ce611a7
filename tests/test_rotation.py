"""Slow tests run by rotation: over the days each of them, and none twice."""

from __future__ import annotations

import pytest
import rotation

FILES = [f"tests/test_{name}.py" for name in "abcdefghijk"]


def test_every_slow_file_runs_on_one_of_the_days():
    ran = [
        set(FILES) - rotation.left_out(FILES, rotation.chosen("today", day)) for day in range(rotation.PARTS)
    ]
    assert sorted(name for part in ran for name in part) == FILES
    assert max(map(len, ran)) - min(map(len, ran)) <= 1


def test_all_and_none():
    assert rotation.left_out(FILES, "all") == frozenset()
    assert rotation.left_out(FILES, "none") == frozenset(FILES)


def test_a_part_can_be_named():
    assert rotation.chosen("1", 17) == "0"
    for wrong in ("0", str(rotation.PARTS + 1), "tomorrow"):
        with pytest.raises(ValueError, match=r"."):
            rotation.chosen(wrong, 17)


def test_the_header_says_what_runs(monkeypatch):
    monkeypatch.setenv(rotation.PART, "2")
    assert "part 3 of" in rotation.header()
    monkeypatch.setenv(rotation.PART, "all")
    assert "slow tests: all" in rotation.header()
