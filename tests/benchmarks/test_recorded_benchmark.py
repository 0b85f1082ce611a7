"""The benchmark `recorded`: the cases that a table of responses answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_files import GOALS, plain_rows, write_csv

from sightline import registry
from sightline.errors import UsageError
from sightline.release import NoImages, OfficialRelease
from sightline.responses.files import Wanted
from sightline.responses.reading import read_responses


def test_it_has_no_cases_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="comes with `responses:`"):
        list(registry.make("benchmark", "recorded").cases(OfficialRelease(tmp_path, NoImages())))


def test_the_release_is_what_the_files_hold(tmp_path: Path) -> None:
    digests = []
    for goal in (GOALS[0], "another"):
        write_csv(tmp_path / "answers.csv", [{**plain_rows()[0], "goal": goal, "prompt": goal}])
        table = read_responses(Wanted(files=("answers.csv",)), tmp_path)
        release = OfficialRelease(tmp_path, NoImages())
        benchmark = registry.make("benchmark", "recorded", table=table.label).of(table)
        assert [case.behavior for case in benchmark.cases(release)] == [goal]
        digests.append(release.digest())
    assert digests[0] != digests[1]
