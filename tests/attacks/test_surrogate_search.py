"""An attack's search in a run folder: killed inside an artifact, it goes on from its last check."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline import whitebox
from sightline.budget import Budget, SpentError
from sightline.contracts import Craft
from sightline.records import Cost, SearchProgress
from sightline.store import Blobs
from sightline.study.artifact_builder import ArtifactBuilder
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.tables import Table
from sightline.whitebox import checkpoint

STUDY = """
study: search
benchmarks: [{name: testbed_requests, subset: requests, limit: 2}]
targets: [testbed/linear]
attacks: [{name: qi_visual, preset: testbed, steps: 60, surrogate: testbed/linear, budget: {backwards: 50}}]
judges: [testbed_policy]
"""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        whitebox, "CheckpointFile", partial(checkpoint.CheckpointFile, pause=0), raising=False
    )


def prepared(folder: Path) -> Run:
    run = Run(parse(STUDY), folder)
    run.prepare()
    return run


def artifacts(run: Run) -> list[dict[str, Any]]:
    with Table(run.records / "craft") as table:
        keys = run.context.columns[0].keys(list(run.context.case_tables[0].rows()))
        return [row for row in table.rows(keys) if row is not None]


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_and_ends_in_the_same_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepared(tmp_path / "whole")
    whole.craft()
    seen: list[int] = []

    def report(_: ArtifactBuilder, progress: SearchProgress) -> None:
        seen.append(progress.step)
        if len(seen) == 3:  # steps 0, 25, 50
            raise KeyboardInterrupt

    monkeypatch.setattr(ArtifactBuilder, "report", report)
    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path / "cut").craft()
    assert list((tmp_path / "cut/records/craft.unfinished").glob("*/*"))
    again = prepared(tmp_path / "cut")
    again.craft()
    assert seen == [0, 25, 50, 50], "after the crash only the last check is done again"
    assert not list((tmp_path / "cut/records/craft.unfinished").glob("*/*"))
    first, second = map(artifacts, (whole, again))
    assert [row["conversation"] for row in first] == [row["conversation"] for row in second]
    assert {row["cost"]["backwards"] for row in second} == {50}, "the budget, not the steps"


def tiny_problem() -> whitebox.Problem:
    clean = whitebox.from_pixels([np.full((8, 8, 3), 100, np.uint8)])
    return whitebox.Problem(
        objective=whitebox.Objective(
            pictures=(whitebox.ImageRegularizer(clean=whitebox.unit(clean), weight=1.0),)
        ),
        constraint=whitebox.Box(clean=clean, init="uniform"),
        optimizer=whitebox.SignGD(alpha=1 / 255),
        sampler=whitebox.FixedPairs(),
    )


def test_what_comes_before_a_search_is_paid_from_its_budget(tmp_path: Path) -> None:
    before = Cost(forwards=7, backwards=3)
    whole = Craft(images=Blobs(tmp_path)).minimize(tiny_problem(), steps=5, before=before)
    alone = Craft(images=Blobs(tmp_path)).minimize(tiny_problem(), steps=5)
    assert whole.costs[0].forwards == alone.costs[0].forwards + 7
    assert whole.costs[0].backwards == alone.costs[0].backwards + 3
    poor = Craft(images=Blobs(tmp_path), budget=Budget(forwards=7))
    with pytest.raises(SpentError, match="forwards=7 does not pay for what comes before the first step"):
        poor.minimize(tiny_problem(), steps=5, before=before)
