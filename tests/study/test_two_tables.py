"""Two tables of one folder are two releases: beside each other in a study, and one after the other."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sightline.api.runs import finish
from sightline.errors import UsageError
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: tables
benchmarks: [{name: cases, root: a.csv}, {name: cases, root: b.csv, label: second}]
targets: [scripted/echo]
judges: [refusal_prefix]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("id,prompt\n1,fold a glimber\n")
    (tmp_path / "b.csv").write_text("id,prompt\n1,polish a frell\n2,paint a tronk\n")
    return tmp_path


def ran(folder: Path, text: str, *, extend: bool = False) -> dict[str, int]:
    run = Run(parse(text, folder=folder), folder / "run", extend=extend)
    run.prepare()
    finish(run)
    rows = pq.read_table(folder / "run" / "results.parquet").to_pylist()
    return {label: sum(row["benchmark"] == label for row in rows) for label in ("cases", "second")}


def test_beside_each_other(folder: Path) -> None:
    assert ran(folder, STUDY) == {"cases": 1, "second": 2}
    assert ran(folder, STUDY) == {"cases": 1, "second": 2}
    assert len(list((folder / "run" / "records").glob("cases-*.parquet"))) == 2


def test_one_after_the_other(folder: Path) -> None:
    one = STUDY.replace(", {name: cases, root: b.csv, label: second}", "")
    assert ran(folder, one)["cases"] == 1
    other = one.replace("a.csv", "b.csv")
    with pytest.raises(UsageError, match="different study"):
        ran(folder, other)
    assert ran(folder, other, extend=True)["cases"] == 2
