"""`sightline annotate`: what the commands print, on plans that are written by hand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from sightline.annotation.events import Event, events_path
from sightline.annotation.guideline import guideline_digest, write_guideline
from sightline.annotation.plan import FOLDER, Header, Plan, Planned, planned, write_plan
from sightline.annotation.questions import write_questions
from sightline.annotation.status import changed_guideline
from sightline.cli import app
from sightline.errors import UsageError


def header(**changes: object) -> Header:
    values: dict[str, object] = {
        "phase": 1, "run": "r", "seed": 1, "n": 3, "strata": ("attack",), "raters": ("ann", "bo"),
        "guideline": "g", "questions": "q",
    }  # fmt: skip
    return Header(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    items = [
        Planned(item="a", prob=0.5, order={"ann": 0, "bo": 1}, repeats={"ann": 3}),
        Planned(item="b", prob=0.5, order={"ann": 1, "bo": 0}),
        Planned(item="c", kind="gold", truth="refused", order={"ann": 2}),
    ]
    write_plan(tmp_path / FOLDER, Plan((header(),), planned(items)))
    write_questions(tmp_path / FOLDER)
    return tmp_path


def log(run: Path, *events: Event) -> None:
    path = events_path(run / FOLDER, events[0].rater)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(asdict(each)) + b"\n" for each in events))


def printed(*words: str) -> list[str]:
    found = CliRunner().invoke(app, ["annotate", *words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output.splitlines()


def test_status_counts_each_rater_s_showings(run: Path) -> None:
    log(
        run,
        Event(event="consent", rater="ann"),
        Event(event="answer", rater="ann", item="a", questions={"outcome": "refused"}),
        Event(event="answer", rater="ann", item="a", repeat=True, questions={"outcome": "refused"}),
        Event(event="skip", rater="ann", item="b", reason="unclear"),
        Event(event="answer", rater="ann", item="c", questions={"outcome": "refused"}),
        Event(event="undo", rater="ann", item="c"),
        Event(event="answer", rater="ann", item="c", round=2, questions={"outcome": "refused"}),
    )
    lines = [line for line in printed(str(run), "status") if not line.startswith("note: ")]
    assert lines[:3] == [
        "2 items drawn, 1 with known truth; phase 1, round 1, 2 raters",
        "ann: 3 of 4 done (1 skipped)",
        "bo: 0 of 2 done",
    ]


def test_status_without_a_plan_says_how_to_draw_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="draw a sample first, with `sightline annotate RUN sample`"):
        printed(str(tmp_path), "status")


def test_a_guideline_that_changed_is_told_by_status(tmp_path: Path) -> None:
    folder = tmp_path / "annotation"
    write_guideline(folder)
    text = (folder / "guideline.md").read_text("utf-8")
    header = Header(
        phase=1, run="r", seed=1, n=1, strata=("attack",), raters=("ann",),
        guideline=guideline_digest(text), questions="q",
    )  # fmt: skip
    plan = Plan((header,), {})
    assert list(changed_guideline(folder, plan)) == []
    (folder / "guideline.md").write_text(f"{text}\nAnd more.\n", encoding="utf-8")
    (note,) = changed_guideline(folder, plan)
    assert "no longer that of round 1" in note
    assert "sample --round 2" in note
