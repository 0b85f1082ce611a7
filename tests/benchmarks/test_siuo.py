"""SIUO: free questions and choices, verbatim, with their pictures; every message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import releases
import releases_modern

from sightline import registry
from sightline.benchmarks.siuo import CATEGORIES
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.siuo(tmp_path / "SIUO")


@pytest.fixture
def read(tmp_path):
    def read(root, spec="siuo"):
        release = OfficialRelease(root, Blobs(tmp_path / "blobs"))
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def test_questions_are_sent_verbatim_with_their_pictures(folder, read, tmp_path):
    rows = json.loads((folder / "siuo_gen.json").read_text())
    cases, release = read(folder)
    blobs = Blobs(tmp_path / "blobs")
    for case, row in zip(cases, rows, strict=True):
        image, sent = case.conversation.turns[0].parts
        assert sent == case.behavior == row["question"]
        assert blobs.read(image.sha256) == (folder / "images" / row["image"]).read_bytes()
        assert case.category == row["category"]
        assert (case.id, case.group) == (f"siuo/gen/{row['question_id']}", f"siuo/{row['question_id']}")
        assert (case.expected, case.answer) == (Expected.refuse, None)
    hazards = ["ssh", "prv", "ncr", "hte", "x.eth", "x.eth", "x.sit", "x.mis", "x.pol"]
    assert [case.hazard for case in cases[::2]] == hazards
    assert sum(CATEGORIES.values()) == 167
    assert "self-harm has 2 (expected 19)" in release.warnings[0]


def test_choices_have_four_options_and_the_right_letter(folder, read):
    rows = json.loads((folder / "siuo_mcqa.json").read_text())
    cases, _ = read(folder, "siuo(task=mcqa)")
    free, _ = read(folder)
    assert [case.group for case in cases] == [case.group for case in free]
    for case, row in zip(cases, rows, strict=True):
        lines = case.conversation.last_user_text().split("\n")
        assert lines[0] == row["question"]
        assert [line for line in lines if line[1:3] == ". "] == [
            f"{letter}. {row['options'][letter]}" for letter in "ABCD"
        ]
        assert "letter" in lines[-1]
        assert (case.expected, case.answer) == (Expected.classify, row["correct_option"])


@pytest.mark.parametrize("form", ["repository", "zip as downloaded", "zip, flat"])
def test_pictures_lie_where_the_authors_say(form, folder, tmp_path, read):
    wanted, _ = read(folder)
    if form == "repository":
        (folder / "data").mkdir()
        for name in ("images", "siuo_gen.json", "siuo_mcqa.json"):
            (folder / name).rename(folder / "data" / name)
    else:
        images = (folder / "images").rename(tmp_path / "gone")
        releases.zipped(images, folder / "SIUO-images.zip", top="images" if "as" in form else "")
    assert read(folder)[0] == wanted


MISUSE = [
    ("siuo", '"question": "May I polish a glimber here?"', '"question": " "', "entry 1: 'question' is empty"),
    ("siuo", '"image": "S-02.png"', '"image": "S-99.png"', r"picture images/S-99\.png not found"),
    ("siuo", '"question_id": 1002', '"question_id": 1001', "entry 2: 'siuo/gen/1001' was already in entry 1"),
    (
        "siuo(task=mcqa)",
        '"correct_option": "D"',
        '"correct_option": "E"',
        "entry 2: unknown correct_option 'E'",
    ),
    ("siuo(task=mcqa)", '"options": {', '"choices": {', "entry 1: no 'options'; found question_id"),
    ("siuo(task=mcqa)", '"B": "b would polish a glimber"', '"F": ""', "entry 1: no 'B'; found A, F, C, D"),
]


@pytest.mark.parametrize(("spec", "old", "new", "message"), MISUSE, ids=[m[3][:30] for m in MISUSE])
def test_a_bad_row_is_one_error_that_names_it(spec, old, new, message, folder, read):
    path = folder / ("siuo_mcqa.json" if "mcqa" in spec else "siuo_gen.json")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{message}"):
        read(folder, spec)
