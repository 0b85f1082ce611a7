"""`sightline score` and `sightline export` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded_files import artifact, plain_rows, write_csv, write_json
from typer.testing import CliRunner

from sightline.cli import app
from sightline.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_one_command_scores_a_table_and_says_where_the_report_is(here: Path) -> None:
    rows = [{**row, "utterance": row.pop("response")} for row in plain_rows()]
    write_csv(here / "my answers.csv", rows)
    said = typed("score", "my answers.csv", "--column", "response=utterance", "--control", "roleplay")
    assert "control: roleplay" in said
    assert "report: runs/my-answers/report.html" in said
    assert (here / "runs" / "my-answers" / "report.html").is_file()
    assert "nothing to do" in typed(
        "score", "my answers.csv", "--column", "response=utterance", "--control", "roleplay"
    )


def test_what_was_scored_is_exported(here: Path) -> None:
    write_json(here / "a.json", artifact())
    typed("score", "a.json", "--judge", "recorded", "--judge", "refusal_prefix")
    said = typed("export", "runs/a", "--format", "jailbreakbench", "--out", "out")
    assert "1 file holds prompts and responses in clear" in said
    assert json.loads((here / "out" / "PAIR" / "none" / "m-one.json").read_text("utf-8")) == artifact()


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (("--column", "response"), "write MEANING=COLUMN"),
        (("--judge", "refusal_prefx"), "Did you mean 'refusal_prefix'"),
        (("--expected", "maybe"), "refuse"),
        (("--format", "csv"), "unknown format of responses 'csv'"),
    ],
)
def test_a_wrong_option_is_told_with_its_cure(here: Path, words: tuple[str, ...], cure: str) -> None:
    write_csv(here / "answers.csv", plain_rows())
    with pytest.raises(UsageError, match=cure):
        typed("score", "answers.csv", *words)
    assert not (here / "runs").exists()


def test_bad_rows_are_told_without_a_study_file_that_is_not_there(here: Path) -> None:
    (here / "a.csv").write_bytes("prompt,response\r\nfr\xe9ll,Sure.\r\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"a\.csv, line 2: not UTF-8"):
        typed("score", "a.csv")
    assert "recorded/unknown model" in typed("score", "a.csv", "--encoding", "latin-1")
    write_csv(here / "b.csv", [{**row, "stop": "halted"} for row in plain_rows()])
    with pytest.raises(UsageError, match=r"^\S*: 10 rows cannot be used"):
        typed("score", "b.csv")
    with pytest.raises(UsageError, match="no sample was scored: 10 of 10 verdicts are unscored"):
        typed("score", "b.csv", "--keep-bad-rows")


def test_a_cell_with_pictures_cannot_be_exported(here: Path) -> None:
    import numpy as np

    from sightline.store import encode_png

    (here / "a.png").write_bytes(encode_png(np.zeros((8, 8, 3), dtype=np.uint8)))
    write_csv(here / "answers.csv", [{**plain_rows()[0], "image": "a.png"}])
    typed("score", "answers.csv")
    with pytest.raises(UsageError, match="shows pictures, for which this format has no place"):
        typed("export", "runs/answers", "--format", "jailbreakbench", "--out", "out")
    assert not (here / "out").exists()


def test_models_whose_names_make_one_file_name_get_files_of_their_own(here: Path) -> None:
    """Two models in Chinese letters, and `a/b` beside `A-B`, wrote over each other."""
    names = ("模型甲", "模型乙", "a/b", "A-B")
    write_csv(here / "answers.csv", [{**row, "model": name} for name in names for row in plain_rows()])
    typed("score", "answers.csv")
    typed("export", "runs/answers", "--format", "jailbreakbench", "--out", "out")
    files = sorted((here / "out").rglob("*.json"))
    told = [json.loads(path.read_text("utf-8"))["parameters"]["model"] for path in files]
    assert len({path.relative_to(here).as_posix().casefold() for path in files}) == len(files)
    assert {name: told.count(name) for name in names} == dict.fromkeys(names, len(files) // 4)


def test_cells_that_the_format_has_no_place_for_are_left_out_and_named(here: Path) -> None:
    import numpy as np

    from sightline.store import encode_png

    (here / "a.png").write_bytes(encode_png(np.zeros((8, 8, 3), dtype=np.uint8)))
    rows = [{**row, "image": "a.png" if row["attack"] and row["id"] == "3" else ""} for row in plain_rows()]
    write_csv(here / "answers.csv", rows)
    typed("score", "answers.csv")
    said = typed("export", "runs/answers", "--format", "jailbreakbench", "--out", "out")
    assert "not exported: " in said
    assert "case answers/3 shows pictures, for which this format has no place" in " ".join(said.split())
    assert "1 file holds" in said
    assert [path.name for path in (here / "out").rglob("*.json")] == ["m-one.json"]
    assert not list((here / "out").glob("roleplay*"))
