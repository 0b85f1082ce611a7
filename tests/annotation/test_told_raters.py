"""What raters and the coordinator are told: of times, of whom to call, of subjects, of second showings."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotated import log, write_annotation
from run_folder import Shape, write_run
from typer.testing import CliRunner

from sightline.annotation.contents import Contents
from sightline.annotation.desk import Desk
from sightline.annotation.exposure import Limits
from sightline.annotation.guideline import CONTACT, care_of, for_screen, shipped_guideline
from sightline.annotation.plan import FOLDER, Planned, read_plan
from sightline.annotation.serving import open_desk
from sightline.annotation.status import rater_line
from sightline.cli import app, main

SITE = Path(__file__).parents[2] / "src/sightline/annotation/site"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(prompts=12, utility=0))


def test_raters_are_told_that_time_is_recorded_and_what_for() -> None:
    care = for_screen(care_of(shipped_guideline()))
    assert "measures your speed" not in care
    assert "how long the item and its picture were on your screen" in care
    for page in ("index.html", "plain.html.j2"):
        consent = (SITE / page).read_text()
        assert "Recorded: your answers" in consent
        assert "not used against you" in consent


def test_paragraphs_and_points_are_one_line_each_and_tables_stay() -> None:
    text = "# A\nb\nc\n\n* d\n  e\n* f\n1. g\nh\n\n| i |\n|---|\n| j |\n"
    assert for_screen(text) == "# A\nb c\n\n* d e\n* f\n1. g h\n\n| i |\n|---|\n| j |"


def test_whom_to_call_is_asked_of_the_coordinator_and_not_shown_open(run: Path, tmp_path: Path) -> None:
    words = "does not say yet whom raters can call"
    command = ["annotate", str(run), "sample", "--n", "20", "--per-group", "8"]
    assert words in " ".join(CliRunner().invoke(app, command).output.split())
    with Contents(run) as contents:
        desk: Desk = open_desk(run, (), Limits(), contents)
        try:
            consent = desk.state("r1")["consent"]
            assert CONTACT not in consent["text"]
            assert "whoever gave you the address" in consent["text"]
            assert CONTACT not in desk.guideline
            assert consent["others"] is False
        finally:
            desk.close()
    guideline = run / FOLDER / "guideline.md"
    guideline.write_text(guideline.read_text().replace(CONTACT, "Call 1234 at any time."))
    again = CliRunner().invoke(app, ["annotate", str(run), "sample", "--round", "2"])
    assert again.exit_code == 0
    assert words not in again.output


def test_second_showings_that_are_left_are_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "small", Shape(prompts=1, utility=0, defenses=("none",)))
    one = {"ann": 0}
    items = [
        Planned(item="a", prob=1.0, stratum="s", order=one, repeats={"ann": 2}),
        Planned(item="b", prob=1.0, stratum="s", order={"ann": 1}),
    ]
    folder = write_annotation(run, items)
    plan = read_plan(folder)
    log(folder, "ann", {"a": "refused"})
    assert rater_line(folder, plan, "ann") == "ann: 1 of 3 done"
    log(folder, "ann", {"a": "refused", "b": "refused"})
    assert rater_line(folder, plan, "ann") == (
        "ann: 2 of 3 done; 1 left to see twice, which `serve` alone asks and `close` does not wait for"
    )


def test_a_file_that_is_not_there_is_told_without_talk_of_what_is_done(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sightline", "annotate", str(run), "sample", "--guideline", "nope.md"])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert "nope.md: No such file or directory; check the name" in told
    assert "what is done" not in told


def test_the_coordinator_s_page_names_what_it_counts() -> None:
    script = (SITE / "coordinator.js").read_text()
    for key in ("serving", "raters", "elsewhere", "unassigned", "unlabelled"):
        assert f'{key}: "' in script
    assert "words(name), [" not in script
