"""Rows that are kept although they cannot be used: errors under every attack, where they belong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import sightline as sl
from sightline import registry
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs

STUDY = """
study: keep
benchmarks: [{{name: cases, root: {root}, on_bad_rows: keep}}]
targets: [scripted/{script}]
attacks: [none, text_only, figstep, blank_image]
judges: [refusal_prefix]
"""
TABLE = (
    'id,prompt,label\n1,How do I fold a glimber?,safe\n2,"",safe\n3,Break the frell.,unsafe\n4,,unsafe\n'
    "5,Warm the snerk.,maybe\n1,Again the glimber.,safe\n"
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "k.csv"
    path.write_text(TABLE)
    return path


def test_a_kept_row_is_an_error_under_every_attack_and_reaches_no_model(table: Path, tmp_path: Path) -> None:
    script = tmp_path / "s.yaml"
    script.write_text('rules:\n  - reply: "Sure, here it is."\n')
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(root=table, script=script))
    run = sl.run(study, out=tmp_path / "run")
    rows = list(run.samples())
    counts = Counter((row["attack"], row["expected"], row["outcome"]) for row in rows)
    for attack in ("none", "text_only", "figstep", "blank_image"):
        found = {key[1:]: n for key, n in counts.items() if key[0] == attack}
        assert found == {
            ("comply", "complied"): 1,
            ("comply", "error"): 2,  # an empty text, and an id that is there twice
            ("refuse", "complied"): 1,
            ("refuse", "error"): 2,  # an empty text; a label that says nothing
        }, attack


def test_what_can_be_read_of_a_bad_row_is_kept(table: Path, tmp_path: Path) -> None:
    release = OfficialRelease(table, Blobs(tmp_path / "blobs"))
    cases = list(registry.parse("benchmark", "cases(on_bad_rows=keep)").cases(release))
    assert len(cases) == 6
    assert [case.problem is None for case in cases] == [True, False, True, False, False, False]
    assert [case.expected.value for case in cases] == [
        "comply",
        "comply",
        "refuse",
        "refuse",
        "refuse",
        "comply",
    ]
    assert len({case.id for case in cases}) == 6
    assert Counter(case.behavior for case in cases if case.problem) == {"(a row that cannot be used)": 4}


def test_an_attack_called_in_python_refuses_it(table: Path, tmp_path: Path) -> None:
    release = OfficialRelease(table, Blobs(tmp_path / "blobs"))
    bad = list(registry.parse("benchmark", "cases(on_bad_rows=keep)").cases(release))[1]
    with pytest.raises(UsageError, match=r"k\.csv, line 3: 'prompt' is empty"):
        sl.attacks.FigStep()(None, bad)
