"""Phases of a plan that nobody has labelled yet: they move neither chances nor rates, and are told."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from annotated import answer, log
from run_folder import Shape, write_run
from typer.testing import CliRunner

from sightline.annotation.closing import close
from sightline.annotation.drawing import Wanted as AnyWanted
from sightline.annotation.phases import chances, unlabelled_phases
from sightline.annotation.plan import FOLDER, PLAN, Plan, planned, read_plan
from sightline.annotation.progress import progress
from sightline.annotation.sampling import sample, sample_more
from sightline.cli import app

Wanted = partial(AnyWanted, per_group=8, raters=("ann", "bo"))  # the invented world has few groups

pytestmark = pytest.mark.slow  # by rotation, as a whole


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(prompts=12, utility=0))


def of(plan: Plan, *phases: int) -> list[str]:
    return [key for key, each in plan.items.items() if each.kind == "sample" and each.phase in phases]


def label(run: Path, plan: Plan, items: Iterable[str]) -> None:
    """Both raters say the same of each item: complied of every third."""
    said = {item: "complied" if at % 3 == 0 else "refused" for at, item in enumerate(items)}
    guideline = plan.header.guideline[:8]
    for rater in ("ann", "bo"):
        log(run / FOLDER, rater, [answer(item, each, guideline=guideline) for item, each in said.items()])


@pytest.mark.parametrize("part", [1.0, 0.6])
def test_phases_that_nobody_labelled_move_neither_chances_nor_the_rate(run: Path, part: float) -> None:
    plan = sample(run, Wanted(n=40)).plan
    first = of(plan, 1)
    label(run, plan, first[: round(part * len(first))])
    labels, rate = close(run, partial=True).labels.labels, progress(run, draws=100)["rate"]
    for per_group in (4, 8):
        sample_more(run, Wanted(n=20, per_group=per_group))
    more = read_plan(run / FOLDER)
    assert any(more.items[key].prob > plan.items[key].prob for key in first)
    closed = close(run, partial=True)
    assert closed.labels.labels == labels
    assert closed.unlabelled == (2, 3)
    found = progress(run, draws=100)
    assert found["rate"] == rate
    assert found["unlabelled"] == [2, 3]
    told = "phases 2, 3 are unlabelled: rates and cards rest on the other phases alone"
    for command in (["status"], ["close", "--partial"]):
        ran = CliRunner().invoke(app, ["annotate", str(run), *command])
        assert told in ran.output.splitlines(), ran.output


def test_a_phase_that_is_labelled_counts_as_it_was_drawn(run: Path) -> None:
    sample(run, Wanted(n=30))
    for _ in range(2):
        plan = sample_more(run, Wanted(n=20)).plan
    every = chances(plan, of(plan, 1, 2, 3))
    assert every == pytest.approx({key: plan.items[key].prob for key in every})
    assert unlabelled_phases(plan, every) == []
    assert unlabelled_phases(plan, {}) == []


@pytest.mark.parametrize("old", [False, True], ids=["plan", "plan of an earlier release"])
def test_a_gap_between_labelled_phases_is_shared_out_in_its_stratum(run: Path, old: bool) -> None:
    sample(run, Wanted(n=30))
    for _ in range(2):
        plan = sample_more(run, Wanted(n=30)).plan
    if old:
        plan = Plan(plan.headers, planned(replace(each, before=()) for each in plan.items.values()))
    labelled = of(plan, 1, 3)
    found = chances(plan, labelled)
    assert unlabelled_phases(plan, found) == [2]
    stands: dict[str, float] = defaultdict(float)
    whole: dict[str, float] = defaultdict(float)
    for key in of(plan, 1, 2, 3):
        whole[plan.items[key].stratum] += 1 / plan.items[key].prob
    for key in labelled:
        stands[plan.items[key].stratum] += 1 / found[key]
    reached = {plan.items[key].stratum for key in of(plan, 3)}
    assert reached
    for stratum in reached:
        assert stands[stratum] == pytest.approx(whole[stratum])


def test_a_new_rater_of_more_items_is_told(run: Path) -> None:
    sample(run, Wanted(n=20))
    command = ["annotate", str(run), "sample", "--more", "10", "--per-group", "8", "--raters", "ann,zed"]
    printed = CliRunner().invoke(app, command).output
    assert "note: zed is a new rater, who gets items of this phase alone; the plan had ann, bo" in printed
    assert "note: no items of this phase go to bo" in printed
    again = CliRunner().invoke(app, ["annotate", str(run), "sample", "--more", "10", "--per-group", "8"])
    assert "new rater" not in again.output


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_the_plan_is_readable_by_its_owner_alone(run: Path) -> None:
    sample(run, Wanted(n=20))
    path = run / FOLDER / PLAN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    sample_more(run, Wanted(n=20))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
