"""From attack to report: cases seen while crafting, failed artifacts, budgets and seeds in rows and cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from toys import ToyTarget

from sightline import report
from sightline.api.runs import finish
from sightline.cases import Case, ThreatModel
from sightline.closure import without_code
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.metrics.summary import summarize
from sightline.records import Cost, Draft
from sightline.registry import attack
from sightline.study import surrogates
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: seen
seed: 3
benchmarks: [{name: toy_questions, n: 18}]
targets: [toy/a, toy/b]
attacks:
  - none
  - {name: toy_seer, surrogate: toy/a, budget: {backwards: [10, 40]}, seeds: 2, label: seer}
judges: [toy_judge]
"""


@attack("toy_seer", threat=ThreatModel(access="white"), scope="batched", surrogate=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ToySeer:
    """Has seen every case with an even number, and cannot take case 3."""

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        for case in cases:
            number = int(case.id.rpartition("/")[2])
            if number == 3:
                raise UsageError(f"case {case.id}: does not fit")
            yield Draft(
                case=case,
                image=np.full((8, 8, 3), 7, np.uint8),
                trace=((0, 2.0), (9, 1.0)),
                checks=((0, 3.0, 0.0), (9, 1.5, 1.0)),
                cost=Cost(forwards=12, backwards=ctx.budget.backwards or 0, flops=5e9, seconds=0.5),
                in_training_set=number % 2 == 0,
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    opened: dict[str, ToyTarget] = {}

    def open_target(name: str, images: object, **bounds: int | None) -> ToyTarget:
        return opened.setdefault(name, ToyTarget(id=f"{name}#weights"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sightline.targets.open_target", open_target)
        patch.setattr(surrogates, "VlmTarget", ToyTarget)
        run = Run(parse(STUDY), tmp_path_factory.mktemp("seen") / "run")
        run.prepare()
        finish(run)
        yield run.folder


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / "results.parquet").to_pylist()
    return [row for row in found if row["attack"] != "none"]


def test_rows_say_what_was_seen_and_failed_ones_say_what_they_were_crafted_on(folder: Path) -> None:
    for row in rows(folder):
        number = int(row["case_id"].rpartition("/")[2])
        assert row["seen"] is (None if number == 3 else number % 2 == 0)
        assert without_code(row["crafted_on"]) == "toy/a#weights"
        assert (row["outcome"] == "error") == (number == 3)


def test_cells_hold_all_seeds_and_failed_cases_count_with_the_unseen(folder: Path) -> None:
    found = [cell for cell in summarize(folder).cells if not cell.is_plain]
    assert {(c.id.attack, c.id.seen, c.id.target, c.id.own) for c in found} == {
        (f"seer [backwards={level}]", seen, target, target == "toy/a")
        for level in (10, 40)
        for seen in ("seen", "unseen")
        for target in ("toy/a", "toy/b")
    }
    for cell in found:  # restricted are 0, 3, 6, 9, 12, 15; each with two seeds
        assert cell.asr is not None
        assert cell.asr.n + cell.asr.unscored == 6
        assert cell.asr.unscored == (2 if cell.id.seen == "unseen" else 0)
        assert [seed.seed for seed in cell.seeds] == ["3", "4"]
    assert len(summarize(folder).curves) == 4


def test_the_report_is_written(folder: Path) -> None:
    text = report.write(folder).read_text(encoding="utf-8")
    assert "attacks crafted on the target itself, at most 40 backward passes per artifact" in text
    assert "transfer attacks, at most 40 backward passes per artifact" in text
    assert "validation loss 3 at the start, best 1.5, 1.5 at step 9, 100\u00a0% of its targets" in text
