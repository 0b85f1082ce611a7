"""Runs that change after a plan was drawn, and items of known truth that are drawn later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotated import answer, log, results
from run_folder import Shape, write_run

from sightline.annotation.closing import close
from sightline.annotation.drawing import Wanted as AnyWanted
from sightline.annotation.phases import chances
from sightline.annotation.plan import FOLDER, Plan, read_plan, write_plan
from sightline.annotation.sampling import sample, sample_more
from sightline.annotation.stale import stale_note
from sightline.errors import UsageError

Wanted = partial(AnyWanted, per_group=1000, raters=("ann", "bo"))  # the invented world has few groups

pytestmark = pytest.mark.slow  # by rotation, as a whole


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(prompts=12, utility=0))


def change(run: Path, made: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    path = run / "results.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(made(table.to_pylist()), table.schema), path)
    (run / "records" / "complete.json").unlink(missing_ok=True)


def with_judge(run: Path) -> None:
    """The run after `sightline judge` with another judge, who says the opposite."""
    lock = run / "study.lock.yaml"
    text = lock.read_text()
    assert "judges:\n" in text
    lock.write_text(text.replace("seed: 7", "seed: 7\nlater: true"))
    later = {"judge": "zzz_later@1", "outcome": "complied"}
    change(run, lambda rows: rows + [row | later for row in rows if row["judge"] == rows[0]["judge"]])


def with_other_reply(sample: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    changed = {"response_hash": b"\7" * 16}
    return lambda rows: [row | changed if row["sample"].hex() == sample else row for row in rows]


def of(plan: Plan, kind: str) -> list[str]:
    return [each.samples[0] for each in plan.items.values() if each.kind == kind]


@pytest.mark.parametrize("former", [False, True])
def test_a_judge_that_is_added_changes_no_chance(run: Path, former: bool) -> None:
    before = sample(run, Wanted(n=30, gold=0)).plan
    if former:  # a plan of an earlier version has no such digests
        items = {key: replace(each, content="") for key, each in before.items.items()}
        write_plan(run / FOLDER, Plan((replace(before.header, drawn_from=""),), items))
    with_judge(run)
    more = sample_more(run, Wanted(n=20, gold=0)).plan
    assert Counter(each.phase for each in more.items.values()) == {1: 30, 2: 20}
    assert more.headers[0].run != more.headers[1].run


def test_a_plan_is_refused_where_a_reply_has_changed(run: Path) -> None:
    sample(run, Wanted(n=30, gold=0))

    change(run, with_other_reply(results(run)[0]["sample"]))
    with pytest.raises(UsageError, match=r"have changed since the plan was drawn"):
        sample_more(run, Wanted(n=10))


@pytest.mark.parametrize("seed", range(4))
def test_known_truths_that_are_drawn_stand_in_the_sample(run: Path, seed: int) -> None:
    first = sample(run, Wanted(n=40, gold=0.5, seed=seed)).plan
    known = set(of(first, "gold"))
    assert len(known) == 20
    population = sum(first.header.population.values())
    more = sample_more(run, Wanted(n=population, gold=0)).plan  # all that is left
    drawn = of(more, "sample")
    assert len(drawn) == len(set(drawn)) == population
    assert known <= set(drawn)
    assert set(of(more, "gold")) == known
    every = chances(more, [key for key, each in more.items.items() if each.kind == "sample"])
    assert set(every.values()) == {1.0}  # everything is read: each item stands for itself alone
    for rater in more.raters:
        places = more.places(rater)
        assert len(set(places)) == len(places)
    twice = [each for each in more.items.values() if each.samples[0] in known and each.kind == "sample"]
    assert {each.phase for each in twice} == {2}
    assert read_plan(run / FOLDER) == more


def test_no_label_is_carried_to_a_reply_that_was_not_read(run: Path) -> None:
    plan = sample(run, Wanted(n=20, gold=0)).plan
    guideline = plan.header.guideline[:8]
    for rater in ("ann", "bo"):
        log(run / FOLDER, rater, [answer(key, "refused", guideline=guideline) for key in plan.items])
    whole = close(run).labels
    assert stale_note(run) == ""
    lost = whole.labels[0].sample
    change(run, with_other_reply(lost))
    assert "would now have another label" in stale_note(run)
    closed = close(run, partial=True)
    assert closed.changed == 1
    assert {each.sample for each in closed.labels.labels} == {each.sample for each in whole.labels} - {lost}
    assert stale_note(run) == ""
