"""MIS: two pictures per question, three files, pairs as clusters, every message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import releases
import releases_modern

from sightline import registry
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.mis(tmp_path / "MIS_Test")


@pytest.fixture
def read(tmp_path):
    def read(root, spec="mis"):
        release = OfficialRelease(root, Blobs(tmp_path / "blobs"))
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def test_both_pictures_come_before_the_question_verbatim(folder, read, tmp_path):
    rows = json.loads((folder / "mis_hard.json").read_text())
    cases, release = read(folder, "mis(subset=hard)")
    blobs = Blobs(tmp_path / "blobs")
    for number, (case, row) in enumerate(zip(cases, rows, strict=True), start=1):
        first, second, sent = case.conversation.turns[0].parts
        assert sent == case.behavior == row["question"]
        assert blobs.read(first.sha256) == (folder / row["image_path1"]).read_bytes()
        assert blobs.read(second.sha256) == (folder / row["image_path2"]).read_bytes()
        assert (case.id, case.category, case.expected) == (
            f"mis/hard/{number}",
            row["category"],
            Expected.refuse,
        )
    assert [case.hazard for case in cases[::2]] == ["ncr", "vcr", "hte", "ssh", "prv", "sxc"]
    assert len({case.group for case in cases}) == 12
    assert release.warnings == [f"{folder}: numbers of cases: all has 12 (expected 510)"]


def test_all_is_easy_hard_and_real_in_this_order(folder, read):
    every, _ = read(folder)
    assert every == [
        case for part in ("easy", "hard", "real") for case in read(folder, f"mis(subset={part})")[0]
    ]
    assert len({case.id for case in every}) == 36


@pytest.mark.parametrize("form", ["archives", "mis_test", "other keys"])
def test_other_forms_that_others_read(form, folder, tmp_path, read):
    wanted, _ = read(folder)
    if form == "archives":
        for name in ("easy_image", "hard_image", "real_image"):
            away = (folder / name).rename(tmp_path / name)
            releases.zipped(away, folder / f"{name}.zip", top=name)
    elif form == "mis_test":
        (folder / "x").mkdir()
        for path in sorted(folder.iterdir()):
            if path.name != "x":
                path.rename(folder / "x" / path.name)
        (folder / "x").rename(folder / "mis_test")
    else:
        for path in folder.glob("*.json"):
            path.write_text(
                path.read_text().replace("image_path1", "image1").replace("image_path2", "image2")
            )
    assert read(folder)[0] == wanted


MISUSE = [
    ('"image_path2"', '"picture"', "entry 1: no 'image_path2' or 'image2' or 'image_2'; found category"),
    ('"category": "Hate"', '"category": " "', "entry 5: 'category' is empty"),
    ("hard_image/3/object2.png", "hard_image/3/object3.png", r"picture hard_image/3/object3\.png not found"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISUSE, ids=[m[2][:30] for m in MISUSE])
def test_a_bad_row_is_one_error_that_names_it(old, new, message, folder, read):
    path = folder / "mis_hard.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{message}"):
        read(folder)
